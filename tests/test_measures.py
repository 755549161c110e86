from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from synthetic import predictions, subsets

from modalens.measures._predictions import Coalitions
from modalens.measures.leave_one_out import LeaveOneOut
from modalens.measures.shapley import Shapley
from modalens.plugins import registry
from modalens.stats.coalitions import coalitions, interaction_values, shapley_values
from modalens.utils.errors import UserError

CLASSES = ["a", "b", "c"]
QUICK = {"bootstrap": 100}
NOT_NEEDED = {"": 0.3, "audio": 0.6, "video": 0.9, "audio,video": 0.9}


def of_models(**accuracies):
    tables = [predictions(table, CLASSES).assign(model=name) for name, table in accuracies.items()]
    return pd.concat(tables, ignore_index=True)


def right(frame, kept, replacement):
    rows = frame[(frame["coalition"] == kept) & (frame["replacement"] == replacement)]
    return (rows["label"] == rows["predicted"]).mean()


@pytest.mark.parametrize("name", [name for name in ("leave_one_out", "shapley") if name in registry.names("measures")])
def test_a_measure_is_a_pure_function_that_does_not_touch_its_input(name):
    table = of_models(late_fusion=NOT_NEEDED)
    before = table.copy(deep=True)
    measure = registry.load("measures", name)(**QUICK)
    pd.testing.assert_frame_equal(measure(table), measure(table.sample(frac=1, random_state=0)))
    pd.testing.assert_frame_equal(table, before)
    assert all(np.isfinite(value) for value in measure.headline(measure(table)).values())


def test_drop_is_full_minus_withheld_and_an_unneeded_modality_drops_nothing():
    table = of_models(late_fusion=NOT_NEEDED)
    rows = LeaveOneOut(**QUICK)(table)
    assert np.allclose(rows["drop"], rows["full"] - rows["withheld"])
    accuracy = rows[(rows["metric"] == "accuracy") & (rows["replacement"] == "blank@input")].set_index("modality")
    assert accuracy.loc["video", "full"] == pytest.approx(right(table, "audio,video", ""))
    assert accuracy.loc["video", "withheld"] == pytest.approx(right(table, "audio", "blank@input"))
    assert accuracy.loc["audio", "drop"] == 0
    assert accuracy.loc["audio", "low"] == -accuracy.loc["audio", "high"] < 0
    assert accuracy.loc["audio", "p_holm"] == 1
    assert 0.1 < accuracy.loc["video", "low"] < accuracy.loc["video", "drop"] < accuracy.loc["video", "high"] < 0.5
    assert accuracy.loc["video", "p_holm"] < 0.01


def test_every_model_replacement_modality_and_metric_has_one_row():
    table = of_models(audio_only={"": 0.3, "audio": 0.6}, late_fusion=NOT_NEEDED)
    rows = LeaveOneOut(**QUICK)(table)
    assert len(rows) == (1 + 2) * 3 * 6
    assert not rows.duplicated(["model", "replacement", "modality", "metric"]).any()
    assert set(rows.loc[rows["model"] == "audio_only", "modality"]) == {"audio"}
    assert rows["p_value"].notna().groupby(rows["metric"]).all()[["accuracy", "log_probability"]].all()
    assert (rows[["clips", "groups", "seeds"]] == [120, 40, 3]).all(axis=None)


def test_holm_family_is_all_rows_of_a_metric():
    rows = LeaveOneOut(metrics=["accuracy"], **QUICK)(of_models(late_fusion=NOT_NEEDED))
    assert rows["p_holm"].min() == pytest.approx(rows["p_value"].min() * len(rows))


def brute_force(value_function, names):
    """Mean marginal gain over all orders in which the modalities may arrive."""
    gains = {name: [] for name in names}
    for order in permutations(names):
        for index, name in enumerate(order):
            before, after = tuple(sorted(order[:index])), tuple(sorted(order[: index + 1]))
            gains[name].append(value_function[after] - value_function[before])
    return {name: np.mean(values, axis=0) for name, values in gains.items()}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shapley_values_equal_the_mean_over_all_orders_and_sum_to_full_minus_none(count):
    names = ["audio", "depth", "text", "video"][:count]
    rng = np.random.default_rng(count)
    value_function = {subset: rng.normal(size=(5, 2)) for subset in coalitions(names)}
    assert len(value_function) == 2**count
    values = shapley_values(value_function)
    for name, value in brute_force(value_function, names).items():
        assert np.allclose(values[name], value)
    assert np.allclose(sum(values.values()), value_function[tuple(names)] - value_function[()])


