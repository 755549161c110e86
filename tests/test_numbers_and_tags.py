"""Tasks whose labels are numbers or tags: what is read, split, refused, learnt and told."""

import json
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest
from _study import SHAPES

from modalens.commands import _survey, counts
from modalens.config import resolve
from modalens.config.resolved import left_out, measures_of
from modalens.curation import manifest, splitting, targets
from modalens.reporting.verdict import Estimate, Evidence, judge
from modalens.stats.calibration import calibrated, fit_temperature
from modalens.utils.errors import UserError

SPLITS = {"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 0, "allow_overlap": False}
STUDY = {"name": "s", "dataset": {"name": "folder", "csv": "list.csv"}, "tasks": ["valence", "tags"]}
TAGS = {"often": 0.8, "rare": 0.04}
KINDS = {"valence": "regression", "tags": "multilabel"}


def clips(**columns):
    count = len(next(iter(columns.values())))
    names = [f"c{at}" for at in range(count)]
    return pd.DataFrame({"clip_id": names, "group": names, "split": "", **columns})


def test_numbers_and_tags_are_read_as_people_write_them():
    table = clips(valence=["1", " -0.0", "2.50", "1e3", ""], tags=["b; a", "a", ";", "", "b|a|b"])
    found = targets.read(table, KINDS)
    assert found.valence.tolist() == ["1.0", "0.0", "2.5", "1000.0", ""]
    assert found.tags.tolist() == ["a|b", "a", "|", "", "a|b"], "a separator alone: none; nothing: not labelled"


@pytest.mark.parametrize("cell", ["high", "1,5", "nan", "inf", "1_0", "1e999"])
def test_what_is_no_finite_number_is_refused_with_its_clip(cell):
    with pytest.raises(UserError, match=r"task 'valence': clip 'c1': expected a finite number.*got"):
        targets.read(clips(valence=["1", cell]), KINDS)


def test_a_list_with_nothing_to_learn_is_refused():
    for column, why in (({"valence": ["1", "1"]}, "one number only"), ({"tags": [";", ";"]}, "no tag")):
        (task,) = column
        table = targets.read(clips(**column).assign(source="", start_s="", end_s="", text=""), KINDS)
        with pytest.raises(UserError, match=why):
            manifest.check(table, [task], KINDS)


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (
            [f"{at}e307" for at in range(9)],
            r"expected numbers from -1e\+150 to 1e\+150: squares of larger ones overflow; got 8e",
        ),
        ([repr(1e17 + at) for at in range(30)], r"the numbers differ by 32 at most, which rounding of 1e\+17 hides"),
        ([f"{at}e-320" for at in range(9)], r"expected numbers that differ by 1e-150 or more, got 8e-320 at most"),
    ],
)
def test_numbers_whose_variance_cannot_be_computed_are_refused(cells, why):
    table = targets.read(clips(valence=cells).assign(source="", start_s="", end_s="", text=""), KINDS)
    with pytest.raises(UserError, match=why):
        manifest.check(table, ["valence"], KINDS)
    assert len(_survey.of_task(table, "valence", SPLITS, kind="regression").mistakes) == 1


@pytest.mark.parametrize("cells", [[1e149, -1e149], [1.7e18, 1.7e18 + 1e9], [1e-140, 0.0], [1e6, 1e6 + 1e-3]])
def test_large_small_and_near_numbers_whose_variance_can_be_computed_are_accepted(cells):
    assert targets.mistake(pd.Series([repr(cell) for cell in cells]), "regression") == ""


def test_splits_have_the_same_numbers_and_every_tag():
    draw = np.random.default_rng(0)
    table = clips(
        valence=[repr(float(one)) for one in draw.normal(size=200)],
        tags=[";".join(name for name, p in TAGS.items() if draw.random() < p) or ";" for _ in range(200)],
    )
    table = targets.read(table, KINDS)
    fractions = {name: SPLITS[name] for name in splitting.NAMES}
    for task, kind in KINDS.items():
        labels = table[["clip_id", "group"]].assign(label=table[task])
        split = splitting.assign(labels.assign(label=targets.strata(labels.label, labels.group, kind)), fractions, 0)
        parts = {name: labels[split == name] for name in splitting.NAMES}
        if kind == "regression":
            medians = [pd.to_numeric(part.label).median() for part in parts.values()]
            assert np.ptp(medians) < 0.3
        else:
            assert all({"often", "rare"} <= set(targets.exploded(part.label)) for part in parts.values())


def test_check_and_counts_say_what_numbers_and_tags_there_are():
    table = targets.read(clips(valence=[str(at) for at in range(100)], tags=["a;b", ";"] * 50), KINDS)
    (first, second) = _survey.of_task(table, "valence", SPLITS, kind="regression").told
    assert "numbers from 0 to 99" in first
    assert "accuracy" not in second
    found = _survey.of_task(table, "tags", SPLITS, kind="multilabel")
    assert "2 tags" in found.told[0]
    assert "50 clips without any" in found.told[0]
    assert not found.mistakes
    made, _ = counts.counts(table, "tags", {name: SPLITS[name] for name in splitting.NAMES}, 0, "multilabel")
    assert made.set_index("label")["all"].to_dict() == {"a": 50, "b": 50, "all": 100}


