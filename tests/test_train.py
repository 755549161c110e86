import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import _study
import pandas as pd
import pytest
import torch

from modalens.models import load_model
from modalens.models.late_fusion import LateFusion
from modalens.stages import train
from modalens.tracking import records
from modalens.training import checkpoint, fit_job, loop, setup
from modalens.training.history import LEAST_PROGRESS
from modalens.utils import cli, hdf5
from modalens.utils.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture
def study(tmp_path):
    return _study.make(tmp_path)


def state(folder, seed=0):
    return load_model(folder / str(seed) / "model.pt").model.state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def history(folder, seed=0):
    return pd.read_csv(folder / str(seed) / "history.csv")


def test_it_learns_what_the_picture_tells(study):
    # Of ten clips; chance is a third. Two of them may go either way.
    assert history(_study.trained(study)).validation_accuracy.max() > 0.6


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(study):
    first = _study.trained(study, seeds=[3])
    again = _study.trained(study, seeds=[0, 3], output="again")
    assert same(state(first, 3), state(again, 3))
    assert not same(state(again, 0), state(again, 3))


def test_test_labels_are_never_read(study):
    folder = _study.trained(study)
    (study / "splits" / "test.csv").write_text("clip_id,shard,group,label\nclip-00,0,g,no such class\n")
    assert same(state(folder), state(_study.trained(study, output="poisoned")))
    (study / "splits" / "test.csv").unlink()
    assert same(state(folder), state(_study.trained(study, output="absent")))


def test_rows_are_joined_by_clip_id_whatever_their_order_in_the_files(study, tmp_path):
    other = _study.make(tmp_path / "other", shuffle=1)
    assert same(state(_study.trained(study)), state(_study.trained(other)))


def test_the_model_kept_is_the_one_of_lowest_calibrated_validation_loss(study):
    folder = _study.trained(study, learning_rate=0.1, epochs=20, patience=200)
    rows = history(folder)
    job = setup.read(cli.parse(train, _study.train_line(study)))
    trained = load_model(folder / "0" / "model.pt")
    with torch.no_grad():
        found = (trained.model(job.validation.features) / trained.temperature).log_softmax(1)
    best = rows.loc[rows.validation_calibrated_loss.idxmin()]
    assert best.epoch < len(rows)
    assert trained.temperature == best.validation_temperature
    loss = -found[torch.arange(len(found)), job.validation.labels].mean().item()
    assert loss == pytest.approx(best.validation_calibrated_loss, rel=1e-4)


def test_training_stops_after_patience_steps_without_progress(study):
    folder = _study.trained(study, model="audio_only", epochs=60, patience=28)
    rows = history(folder)
    assert len(rows) < 60
    assert rows.steps.tolist() == [5 * epoch for epoch in rows.epoch], "36 clips in batches of 8"
    waited = rows.validation_calibrated_loss.iloc[-6:]  # 30 steps: the first whole epoch past 28
    assert waited.min() > rows.validation_calibrated_loss.iloc[:-6].min() - LEAST_PROGRESS
    assert not rows.still_improving.any()


def test_a_training_that_only_the_budget_stopped_is_marked_as_still_improving(study, caplog):
    for budget in ({"epochs": 3}, {"steps": 15}):
        with caplog.at_level("INFO"):
            folder = _study.trained(study, model="video_only", learning_rate=0.001, **budget)
        assert history(folder).still_improving.tolist() == [0, 0, 1]
        assert records.read(folder / "record.json")[1][0].metrics["still_improving"] == 1
    assert caplog.text.count("of 3 (stopped while still improving)") == 2


def test_logistic_regression_is_solved_in_one_row_and_learns_what_the_picture_tells(study):
    folder = _study.trained(study, model="logistic", options={}, seeds=[0, 1])
    rows = history(folder)
    assert rows[["epoch", "steps", "still_improving"]].to_numpy().tolist() == [[1, 0, 0]]
    assert rows.validation_accuracy[0] > 0.8
    assert same(state(folder, 0), state(folder, 1)), "nothing is drawn"
    predictions = _study.evaluated(study, folder)
    assert set(predictions["coalition"]) == {"", "audio", "video", "audio,video"}


