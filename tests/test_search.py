import json
import math

import _study
import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from modalens.models import load_model
from modalens.search import trial
from modalens.search.space import apply_overrides, sample_trials, value_of
from modalens.stages import search, train
from modalens.tracking import records
from modalens.training import dataset, loop, setup
from modalens.utils import cli
from modalens.utils.errors import UserError

RATE = {"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return _study.make(tmp_path_factory.mktemp("search"))


def line(root, model="audio_only", space=RATE, budget=3, output="search", seeds=(100,), options=None, **more):
    """A model called `audio_only` is late fusion of that modality, as in a config."""
    only = model.removesuffix("_only") if model.endswith("_only") else ""
    words = ["--model", "late_fusion" if only else model]
    words += ["--options", json.dumps(_study.SMALL if options is None else options)]
    training = _study.TRAINING | {"epochs": 3} | more.pop("training", {})
    words += ["--training", json.dumps(training), "--balancing", json.dumps(more.pop("balancing", {}))]
    words += ["--space", json.dumps(space), "--budget", str(budget), "--seeds", *map(str, seeds), "--modalities"]
    words += [f"{name}={root}/features/{name}" for name in ([only] if only else _study.SHAPES)]
    words += ["--splits", f"{root}/splits", "--output", f"{root}/{output}", "--key", '{"task": "t", "model": "m"}']
    for name, value in more.items():
        words += [f"--{name.replace('_', '-')}", *value]
    return [*words, "--record", f"{root}/{output}/record.json"]


def searched(root, **settings):
    arguments = cli.parse(search, line(root, **settings))
    search.main(arguments)
    return pd.read_csv(arguments.output / "trials.csv"), json.loads((arguments.output / "chosen.json").read_text())


# What is drawn.


def test_the_first_trial_changes_nothing_and_a_larger_budget_only_appends():
    space = RATE | {"options.width": [64, 128, 256], "training.batch_size": {"low": 8, "high": 64}}
    few, many = sample_trials(space, 3, 0), sample_trials(space, 9, 0)
    assert few[0] == {}
    assert many[:3] == few
    assert [len(few), len(many)] == [3, 9]
    assert sample_trials(space, 9, 1)[1:] != many[1:]


def test_models_that_share_a_range_share_its_draws_whatever_else_they_vary():
    alone, beside = sample_trials(RATE, 6, 0), sample_trials(RATE | {"options.width": {"low": 1, "high": 10**9}}, 6, 0)
    rate = "training.learning_rate"
    assert [one.get(rate) for one in alone] == [one.get(rate) for one in beside]


def test_draws_fill_their_range_evenly_and_whole_numbers_stay_whole():
    space = RATE | {"options.a": {"low": 0.0, "high": 0.5}, "options.b": {"low": 1, "high": 4}, "options.c": ["x", "y"]}
    drawn = pd.DataFrame(sample_trials(space, 401, 3)[1:])
    logs = np.log10(drawn["training.learning_rate"])
    assert logs.between(-4, -2).all()
    assert abs(logs.mean() + 3) < 0.1
    assert abs(drawn["options.a"].mean() - 0.25) < 0.03
    counts = drawn["options.b"].value_counts()
    assert set(counts.index) == {1, 2, 3, 4}
    assert counts.min() > 70
    assert all(isinstance(one["options.b"], int) for one in sample_trials(space, 9, 3)[1:])
    assert abs((drawn["options.c"] == "x").mean() - 0.5) < 0.1
    sizes = [one["options.d"] for one in sample_trials({"options.d": {"low": 4, "high": 512, "log": True}}, 200, 0)[1:]]
    assert (min(sizes), max(sizes) > 256, all(4 <= size <= 512 for size in sizes)) == (4, True, True)


def test_a_space_of_choices_that_is_used_up_gives_fewer_trials_and_none_twice():
    found = sample_trials({"options.a": [1, 2], "options.b": [True, False]}, 50, 0)
    assert len(found) == 5
    assert all(found.count(one) == 1 for one in found)
    assert sample_trials({}, 50, 0) == [{}]


def test_a_drawn_value_takes_its_place_and_the_settings_given_stay_as_they_were():
    settings = {"options": {"fusion": "add", "fusion_options": None}, "training": {}, "balancing": {"ogm_ge": {}}}
    drawn = {"options.fusion_options.width": 8, "training.epochs": 2, "balancing.alpha": 0.5}
    changed = apply_overrides(settings, drawn)
    assert changed == {
        "options": {"fusion": "add", "fusion_options": {"width": 8}},
        "training": {"epochs": 2},
        "balancing": {"ogm_ge": {"alpha": 0.5}},
    }
    assert settings["balancing"] == {"ogm_ge": {}}
    assert {path: value_of(changed, path) for path in drawn} == drawn


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"optoins.width": [1]}, "got 'optoins.width'"),
        ({"options": [1]}, "got 'options'"),
        ({"training.epochs": []}, "expected a list of choices or"),
        ({"training.epochs": {"low": 1}}, "expected a list of choices or"),
        ({"training.epochs": {"low": 3, "high": 3}}, "low, 3, must be less than high, 3"),
        ({"training.learning_rate": {"low": 0.0, "high": 1.0, "log": True}}, "low must be above 0 where log is true"),
        ({"training.learning_rat": [0.1]}, "did you mean 'learning_rate'"),
        ({"options.hiden": [[8]]}, "did you mean 'hidden'"),
        ({"options.fusion": ["no_such"]}, "cannot have options.fusion=no_such"),
        ({"options.fusion_options.widht": [8]}, "cannot have options.fusion_options.widht=8"),
        ({"balancing.alpha": [0.1]}, "the model has no balancing"),
    ],
)
def test_a_path_or_a_range_without_meaning_is_one_line_and_nothing_is_trained(study, space, said, monkeypatch):
    monkeypatch.setattr(loop, "fit", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        searched(study, model="late_fusion", space=space, output="wrong")


# What is tried and chosen.


@pytest.mark.slow
def test_the_trial_of_lowest_cross_entropy_is_chosen_and_its_settings_are_whole(study):
    space = {"training.learning_rate": [0.01, 1e-7]}
    table, chosen = searched(
        study, model="video_only", space=space, training={"learning_rate": 1e-6}, seeds=(100, 101), output="best"
    )
    assert table["trial"].tolist() == [0, 1, 2]
    assert table["training.learning_rate"][0] == 1e-6
    assert table.loc[table["chosen"], "training.learning_rate"].item() == 0.01
    assert table["validation_calibrated_loss"].idxmin() == table["chosen"].idxmax()
    assert chosen["options"] == _study.SMALL
    assert chosen["training"] == _study.TRAINING | {"epochs": 3, "learning_rate": 0.01}
    assert chosen["balancing"] == {}


@pytest.mark.slow
def test_the_score_is_that_of_the_model_that_training_with_the_chosen_settings_keeps(study):
    table, chosen = searched(study, model="video_only", output="again")
    words = _study.train_line(study, "video_only", [100], chosen["options"], "kept", **chosen["training"])
    cli.call(train, words)
    trained = load_model(study / "kept" / "video_only" / "100" / "model.pt")
    clips = setup.read(cli.parse(train, words)).validation
    with torch.no_grad():
        found = functional.cross_entropy(trained.model(clips.features) / trained.temperature, clips.labels).item()
    assert found == pytest.approx(table["validation_calibrated_loss"].min(), rel=1e-5)


@pytest.mark.slow
def test_the_test_split_is_never_read(tmp_path):
    root = _study.make(tmp_path)
    opened = []
    real = dataset.read_split
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "read_split", lambda path: opened.append(path.name) or real(path))
        before, chosen = searched(root, budget=2)
    assert sorted(opened) == ["train.csv", "validation.csv"]
    (root / "splits" / "test.csv").write_text("clip_id,shard,group,label\nclip-00,0,g,no such class\n")
    poisoned, other = searched(root, budget=2, output="poisoned")
    (root / "splits" / "test.csv").unlink()
    absent, third = searched(root, budget=2, output="absent")
    columns = ["validation_calibrated_loss", "validation_accuracy"]
    assert before[columns].equals(poisoned[columns])
    assert before[columns].equals(absent[columns])
    assert chosen == other == third


