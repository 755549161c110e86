"""Relevance of single clips, where it is known which clip needs which modality."""

import itertools

import numpy as np
import pandas as pd
import pytest

from modalens.measures.sample_relevance import SampleRelevance
from modalens.stats.predictions import validate
from modalens.utils.csv_tables import neutral
from modalens.utils.errors import UserError

# Probability of the class with (nothing, audio, video, both), by clip.
CLIPS = {
    "=audio": (0.1, 0.9, 0.1, 0.9),
    "either": (0.1, 0.9, 0.9, 0.9),
    "video": (0.1, 0.1, 0.9, 0.9),
    "together": (0.1, 0.1, 0.1, 0.9),
    "misled": (0.1, 0.1, 0.9, 0.1),
}
COALITIONS = ("", "audio", "video", "audio,video")


def table(noise=0.02, seeds=5):
    draw = np.random.default_rng(0)
    rows = []
    for (clip, values), seed, (place, coalition) in itertools.product(
        CLIPS.items(), range(seeds), enumerate(COALITIONS)
    ):
        probability = values[place] + noise * draw.normal()
        rows.append(
            {
                "model": "m", "clip_id": clip, "group": clip, "seed": seed, "coalition": coalition, "label": "yes",
                "replacement": "" if "," in coalition else "mean@fusion",
                "predicted": "yes" if probability > 0.5 else "no", "log_probability": np.log(max(probability, 1e-3)),
            }
        )  # fmt: skip
    return validate(pd.DataFrame(rows).sample(frac=1, random_state=1))


@pytest.fixture(scope="module")
def found():
    return SampleRelevance()(table()).set_index(["clip_id", "modality"])


def by_clip(found, column):
    """{clip: {modality: value}}."""
    told = {}
    for (clip, modality), value in found[column].items():
        told.setdefault(clip, {})[modality] = value
    return told


def test_each_clip_is_told_to_need_what_it_needs(found):
    assert by_clip(found, "verdict") == {
        "'=audio": {"audio": "needed", "video": "cannot tell"},
        "either": {"audio": "cannot tell", "video": "cannot tell"},
        "video": {"audio": "cannot tell", "video": "needed"},
        "together": {"audio": "needed", "video": "needed"},
        "misled": {"audio": "harmful", "video": "cannot tell"},
    }
    assert found.loc[("either", "audio"), ["correct_alone", "correct_without", "changes"]].tolist() == [1, 1, 0]
    assert found.loc[("together", "audio"), ["correct_alone", "correct_without", "changes"]].tolist() == [0, 0, 1]


def test_the_valuation_is_that_of_wei_et_al(found):
    values = by_clip(found, "valuation")
    assert values["'=audio"] == {"audio": 1.5, "video": 0.5}
    assert values["either"] == {"audio": 1, "video": 1}
    assert values["together"] == {"audio": 1, "video": 1}
    assert values["misled"] == {"audio": -0.5, "video": 0.5}


def test_shapley_values_of_each_clip_sum_to_what_all_modalities_bring(found):
    whole = table()
    told = whole.pivot_table("log_probability", "clip_id", "coalition")
    sums = found["shapley"].groupby("clip_id").sum()
    for clip in CLIPS:
        assert sums[neutral(clip)] == pytest.approx(told.loc[clip, "audio,video"] - told.loc[clip, ""])
    assert ((found["drop_low"] <= found["drop"]) & (found["drop"] <= found["drop_high"])).all()


def test_a_single_seed_tells_no_verdict_and_a_text_that_is_a_formula_is_neutralised():
    found = SampleRelevance()(table(seeds=1))
    assert set(found["verdict"]) == {"cannot tell"}
    assert found["drop_low"].isna().all()
    assert "'=audio" in set(found["clip_id"])
    assert [neutral(text) for text in ("+x", "-x", "@a", "=b", "\tc", "a=b", "")] == [
        "'+x", "'-x", "'@a", "'=b", "'\tc", "a=b", "",
    ]  # fmt: skip


def test_models_of_one_modality_are_left_out_and_unknown_names_refused():
    only = table()[lambda frame: frame["coalition"].isin(["", "audio"])]
    only = validate(only.assign(replacement=np.where(only["coalition"] == "audio", "", "mean@fusion"), model="a"))
    assert SampleRelevance()(only).empty
    measure = SampleRelevance()
    assert measure.headline(measure(table()))["needed/audio/mean@fusion"] == pytest.approx(2 / 5)
    with pytest.raises(UserError, match="models: expected some of m, got 'x'"):
        SampleRelevance(models=["x"])(table())


def test_of_clips_that_need_nothing_few_are_told_to_need_it():
    draw = np.random.default_rng(3)
    rows = []
    for clip, seed, coalition in itertools.product(range(400), range(5), COALITIONS):
        rows.append((f"c{clip}", seed, coalition, -abs(draw.normal())))
    frame = pd.DataFrame(rows, columns=["clip_id", "seed", "coalition", "log_probability"])
    frame = frame.assign(label="yes", predicted="yes", model="m")
    found = SampleRelevance()(validate(frame))
    assert (found["verdict"] == "needed").mean() < 0.05
