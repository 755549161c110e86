"""Sentences on the page: said only where the intervals carry them."""

from dataclasses import replace

import numpy as np
import pytest

from modalens.reporting.verdict import Estimate, Evidence, judge
from modalens.stats.coalitions import coalitions, interaction_values

PAIR, TRIPLE = ("audio", "video"), ("audio", "text", "video")


def evidence(values, half=0.02, chance=0.33, modalities=PAIR, pairs=True):
    """values: accuracy by coalition. half: half the width of every interval."""
    full = values[modalities]

    def about(value):
        return Estimate(value, value - half, value + half, 1.4 * half)

    lost = {one: about(full - values[one]) for one in coalitions(modalities) if one != modalities and one in values}
    interaction = {}
    if pairs and len(values) == 2 ** len(modalities):
        interaction = {pair: about(value) for pair, value in interaction_values(values).items()}
    return Evidence("accuracy", chance, modalities, about(full), about(full - chance), lost, interaction)


def over(full, chance):
    return Estimate(full.value - chance, full.low - chance, full.high - chance)


def of(none, audio, video, both):
    return {(): none, ("audio",): audio, ("video",): video, PAIR: both}


@pytest.mark.parametrize(
    ("values", "lead"),
    [
        (of(0.33, 0.33, 0.90, 0.90), "video dominates"),
        (of(0.33, 0.90, 0.90, 0.90), "redundant: any one modality suffices"),
        (of(0.33, 0.34, 0.33, 0.90), "synergistic: only together do they tell"),
        (of(0.33, 0.60, 0.60, 0.87), "both count; additive"),
        (of(0.33, 0.75, 0.75, 0.95), "both count; partly redundant"),
        (of(0.33, 0.50, 0.50, 0.95), "both count; synergistic"),
        (of(0.33, 0.33, 0.33, 0.33), "nothing learned"),
        (of(0.33, 0.33, 0.33, 0.20), "worse than chance"),
        (of(0.33, 0.90, 0.90, 0.80), "better without audio or video"),
        (of(0.33, 0.33, 0.95, 0.90), "video dominates; better without audio"),
    ],
)
def test_narrow_intervals_give_the_fields_words(values, lead):
    assert judge(evidence(values)).lead == lead


def test_of_too_few_groups_for_any_test_no_smallest_drop_is_promised():
    found = evidence(of(0.33, 0.33, 0.90, 0.90), half=0.12)
    assert "the smallest drop that this test could show: " in judge(found).text
    lost = {kept: replace(one, detectable=np.nan) for kept, one in found.lost.items()}
    told = judge(replace(found, lost=lost)).text
    assert "smallest drop" not in told
    assert "nan" not in told


@pytest.mark.parametrize(
    ("values", "lead"),
    [
        (of(0.33, 0.33, 0.90, 0.90), "video counts; cannot tell about audio"),
        (of(0.33, 0.90, 0.90, 0.90), "cannot tell which modality counts"),
        (of(0.33, 0.38, 0.36, 0.40), "cannot tell whether anything was learned"),
        (of(0.10, 0.39, 0.60, 0.57), "audio"),
    ],
)
def test_wide_intervals_give_no_claim_of_absence_but_what_could_have_been_shown(values, lead):
    verdict = judge(evidence(values, half=0.12))
    for word in ("suffices", "dominates", "nothing learned", "not needed"):
        assert word not in verdict.lead
    if lead != "audio":
        assert verdict.lead == lead
    if "learned" not in verdict.lead:
        assert "the smallest drop that this test could show: 17 points" in verdict.text


def test_of_too_few_groups_a_score_is_not_said_to_be_anywhere_above_chance():
    """Four groups: the interval of the difference ends far beyond the score's own."""
    found = evidence(of(0.33, 0.38, 0.36, 0.40), half=0.12)
    assert "on the same clips between " in judge(found).text
    assert "on the same clips between " in judge(replace(found, above=replace(found.above, detectable=np.nan))).text
    told = judge(replace(found, groups=4)).text
    assert told.endswith("chance 0.33: no test of fewer than 6 groups can tell them apart.")


