"""Robustness curves: what is to be expected where clips lack a modality, and MultiBench's numbers of a curve."""

import numpy as np
import pandas as pd
import pytest
from synthetic import predictions

from modalens.measures._curves import curve_rows
from modalens.measures.missing_curve import MissingCurve
from modalens.stats.bootstrap import Bootstrap
from modalens.stats.metrics import confusion_metrics
from modalens.utils.errors import UserError

CLASSES = ["a", "b", "c"]
QUICK = {"bootstrap": 100}
ONE = {"replacement": "blank@input"}
FRAGILE = {"": 0.3, "audio": 0.4, "video": 0.8, "audio,video": 0.9}
STEADY = {"": 0.3, "audio": 0.8, "video": 0.8, "audio,video": 0.9}


def of_models(**accuracies):
    tables = [predictions(table, CLASSES).assign(model=name) for name, table in accuracies.items()]
    return pd.concat(tables, ignore_index=True)


def rows_of(table, **key):
    for name, value in key.items():
        table = table[table[name] == value]
    return table


def test_the_curve_runs_from_all_to_withheld_and_its_mean_is_half_way():
    table = MissingCurve(**QUICK, **ONE)(of_models(late_fusion=FRAGILE))
    rows = rows_of(table, modality="video", metric="accuracy")
    curve = rows_of(rows, quantity="curve").set_index("level")["value"]
    frame = predictions(FRAGILE, CLASSES)
    right = (
        frame.assign(right=frame["label"] == frame["predicted"]).groupby(["replacement", "coalition"])["right"].mean()
    )
    assert curve[0.0] == pytest.approx(right["", "audio,video"])
    assert curve[1.0] == pytest.approx(right["blank@input", "audio"])
    assert np.allclose(np.diff(curve), np.diff(curve).mean())
    assert rows_of(rows, quantity="relative")["value"].item() == pytest.approx(curve[[0.0, 1.0]].mean())
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "log_probability"])
def test_the_curve_is_the_mean_over_draws_of_the_clips_that_lack_the_modality(metric):
    frame = predictions(FRAGILE, CLASSES, seeds=1)
    frame = frame[frame["label"].ne("a") | frame["clip_id"].lt("clip00040")]  # unequal classes
    rows = rows_of(MissingCurve(**QUICK, **ONE)(frame.assign(model="m")), modality="video", metric=metric)
    full, withheld = (
        frame[(frame["replacement"] == replacement) & (frame["coalition"] == kept)].reset_index(drop=True)
        for replacement, kept in (("", "audio,video"), ("blank@input", "audio"))
    )
    rng, found = np.random.default_rng(0), []
    label = pd.Index(CLASSES).get_indexer(full["label"])
    named = [pd.Index(CLASSES).get_indexer(part["predicted"]) for part in (full, withheld)]
    for _ in range(1000):
        lacks = rng.random(len(full)) < 0.4
        if metric == "log_probability":
            found.append(np.where(lacks, withheld[metric], full[metric]).mean())
        else:
            confusion = np.zeros((3, 3))
            np.add.at(confusion, (label, np.where(lacks, named[1], named[0])), 1)
            found.append(float(confusion_metrics(confusion)[metric]))
    level = rows[np.isclose(rows["level"], 0.4)]["value"].item()
    assert np.mean(found) == pytest.approx(level, abs=5 * np.std(found) / np.sqrt(len(found)))


def test_effective_robustness_is_how_much_less_a_model_falls_than_the_baseline():
    """Accuracy falls from .9 to .4 and to .8 without video; half of the difference is the mean over the axis."""
    table = MissingCurve(metrics=["accuracy"], **QUICK, **ONE)(of_models(late_fusion=FRAGILE, steady=STEADY))
    effective = rows_of(table, quantity="effective").set_index(["model", "modality"])
    assert set(effective.index.get_level_values("model")) == {"steady"}
    full = rows_of(table, quantity="curve").set_index(["model", "modality", "level"])["value"]
    for modality in ("audio", "video"):
        falls = {name: full[name, modality, 0.0] - full[name, modality, 1.0] for name in ("late_fusion", "steady")}
        assert effective["value"]["steady", modality] == pytest.approx((falls["late_fusion"] - falls["steady"]) / 2)
    assert effective["low"]["steady", "video"] > 0
    assert effective["low"]["steady", "audio"] < 0 < effective["high"]["steady", "audio"]


def test_a_study_without_the_baseline_and_a_model_of_one_modality_have_relative_robustness_alone():
    table = MissingCurve(**QUICK, **ONE)(of_models(audio_only={"": 0.3, "audio": 0.6}))
    assert set(table["quantity"]) == {"curve", "relative"}
    assert set(table["modality"]) == {"audio"}


def test_numbers_of_a_curve_are_those_of_multibench_per_unit_of_the_axis():
    """Its relative robustness adds up trapezoids, its effective robustness the distances from the shifted baseline."""
    rng = np.random.default_rng(0)
    levels = np.linspace(0, 1, 11)
    mine, base = np.sort(rng.random(11))[::-1], np.sort(rng.random(11))[::-1]
    curves = [{float(x): np.full((3, 2), y) for x, y in zip(levels, values, strict=True)} for values in (mine, base)]
    rows = {row["quantity"]: row for row in curve_rows("accuracy", *curves, Bootstrap(10, 2, 2))}
    assert rows["relative"]["value"] == pytest.approx(sum((mine[:-1] + mine[1:]) * 0.1 / 2))
    distance = mine - (base + mine[0] - base[0])
    assert rows["effective"]["value"] == pytest.approx(sum((distance[:-1] + distance[1:]) * 0.1 / 2))
    assert rows["effective"]["value"] == pytest.approx(distance.sum() / 11, abs=0.1)


def test_headline_has_both_numbers_and_row_order_changes_nothing():
    frame = of_models(late_fusion=FRAGILE, steady=STEADY)
    measure = MissingCurve(**QUICK, **ONE)
    table = measure(frame)
    pd.testing.assert_frame_equal(table, measure(frame.sample(frac=1, random_state=0)))
    names = measure.headline(table[table["model"] == "steady"])
    assert {"relative/video/blank@input", "effective/video/blank@input"} <= set(names)


@pytest.mark.parametrize("levels", [[0.1, 0.5], [0, 0.5, 0.5], [0], [0, 1.5], ["0", 1], [0, True]])
def test_levels_rise_from_nothing_to_all(levels):
    with pytest.raises(UserError, match="missing_curve: levels: expected numbers that rise from 0 to 1 at most"):
        MissingCurve(levels=levels)


def test_a_metric_that_is_no_mean_over_clips_is_refused():
    with pytest.raises(UserError, match=r"missing_curve: metrics: expected some of accuracy, .*, got 'f1'"):
        MissingCurve(metrics=["f1"])