def test_the_record_has_a_run_per_seed_with_every_setting_written_out(study):
    folder = _study.trained(study, seeds=[0, 1])
    stage, runs = records.read(folder / "record.json")
    assert stage == "train"
    assert [run.key for run in runs] == [{"task": "t", "model": "late_fusion", "seed": seed} for seed in (0, 1)]
    assert runs[0].params["variant.dropout"] == 0.0
    assert runs[0].params["training.patience"] == loop.TrainingOptions().patience
    assert runs[0].metrics["best_epoch"] <= runs[0].metrics["epochs"] == len(runs[0].history)
    assert not list(folder.rglob("checkpoint.pt"))


def test_embedding_statistics_are_those_of_the_training_clips(study):
    found = load_model(_study.trained(study) / "0" / "model.pt")
    job = setup.read(cli.parse(train, _study.train_line(study)))
    with torch.no_grad():
        embeddings = found.model.embed(job.train.features)
    for name, values in embeddings.items():
        torch.testing.assert_close(found.embedding_means[name], values.mean(0))
        torch.testing.assert_close(found.embedding_stds[name], values.std(0, correction=0))


@pytest.mark.parametrize("damage", ["cut", "other settings", "other seeds"])
def test_a_checkpoint_that_does_not_belong_is_not_resumed(study, damage, monkeypatch, caplog):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    others = {"seeds": [0, 1], "seeds_per_batch": 2} if damage == "other seeds" else {}
    interrupt(study, monkeypatch, epochs=10 if damage == "other settings" else 12, **others)
    path = study / "train" / "late_fusion" / "0" / "checkpoint.pt"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    with caplog.at_level("INFO"):
        folder = _study.trained(study)
    assert "training from the start" in caplog.text
    assert same(state(folder), state(_study.trained(study, output="whole")))


def interrupt(study, monkeypatch, **training):
    """Stop a training, as Ctrl-C does, in the middle of its sixth epoch."""
    with monkeypatch.context() as patch:
        real, calls = loop._validate, []

        def stop(*arguments):
            calls.append(1)
            if len(calls) == 6:
                raise KeyboardInterrupt
            return real(*arguments)

        patch.setattr(loop, "_validate", stop)
        with pytest.raises(KeyboardInterrupt):
            _study.trained(study, **training)


def test_resuming_gives_bit_for_bit_what_an_uninterrupted_training_gives(study, monkeypatch, caplog):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    options = _study.SMALL | {"dropout": 0.3}
    interrupt(study, monkeypatch, options=options)
    with caplog.at_level("INFO"):
        resumed = _study.trained(study, options=options)
    assert "resuming from epoch 5" in caplog.text
    whole = _study.trained(study, options=options, output="whole")
    assert same(state(resumed), state(whole))
    pd.testing.assert_frame_equal(history(resumed).drop(columns="seconds"), history(whole).drop(columns="seconds"))


# The stage as it is, but for a SIGKILL of itself in the sixth epoch of its second seed.
KILLED = """
import os, signal, sys
from modalens.stages import train
from modalens.training import checkpoint, loop
from modalens.utils import cli
checkpoint.SECONDS_BETWEEN_CHECKPOINTS, real, calls = 0.0, loop._validate, []
def validate(*arguments):
    calls.append(1)
    if len(calls) == EPOCHS + 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
loop._validate = validate
cli.run(train, sys.argv[1:])
""".replace("EPOCHS", str(_study.TRAINING["epochs"]))


def test_a_stage_killed_in_its_second_seed_goes_on_there(study, caplog):
    options = {"patience": 999, "options": _study.SMALL | {"dropout": 0.3}, "seeds": [0, 1]}
    environment = os.environ | {"PYTHONPATH": str(Path(fit_job.__file__).parents[2])}
    line = [sys.executable, "-c", KILLED, *_study.train_line(study, **options)]
    assert subprocess.run(line, env=environment, capture_output=True).returncode == -signal.SIGKILL
    folder = study / "train" / "late_fusion"
    assert "optimizer" not in torch.load(folder / "0" / "checkpoint.pt", weights_only=True)
    # Snakemake deletes what a failed job declared as output.
    (folder / "0" / "model.pt").unlink()
    (folder / "0" / "history.csv").unlink()

    with caplog.at_level("INFO"):
        resumed = _study.trained(study, **options)
    epochs = [record.args[0] for record in caplog.records if record.msg.startswith("resuming from epoch")]
    assert epochs == [_study.TRAINING["epochs"], 5], "the first seed was trained again, or the second from its start"
    whole = _study.trained(study, **options, output="whole")
    for seed in (0, 1):
        assert same(state(resumed, seed), state(whole, seed))