@pytest.mark.parametrize("names", [["audio"], ["audio", "video"], ["audio", "text", "video"]])
def test_shapley_table_sums_to_full_minus_none_for_every_payoff(names):
    accuracies = {kept: 0.3 + 0.6 * len(kept.split(",")) * bool(kept) / len(names) for kept in subsets(names)}
    rows = Shapley(**QUICK)(of_models(model=accuracies))
    used = rows[rows["notion"] == "used"]
    assert len(used) == 3 * 2 * len(names)
    sums = used.groupby(["replacement", "value_function"])[["value", "share"]].sum()
    whole = used.groupby(["replacement", "value_function"])[["full", "none"]].first()
    assert np.allclose(sums["value"], whole["full"] - whole["none"])
    assert np.allclose(sums["share"].xs("accuracy", level="value_function"), 1)


def test_shapley_recovers_planted_values_within_their_intervals():
    planted = {"": 0.34, "audio": 0.5, "video": 0.8, "audio,video": 0.95}
    rows = Shapley(value_functions=["accuracy"], **QUICK)(of_models(late_fusion=planted))
    rows = rows[(rows["notion"] == "used") & (rows["replacement"] == "blank@input")].set_index("modality")
    for modality, value in {"audio": 0.155, "video": 0.455}.items():
        assert rows.loc[modality, "low"] <= value <= rows.loc[modality, "high"]
    assert rows.loc["audio", "share_low"] <= 0.155 / 0.61 <= rows.loc["audio", "share_high"]


def test_a_share_of_nothing_is_empty():
    rows = Shapley(value_functions=["accuracy"], **QUICK)(of_models(late_fusion=dict.fromkeys(NOT_NEEDED, 0.4)))
    used = rows[rows["notion"] == "used"]
    assert used[["share", "share_low", "share_high"]].isna().all(axis=None)
    assert used["value"].notna().all()


def test_available_is_the_division_between_separately_trained_models():
    table = of_models(
        audio_only={"": 0.1, "audio": 0.7},
        video_only={"": 0.1, "video": 0.8},
        late_fusion={"": 0.1, "audio": 0.2, "video": 0.9, "audio,video": 0.9},
    )
    rows = Shapley(value_functions=["accuracy"], **QUICK)(table)
    rows = rows[(rows["notion"] == "available") & (rows["model"] == "late_fusion")].set_index("modality")
    chance = 1 / 3  # the planted classes are equally common
    audio, video = (right(table[table["model"] == f"{name}_only"], name, "") for name in ("audio", "video"))
    full = right(table[table["model"] == "late_fusion"], "audio,video", "")
    assert rows["none"].tolist() == pytest.approx([chance, chance])
    assert rows.loc["audio", "value"] == pytest.approx(((audio - chance) + (full - video)) / 2)
    assert rows.loc["video", "value"] == pytest.approx(((video - chance) + (full - audio)) / 2)


def test_chance_names_the_commonest_class_and_knows_the_shares():
    table = of_models(audio_only={"": 0.3, "audio": 0.6})
    table["label"] = np.where(table["clip_id"] < "clip00090", "a", "b")
    rows = Shapley(**QUICK)(table)
    none = rows[rows["notion"] == "available"].set_index("value_function")["none"]
    assert none["accuracy"] == pytest.approx(0.75)
    assert none["log_probability"] == pytest.approx(0.75 * np.log(0.75) + 0.25 * np.log(0.25))


def test_available_needs_a_model_of_every_modality_on_the_same_seeds():
    multimodal = of_models(late_fusion=NOT_NEEDED)
    assert set(Shapley(**QUICK)(multimodal)["notion"]) == {"used"}
    audio, video = ({"": 0.3, name: 0.6} for name in ("audio", "video"))
    experts = of_models(audio_only=audio, video_only=video)
    fewer = pd.concat([multimodal, experts[experts["seed"] == 0]])
    rows = Shapley(**QUICK)(fewer)
    assert "available" not in set(rows.loc[rows["model"] == "late_fusion", "notion"])


