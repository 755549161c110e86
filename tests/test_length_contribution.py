"""Models alike but for the lengths of their sequences: the gain over equal lengths, and what each modality gives."""

import pandas as pd
import pytest
from synthetic import predictions

from modalens.measures.length_contribution import LengthContribution
from modalens.utils.errors import UserError

CLASSES = ["a", "b", "c"]
QUICK = {"bootstrap": 100, "replacement": "blank@input"}
LENGTHS = {"even": {"audio": 8, "video": 8}, "long_audio": {"audio": 16, "video": 8}, "short": {"video": 8, "audio": 4}}
EVEN = {"": 0.3, "audio": 0.5, "video": 0.5, "audio,video": 0.6}
BETTER = {"": 0.3, "audio": 0.9, "video": 0.5, "audio,video": 0.95}


def table_of(**models):
    return pd.concat([predictions(rates, CLASSES).assign(model=name) for name, rates in models.items()])


def measured(**models):
    rows = LengthContribution(lengths=LENGTHS, **QUICK)(table_of(**models))
    return rows[rows["metric"] == "accuracy"].set_index(["model", "quantity", "modality"]).sort_index()


def test_a_ratio_that_helps_has_a_gain_above_chance_and_one_that_does_not_has_none():
    rows = measured(even=EVEN, long_audio=BETTER, short=EVEN)
    assert rows.loc[("long_audio", "gain", ""), "low"] > 0
    assert rows.loc[("short", "gain", ""), "value"] == 0
    assert rows.loc[("short", "gain", ""), "low"] < 0
    assert ("even", "gain", "") not in rows.index
    full = rows.xs("performance", level="quantity")["value"].droplevel("modality")
    assert rows.loc[("long_audio", "gain", ""), "value"] == pytest.approx(full["long_audio"] - full["even"])


def test_the_shapley_values_of_each_model_stand_beside_its_ratio():
    rows = measured(even=EVEN, long_audio=BETTER, short=EVEN)
    shapley = rows.xs("shapley", level="quantity")["value"]
    assert shapley["long_audio", "audio"] > shapley["long_audio", "video"] + 0.2
    assert shapley["even", "audio"] == pytest.approx(shapley["even", "video"], abs=0.05)
    assert rows["ratio"].groupby("model").first().to_dict() == {"even": "1:1", "long_audio": "2:1", "short": "1:2"}
    assert set(rows.loc["short", "lengths"]) == {"audio 4, video 8"}


def test_headline_and_the_order_of_rows():
    measure = LengthContribution(lengths=LENGTHS, **QUICK)
    table = table_of(even=EVEN, long_audio=BETTER, short=EVEN)
    rows = measure(table)
    pd.testing.assert_frame_equal(rows, measure(table.sample(frac=1, random_state=0)))
    assert measure.headline(rows[rows["model"] == "long_audio"])["gain"] > 0.2
    assert measure.headline(rows[rows["model"] == "even"]) == {}


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        (None, "expected two models or more of the same modalities, got none"),
        ({"a": {"audio": 8, "video": 8}, "b": {"audio": 8, "text": 8}}, "two models or more of the same modalities"),
        ({"a": {"audio": 8, "video": 4}, "b": {"audio": 4, "video": 8}}, "expected a model of equal lengths"),
        ({"a": {"audio": 8}, "b": {"audio": 8}}, r"lengths.a: expected {modality: steps} of two modalities or more"),
        ({"a": {"audio": 8, "video": 0}, "b": {"audio": 8, "video": 8}}, r"lengths.a: expected {modality: steps}"),
    ],
)
def test_lengths_that_cannot_be_compared_are_refused(lengths, said):
    with pytest.raises(UserError, match=said):
        LengthContribution(lengths=lengths)


def test_a_model_that_is_not_there_and_other_modalities_are_the_users_mistakes():
    table = table_of(even=EVEN, long_audio=BETTER)
    with pytest.raises(UserError, match="lengths: no model 'short'"):
        LengthContribution(lengths=LENGTHS, **QUICK)(table)
    lengths = {name: {"audio": 8, "text": 8} for name in ("even", "long_audio")}
    with pytest.raises(UserError, match=r"lengths\.even: expected a length of each of audio, video"):
        LengthContribution(lengths=lengths, **QUICK)(table)