@pytest.mark.slow
def test_trials_that_were_done_are_kept_after_an_interruption_and_with_a_larger_budget(study, monkeypatch):
    real, tried = trial.run_trial, []

    def counted(one, seeds):
        tried.append(one.training.learning_rate)
        if len(tried) == 3:
            raise KeyboardInterrupt
        return real(one, seeds)

    monkeypatch.setattr(search, "run_trial", counted)
    with pytest.raises(KeyboardInterrupt):
        searched(study, output="cut")
    assert len(tried) == 3
    searched(study, output="cut")
    assert len(tried) == 4  # the third one only
    table, _ = searched(study, output="cut", budget=4)
    assert len(tried) == 5
    whole, _ = searched(study, output="whole", budget=4)
    assert len(tried) == 9
    assert table.drop(columns="seconds").equals(whole.drop(columns="seconds"))
    searched(study, output="cut", budget=4, training={"epochs": 2})
    assert len(tried) == 13  # other settings: nothing of before is of use


@pytest.mark.slow
def test_a_trial_that_diverges_loses_and_the_others_go_on(study):
    table, chosen = searched(study, space={"training.learning_rate": [1e30]}, budget=2, output="wild")
    assert table["status"].tolist() == ["ok", "diverged"]
    assert chosen["training"]["learning_rate"] == _study.TRAINING["learning_rate"]
    with pytest.raises(UserError, match="every trial of late_fusion diverged"):
        searched(study, training={"learning_rate": 1e30}, budget=1, output="wilder")