def test_only_the_wanted_replacement_is_measured_and_an_unknown_one_is_named():
    table = of_models(late_fusion=NOT_NEEDED)
    assert set(LeaveOneOut(replacement="mean@fusion", **QUICK)(table)["replacement"]) == {"mean@fusion"}
    with pytest.raises(UserError, match="'noise' was not evaluated; there are blank@input"):
        Shapley(replacement=["noise"], **QUICK)(table)


def test_missing_and_doubled_rows_are_refused():
    table = of_models(late_fusion=NOT_NEEDED)
    with pytest.raises(UserError, match="not one row per clip and seed"):
        LeaveOneOut(**QUICK)(table.drop(index=table.index[-1]))
    with pytest.raises(UserError, match="not one row per clip and seed"):
        LeaveOneOut(**QUICK)(pd.concat([table, table[table["replacement"] == "mean@fusion"]]))
    with pytest.raises(UserError, match="was not evaluated with coalition audio"):
        Shapley(**QUICK)(table[(table["coalition"] != "audio") | (table["replacement"] == "")])


def test_one_group_leaves_intervals_empty_and_values_whole():
    table = predictions(NOT_NEEDED, CLASSES, groups=1, clips=30).assign(model="m")
    for rows in (LeaveOneOut(**QUICK)(table), Shapley(**QUICK)(table)):
        assert rows[["low", "high", "groups_low"]].isna().all(axis=None)
        assert rows["drop" if "drop" in rows else "value"].notna().all()


def test_chance_is_that_of_the_training_classes_where_the_table_tells_them():
    """Read off 60 test labels of three even classes the commonest has .40 on average: no model could be so good."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(30):
        labels = draw.choice(["a", "b", "c"], 60)
        frame = of_models(late_fusion=NOT_NEEDED).head(0)
        frame = pd.DataFrame({"clip_id": [f"c{i}" for i in range(60)], "label": labels, "predicted": labels})
        frame = frame.assign(group=frame["clip_id"], seed=0, replacement="", coalition="audio", log_probability=0.0)
        own = Coalitions(frame, "m", replicates=10).chance()["accuracy"][0, 0]
        told = frame.assign(prior_predicted="a", prior_log_probability=np.log(1 / 3))
        found.append((own, Coalitions(told, "m", replicates=10).chance()["accuracy"][0, 0], (labels == "a").mean()))
    own, told, true = np.mean(found, axis=0)
    assert told == pytest.approx(true)
    assert own > told + 0.04


@pytest.mark.parametrize("name", ["coalition_values", "interaction"])
def test_coalitions_and_interactions_are_those_of_the_predictions(name):
    table = of_models(late_fusion=NOT_NEEDED)
    rows = registry.load("measures", name)(bootstrap=50)(table)
    value = {
        one: right(table, one, "blank@input" if one != "audio,video" else "")
        for one in ("", "audio", "video", "audio,video")
    }
    if name == "coalition_values":
        rows = rows[(rows["metric"] == "accuracy") & (rows["replacement"] == "blank@input")].set_index("coalition")
        for one, expected in value.items():
            assert rows.loc[one, "value"] == pytest.approx(expected)
            assert rows.loc[one, "lost"] == pytest.approx(value["audio,video"] - expected)
    else:
        rows = rows[(rows["value_function"] == "accuracy") & (rows["replacement"] == "blank@input")]
        expected = value["audio,video"] - value["audio"] - value["video"] + value[""]
        assert rows["value"].tolist() == pytest.approx([expected])
    assert (rows["low"] <= rows["high"]).all()


def test_the_interaction_of_pairs_is_the_shapley_interaction_index():
    """Known answers: a product of two players interacts by one, a sum by none, a majority of three by zero each."""
    names = ("a", "b", "c")
    product = {one: float({"a", "b"} <= set(one)) for one in coalitions(names)}
    assert interaction_values(product) == pytest.approx({("a", "b"): 1.0, ("a", "c"): 0.0, ("b", "c"): 0.0})
    added = {one: float(len(one)) for one in coalitions(names)}
    assert set(interaction_values(added).values()) == {0.0}
    majority = {one: float(len(one) >= 2) for one in coalitions(names)}
    assert set(interaction_values(majority).values()) == {0.0}
    triple = {one: float(len(one) == 3) for one in coalitions(names)}
    assert interaction_values(triple) == pytest.approx(dict.fromkeys([("a", "b"), ("a", "c"), ("b", "c")], 0.5))