def test_seeds_trained_together_have_the_same_files_as_one_by_one(study):
    """Losses agree to 1e-4 of their value: rounding makes 1e-6 of it in so few steps, see test_loop.py."""
    alone, together = (
        _study.trained(study, seeds=[0, 1, 2], patience=15, output=f"at once {count}", seeds_per_batch=count)
        for count in (1, 3)
    )
    assert {path.relative_to(alone) for path in alone.rglob("*")} == {
        path.relative_to(together) for path in together.rglob("*")
    }
    for seed in (0, 1, 2):
        one, other = (history(folder, seed).drop(columns="seconds") for folder in (alone, together))
        pd.testing.assert_frame_equal(one, other, rtol=1e-4)
        assert not same(state(together, seed), state(together, (seed + 1) % 3))
    keys = [[run.key for run in records.read(folder / "record.json")[1]] for folder in (alone, together)]
    assert keys[0] == keys[1]


def test_a_model_that_cannot_be_stacked_is_trained_one_seed_at_a_time(study, monkeypatch, caplog):
    real = LateFusion.loss

    def branching(model, features, labels):
        terms = real(model, features, labels)
        return terms | {"loss": terms["loss"] * (2 if terms["loss"] > 1 else 1)}

    monkeypatch.setattr(LateFusion, "loss", branching)
    with caplog.at_level("INFO"):
        together = _study.trained(study, seeds=[0, 1], seeds_per_batch=2)
    assert "late_fusion: one seed after the other" in caplog.text
    alone = _study.trained(study, seeds=[0, 1], output="alone")
    for seed in (0, 1):
        assert same(state(together, seed), state(alone, seed))


# Measured: importing it takes 2 s, which is a third of a short training.
WITHOUT_COMPILER = """
import sys
from modalens.stages import train
from modalens.utils import cli
cli.run(train, sys.argv[1:])
sys.exit("torch._dynamo" in sys.modules)
"""


def test_a_job_does_not_import_torchs_compiler(study):
    environment = os.environ | {"PYTHONPATH": str(Path(fit_job.__file__).parents[2])}
    line = [
        sys.executable,
        "-c",
        WITHOUT_COMPILER,
        *_study.train_line(study, seeds=[0, 1], epochs=1, seeds_per_batch=2),
    ]
    assert subprocess.run(line, env=environment).returncode == 0


def balanced(method, **options):
    return ["--balancing", json.dumps({method: options})]


def test_a_balanced_model_is_saved_without_what_only_its_learning_needs(study):
    folder = _study.trained(study, seeds=[0, 1], seeds_per_batch=2, more=balanced("unimodal_losses", weight=0.5))
    plain = _study.trained(study, output="plain")
    assert state(folder).keys() == state(plain).keys()
    assert not same(state(folder), state(plain))
    assert load_model(folder / "1" / "model.pt").balancing == {"unimodal_losses": {"weight": 0.5}}
    assert {"train_loss_audio", "validation_loss_video"} <= set(history(folder).columns)
    run, other = (records.read(each / "record.json")[1][0] for each in (folder, plain))
    assert run.params["variant.balancing"] == "unimodal_losses"
    assert run.params["variant.balancing.weight"] == 0.5
    assert other.params["variant.balancing"] == "none"
    assert run.metrics["parameters"] == other.metrics["parameters"]


def test_a_classifier_of_cosines_is_found_again_in_its_file(study):
    folder = _study.trained(study, more=balanced("mm_cosine", scale=4.0))
    found = load_model(folder / "0" / "model.pt")
    job = setup.read(cli.parse(train, _study.train_line(study)))
    with torch.no_grad():
        loss = found.model.loss(job.validation.features, job.validation.labels)["loss"].item()
    rows = history(folder)
    best = rows.loc[rows.validation_calibrated_loss.idxmin()]
    assert loss == pytest.approx(best.validation_loss, rel=1e-4)