def test_measures_of_classes_are_left_out_and_named_and_models_of_classes_refused():
    asked = {**STUDY, "targets": KINDS, "relevance": {"measures": {"shapley": {}, "pid": {}}}}
    config = resolve.resolve(asked)
    assert measures_of(config, "valence") == ["shapley"]
    assert left_out(config)[0] == ("task valence: pid not computed: of classes only, and its labels are numbers")
    assert "distillation" not in config["models"]
    with pytest.raises(UserError, match=r"models.distillation: distillation learns classes only, and targets.valence"):
        resolve.resolve({**asked, "models": {"audio_only": {}, "distillation": {"teachers": ["audio_only"]}}})
    with pytest.raises(UserError, match=r"ogm_ge learns classes only"):
        resolve.resolve({**asked, "models": {"late_fusion": {"balancing": {"ogm_ge": {}}}}})
    with pytest.raises(UserError, match=r"targets: no task 'valenc'"):
        resolve.resolve({**STUDY, "targets": {"valenc": "regression"}})


def test_one_temperature_for_all_tags_is_that_of_as_many_pairs():
    draw = np.random.default_rng(0)
    outputs, labels = 5 * draw.normal(size=(2, 40, 3)), (draw.random((40, 3)) < 0.5).astype(float)
    temperatures, losses = calibrated(outputs, labels, "multilabel")
    pairs = np.stack([np.zeros_like(outputs), outputs], -1).reshape(2, -1, 2)
    expected = fit_temperature(pairs, labels.ravel().astype(int))
    assert np.allclose(temperatures, expected[0])
    plain = np.logaddexp(0, outputs / temperatures[:, None, None]) - labels * outputs / temperatures[:, None, None]
    assert losses == pytest.approx(plain.mean((1, 2)))


def test_of_tags_it_is_never_called_additive_by_numbers_of_another_metric():
    small = Estimate(0.001, -0.001, 0.002)
    evidence = Evidence(
        "micro F1", 0.0, ("audio", "video"), Estimate(0.9, 0.88, 0.92), Estimate(0.9, 0.88, 0.92),
        {("audio",): Estimate(0.4, 0.35, 0.45), ("video",): Estimate(0.4, 0.35, 0.45)}, {("audio", "video"): small},
        same_unit=False,
    )  # fmt: skip
    assert judge(evidence).lead == "both count"


def test_compare_refuses_numbers_in_one_line_in_place_of_taking_each_for_a_class(tmp_path):
    from modalens.commands import compare
    from modalens.utils import cli

    rows = {"clip_id": ["a", "b"], "label": ["1.0", "2.0"], "predicted": ["1.5", "2.5"], "target": "regression"}
    for name in ("one", "other"):
        pd.DataFrame({**rows, "coalition": "audio"}).to_csv(tmp_path / f"{name}.csv", index=False)
    line = [str(tmp_path / "one.csv"), str(tmp_path / "other.csv"), "--output", str(tmp_path / "out")]
    with pytest.raises(UserError, match=r"expected classes, got numbers or tags"):
        compare.main(cli.parse(compare, line))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["regression", "multilabel"])
@pytest.mark.parametrize("model", ["late_fusion", "logistic"])
def test_train_and_evaluate_stages_learn_numbers_and_tags_that_the_video_shows(tmp_path, kind, model):
    pytest.importorskip("torch")
    from _study import make, train_line

    from modalens.stages import evaluate, train
    from modalens.utils import cli

    root = make(tmp_path)
    numbers = {"007": "1.0", "cat": "5.0", "dog": "9.0"}
    values = numbers if kind == "regression" else {"007": "|", "cat": "a", "dog": "a|b"}
    for split in ("train", "validation", "test"):
        table = pd.read_csv(root / "splits" / f"{split}.csv", dtype=str)
        table.assign(label=table.label.map(values)).to_csv(root / "splits" / f"{split}.csv", index=False)
    names = ["any number"] if kind == "regression" else ["a", "b"]
    pd.DataFrame({"label": names, "train": 1}).to_csv(root / "splits" / "classes.csv", index=False)
    options = {} if model == "logistic" else None
    train.main(cli.parse(train, train_line(root, model, options=options, epochs=60, more=["--target", kind])))
    line = ["--models", f"{root}/train/{model}", "--seeds", "0", "--test", f"{root}/splits/test.csv"]
    line += ["--modalities", *(f"{name}={root}/features/{name}" for name in SHAPES), "--conditions", "mean@fusion"]
    line += ["--output", f"{root}/evaluate", "--key", json.dumps({"task": "t"}), "--device", "cpu"]
    parsed: Namespace = cli.parse(evaluate, line)
    evaluate.main(parsed)
    rows = pd.read_parquet(root / "evaluate" / f"{model}.parquet")
    (run,) = json.loads((root / "evaluate" / f"{model}.json").read_text())["runs"]
    score = run["metrics"]["r2" if kind == "regression" else "tag_accuracy"]
    assert score > (0.5 if kind == "regression" else 0.75)
    assert set(rows.target) == {kind}
    without = rows[rows.condition == "video=mean@fusion"]
    if kind == "regression":
        assert (without.predicted.astype(float) - 5).abs().mean() < 2