def test_two_of_three_is_not_called_any_one():
    """A code of three modalities in which each alone tells little and any two tell all."""
    values = {one: {0: 0.10, 1: 0.30, 2: 1.00, 3: 1.00}[len(one)] for one in coalitions(TRIPLE)}
    assert judge(evidence(values, chance=0.1, modalities=TRIPLE)).lead == "redundant: any 2 modalities suffice"


def test_a_useless_third_modality_is_not_said_to_suffice():
    """audio = video, text useless: no modality is needed, but text alone tells nothing."""
    values = {one: 0.9 if {"audio", "video"} & set(one) else 0.33 for one in coalitions(TRIPLE)}
    assert (
        judge(evidence(values, modalities=TRIPLE)).lead == "no modality is needed; audio alone or video alone suffices"
    )


def test_one_modality_that_is_not_needed_beside_two_that_are_is_named():
    values = {one: 0.9 if {"audio", "video"} <= set(one) else 0.5 if {"audio", "video"} & set(one) else 0.33
              for one in coalitions(TRIPLE)}  # fmt: skip
    assert judge(evidence(values, modalities=TRIPLE)).lead == "audio and video count; text is not needed"


def test_of_one_group_nothing_is_said():
    nothing = Estimate(0.9, np.nan, np.nan)
    found = judge(
        Evidence("accuracy", 0.33, PAIR, nothing, over(nothing, 0.33), {("audio",): nothing, ("video",): nothing}, {})
    )
    assert found.lead == "too few test groups to tell"


def test_a_modality_that_was_not_withheld_gives_no_verdict():
    values = of(0.33, 0.33, 0.9, 0.9)
    del values["audio",]
    assert judge(evidence(values)).lead == "not measured"


def test_the_sentence_has_its_numbers():
    text = judge(evidence(of(0.33, 0.34, 0.90, 0.90))).text
    assert text == (
        "without video accuracy falls from 0.90 to 0.34, without audio it is 0.90, a drop of at most 2 points "
        "(chance 0.33)."
    )


def test_only_together_is_not_said_of_coalitions_that_nobody_measured():
    """Three modalities, each needed and useless alone; two of the three tell nearly all."""
    values = {one: {0: 0.10, 1: 0.10, 2: 0.70, 3: 0.95}[len(one)] for one in coalitions(TRIPLE)}
    full = evidence(values, chance=0.1, modalities=TRIPLE)
    synergistic = {pair: Estimate(0.3, 0.2, 0.4) for pair in full.interaction}
    some = {one: lost for one, lost in full.lost.items() if len(one) != 2 or one == ("audio", "text")}
    for lost in (full.lost, some):
        found = judge(Evidence("accuracy", 0.1, TRIPLE, full.full, over(full.full, 0.1), lost, synergistic))
        assert "only together" not in found.lead


def test_dominates_is_not_said_of_a_drop_that_is_hardly_larger_than_the_others():
    full = Estimate(0.9, 0.88, 0.92)
    lost = {("video",): Estimate(0.07, 0.02, 0.12), ("audio",): Estimate(0.02, -0.01, 0.05)}
    lead = judge(Evidence("accuracy", 0.33, PAIR, full, over(full, 0.33), lost, {})).lead
    assert lead == "audio counts; video is not needed"


def test_no_interval_no_verdict():
    nothing = Estimate(0.2, float("nan"), float("nan"))
    lost = {("video",): nothing, ("audio",): nothing}
    lead = judge(
        Evidence("accuracy", 0.33, PAIR, Estimate(0.9, 0.8, 1.0), over(Estimate(0.9, 0.8, 1.0), 0.33), lost, {})
    ).lead
    assert lead == "too few test groups to tell"