def test_another_option_of_the_balancing_does_not_resume_a_checkpoint(study, monkeypatch, caplog):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    interrupt(study, monkeypatch, more=balanced("agm", alpha=1.0))
    with caplog.at_level("INFO"):
        folder = _study.trained(study, more=balanced("agm", alpha=2.0))
    assert "training from the start" in caplog.text
    assert same(state(folder), state(_study.trained(study, more=balanced("agm", alpha=2.0), output="whole")))


def test_the_code_of_the_balancing_is_part_of_the_checkpoints_key(study):
    line = _study.train_line(study, more=balanced("agm"))
    job = setup.read(cli.parse(train, line))
    (learners,) = setup.seed_groups(job, [0])
    modules = fit_job.sources_of(next(iter(learners.values())))
    assert {f"modalens.balancing.{name}" for name in ("agm", "_modulation", "_base")} <= set(modules)
    assert {"modalens.models.late_fusion", "modalens.training.loop", "modalens.training.meter"} <= set(modules)


def test_what_a_search_chose_takes_the_place_of_the_settings(study):
    chosen = {"options": _study.SMALL | {"spectrogram_size": 5}, "training": _study.TRAINING | {"epochs": 2}}
    path = study / "chosen.json"
    path.write_text(json.dumps(chosen | {"balancing": {"agm": {"alpha": 3.0}}}))
    folder = _study.trained(study, more=["--chosen", str(path)])
    found = load_model(folder / "0" / "model.pt")
    assert found.model.options["spectrogram_size"] == 5
    assert found.balancing["agm"]["alpha"] == 3.0
    assert len(history(folder)) == 2


def test_an_unknown_precision_is_refused(study):
    with pytest.raises(UserError, match=r"training\.precision: expected one of float32, bfloat16, auto, got 'half'"):
        _study.trained(study, precision="half")


def test_a_student_learns_from_the_teachers_of_its_own_seed(study):
    teachers = [_study.trained(study, model=name, seeds=[0, 1]) for name in ("audio_only", "video_only")]
    more = ["--teachers", *(f"{folder.name}={folder}" for folder in teachers)]
    options = {"spectrogram_size": 4, "sequence_size": 4}
    student = _study.trained(study, model="distillation", seeds=[0, 1], options=options, more=more)
    assert history(student).validation_accuracy.max() > 0.8
    (teachers[0] / "1" / "model.pt").unlink()
    with pytest.raises(UserError, match=r"audio_only/1/model\.pt .run the train stage first"):
        _study.trained(study, model="distillation", seeds=[1], options=options, more=more)


def test_teachers_of_a_model_that_takes_none_are_refused(study):
    teacher = _study.trained(study, model="audio_only")
    with pytest.raises(UserError, match="late_fusion takes no teachers"):
        _study.trained(study, more=["--teachers", f"audio_only={teacher}"])


def test_a_split_without_validation_clips_stops_at_once(study):
    (study / "splits" / "validation.csv").write_text("clip_id,shard,group,label\n")
    with pytest.raises(UserError, match=r"validation\.csv holds no clip"):
        _study.trained(study)


def test_a_loss_that_is_not_finite_stops_the_training(study):
    with pytest.raises(UserError, match="lower the learning rate"):
        _study.trained(study, learning_rate=1e30)


def test_shards_made_with_other_settings_do_not_mix(study):
    path = study / "features" / "audio" / "1.h5"
    ids, rows = hdf5.ids(path), hdf5.read(path)
    with hdf5.write(path, {"encoder": "other"}) as writer:
        for clip_id, row in zip(ids, rows, strict=True):
            writer.append(clip_id, row)
    with pytest.raises(UserError, match="different settings"):
        _study.trained(study)


def test_a_misspelt_training_option_is_refused():
    line = _study.train_line(Path("nowhere"))
    line[line.index("--training") + 1] = json.dumps({"epoch": 3})
    with pytest.raises(UserError, match=r"training: unknown option 'epoch'; did you mean 'epochs'"):
        setup.read(cli.parse(train, line))


def test_training_stops_when_the_task_is_solved(study):
    rows = history(_study.trained(study, seeds=[1], learning_rate=0.1, epochs=200, patience=2000), 1)
    assert len(rows) < 200
    assert rows.validation_calibrated_loss.iloc[-1] < LEAST_PROGRESS