@pytest.mark.slow
def test_a_student_is_taught_by_the_studys_teachers_and_compared_by_labels_not_by_its_own_loss(study):
    """Teachers that disagree make a large loss, whatever the student has learnt; a lucky guess of three is 1.1 nats."""
    for name in ("audio_only", "video_only"):
        _study.trained(study, name, seeds=[0], output="teachers")
    teachers = [f"{name}={study}/teachers/{name}" for name in ("audio_only", "video_only")]
    weights = [{"audio_only": 1e4, "video_only": 1e4}]
    options = {name: _study.SMALL[name] for name in ("spectrogram_size", "sequence_size")}
    table, _ = searched(
        study,
        model="distillation",
        options=options,
        space={"options.weights": weights},
        teachers=teachers,
        teacher_seeds=["0"],
        seeds=(100, 101),
        budget=2,
        output="student",
    )
    assert table["status"].tolist() == ["ok", "ok"]
    assert table["validation_calibrated_loss"].between(0.01, 3).all()


@pytest.mark.slow
def test_a_balancing_methods_option_is_varied_and_handed_on(study):
    space = {"balancing.alpha": {"low": 0.1, "high": 1.0}}
    table, chosen = searched(
        study, model="late_fusion", balancing={"ogm_ge": {"alpha": 0.3}}, space=space, budget=2, output="balanced"
    )
    assert table["balancing.alpha"][0] == 0.3
    assert set(chosen["balancing"]) == {"ogm_ge"}
    assert chosen["balancing"]["ogm_ge"]["alpha"] == table.loc[table["chosen"], "balancing.alpha"].item()


@pytest.mark.slow
def test_the_record_has_a_run_a_trial(study):
    searched(study, budget=2, output="recorded")
    stage, runs = records.read(study / "recorded" / "record.json")
    assert stage == "search"
    assert [run.key for run in runs] == [{"task": "t", "model": "m", "trial": index} for index in (0, 1)]
    assert sum(run.params["chosen"] for run in runs) == 1
    assert all(math.isfinite(run.metrics["validation_calibrated_loss"]) for run in runs)
    assert all("training.learning_rate" in run.params for run in runs)