def test_below_chance_with_a_wide_interval_is_no_better_than_chance_and_not_nothing_learned():
    verdict = judge(
        Evidence("accuracy", 0.5, PAIR, Estimate(0.3, 0.1, 0.52), over(Estimate(0.3, 0.1, 0.52), 0.5), {}, {})
    )
    assert verdict.lead == "no better than chance"
    assert "less than 5 points above chance" in verdict.text


def test_a_bound_is_rounded_so_that_it_stays_one():
    full = Estimate(0.9, 0.88, 0.92)
    lost = {("video",): Estimate(0.0, -0.02, 0.0243), ("audio",): Estimate(0.5, 0.4, 0.6)}
    text = judge(Evidence("accuracy", 0.33, PAIR, full, over(full, 0.33), lost, {})).text
    assert "without audio it is 0.90, a drop of at most 3 points" in text


def test_what_is_hardly_better_than_chance_is_not_divided():
    """Audio and video suffice each where nothing is to be had: a sentence that is true of noise."""
    verdict = judge(evidence(of(0.33, 0.36, 0.36, 0.36), half=0.015))
    assert verdict.lead == "hardly better than chance"
    assert "at most 5 points above it" in verdict.text


def test_chance_is_compared_on_the_same_clips():
    """A test set in which the commonest class of training is rarer than usual is not something learned."""
    full, drop = (
        Estimate(0.34, 0.33, 0.35),
        {("audio",): Estimate(0, -0.01, 0.01), ("video",): Estimate(0, -0.01, 0.01)},
    )
    lucky = judge(Evidence("accuracy", 0.32, PAIR, full, Estimate(0.02, -0.01, 0.045), drop, {}))
    assert lucky.lead == "nothing learned"


def misled(slope=10.0):
    """A label that audio and video each bear whole, and a model that says yes where their sum is over 1.5: with zero in
    the place of one it always says no. -> values of the coalitions in accuracy and in log-probability."""
    accuracy, told = {}, {}
    for kept in coalitions(PAIR):
        margins = [(2 * y - 1) * slope * (len(kept) * y - 1.5) for y in (0, 1)]
        accuracy[kept] = float(np.mean([margin > 0 for margin in margins]))
        told[kept] = float(np.mean([-np.log1p(np.exp(-margin)) for margin in margins]))
    return accuracy, told


def test_synergy_that_is_the_stand_ins_work_is_not_called_synergy_where_log_probability_denies_it():
    accuracy, told = misled()
    assert interaction_values(accuracy)[PAIR] == 0.5
    assert interaction_values(told)[PAIR] < -2
    shown = evidence(accuracy, chance=0.5)
    assert judge(shown).lead == "synergistic: only together do they tell", "of decisions alone"
    value = interaction_values(told)[PAIR]
    sure, unsure = Estimate(value, value - 1, value + 1), Estimate(value, value - 1, 0.1)
    lead = judge(replace(shown, in_log_probability={PAIR: sure})).lead
    assert lead == "both count; synergistic in accuracy, redundant in log-probability: the stand-in matters"
    assert judge(replace(shown, in_log_probability={PAIR: unsure})).lead == "synergistic: only together do they tell"


def test_only_together_is_not_said_where_a_model_of_one_modality_does_as_well():
    shown = evidence(misled()[0], chance=0.5)
    lead = judge(replace(shown, alone={"audio": 0.97, "video": 1.0})).lead
    assert lead == "both count in this model, yet video alone reaches 1.00"
    assert "only together" in judge(replace(shown, alone={"audio": 0.6, "video": 0.5})).lead


def test_what_lies_between_ends_lies_where_a_score_can():
    """Two classes: nothing is 1.00 below a chance of 0.50."""
    above = Estimate(0.1, -1.0, 1.0, 0.9)
    found = judge(Evidence("balanced accuracy", 0.5, PAIR, Estimate(0.6, 0.08, 0.96), above, {}, {}))
    assert found.text.endswith("between −0.50 and +0.50 above it.")
