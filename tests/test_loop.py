"""Training several seeds as one: each becomes what it becomes alone.

Within rounding: other kernels add in another order. That changes the seventh digit of a step, and Adam makes more of it
where a gradient is next to nothing, as it divides by its size: in float32 losses were 1e-7 apart after eight epochs or
4e-4, by model and by instruction set. So whole trainings are compared in float64, and float32 in its first steps.
"""

import math

import pytest
import torch
from _members import made, planted
from _numbers import cast
from test_stack import still
from torch.nn.functional import cross_entropy

from modalens.models import Model
from modalens.plugins import registry
from modalens.training import loop
from modalens.training.checkpoint import Checkpoint
from modalens.training.history import History
from modalens.utils.errors import UserError

SEEDS = [3, 0, 7]
# Of parameters in float64. After twelve epochs they were 1e-14 apart, 6e-8 where a batch normalisation undoes what they
# add or scale by: their gradients are nothing but rounding. A step may change them by 3e-3.
CLOSE = {"rtol": 1e-9, "atol": 1e-6}
# Of losses, which the meter adds up in float32 whatever the model is in.
LOSS = 1e-6
QUICK = {"batch_size": 8, "learning_rate": 3e-3, "patience": 6, "epochs": 12}


TRAIN, VALIDATION = planted(44, 0), planted(14, 1)


def fitted(name, seeds, checkpoint=None, training=None, dtype=torch.float32, **options):
    models = [cast(made(name, seed=seed, **options), dtype) for seed in seeds]
    histories = loop.fit(models, seeds, TRAIN, VALIDATION, loop.TrainingOptions(**(training or QUICK)), checkpoint)
    return models, histories


def without_seconds(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def assert_same(one: tuple[Model, History], other: tuple[Model, History], **close: float) -> None:
    (model, history), (others_model, others_history) = one, other
    assert len(history) == len(others_history)
    for row, others_row in zip(without_seconds(history), without_seconds(others_history), strict=True):
        assert row == pytest.approx(others_row, rel=LOSS if close["rtol"] else 0, abs=0)
    for name, values in model.state_dict().items():
        torch.testing.assert_close(values, others_model.state_dict()[name], **close)


@pytest.mark.parametrize("name", registry.names("models"))
def test_seeds_trained_together_become_what_each_becomes_alone(name):
    options = {**still(name), "dtype": torch.float64}
    together = zip(*fitted(name, SEEDS, **options), strict=True)
    for seed, found in zip(SEEDS, together, strict=True):
        models, histories = fitted(name, [seed], **options)
        assert_same(found, (models[0], histories[0]), **CLOSE)


@pytest.mark.parametrize("name", registry.names("models"))
def test_in_float32_seeds_trained_together_begin_as_each_does_alone(name):
    """Two steps: losses were 3e-7 apart, and after six of a model with batch normalisation 2e-5."""
    options, training = still(name), {**QUICK, "epochs": 1, "batch_size": len(TRAIN) // 2}
    for seed, (row,) in zip(SEEDS, fitted(name, SEEDS, training=training, **options)[1], strict=True):
        _, [[alone]] = fitted(name, [seed], training=training, **options)
        assert without_seconds([row])[0] == pytest.approx(without_seconds([alone])[0], rel=1e-5, abs=0)


def test_each_seed_stops_in_its_own_epoch_and_keeps_its_own_best():
    models, histories = fitted("video_only", SEEDS, training={**QUICK, "epochs": 40}, dropout=0.3)
    assert len({len(history) for history in histories}) == len(SEEDS), "the seeds are to stop apart for this test"
    assert max(map(len, histories)) < 40
    for model, history in zip(models, histories, strict=True):
        best = min(history, key=lambda row: row["validation_calibrated_loss"])
        with torch.no_grad():
            logits = model.eval()(VALIDATION.features)
        loss = cross_entropy(logits / best["validation_temperature"], VALIDATION.labels).item()
        assert loss == pytest.approx(best["validation_calibrated_loss"], rel=1e-4)


def test_each_seed_goes_through_all_clips_in_the_order_of_its_own_seed(monkeypatch):
    seen, real = [], loop.gradients

    def noted(stack, features, labels):
        seen.append(features["video"][:, :, 0, 0])
        return real(stack, features, labels)

    monkeypatch.setattr(loop, "gradients", noted)
    fitted("video_only", SEEDS, training={**QUICK, "epochs": 2})
    for place, seed in enumerate(SEEDS):
        draw = torch.Generator().manual_seed(seed)
        rows = torch.cat([torch.randperm(len(TRAIN), generator=draw) for _ in range(2)])
        assert torch.equal(torch.cat([batch[place] for batch in seen]), TRAIN.features["video"][rows, 0, 0])


def test_a_seed_does_not_depend_on_which_others_share_its_job():
    first = zip(*fitted("late_fusion", [0, 1], dtype=torch.float64), strict=True)
    other = zip(*fitted("late_fusion", [5, 0, 4, 2], dtype=torch.float64), strict=True)
    assert_same(next(first), list(other)[1], **CLOSE)


def test_a_stopped_seed_costs_nothing_more(monkeypatch):
    sizes, real = [], loop.gradients

    def counted(stack, features, labels):
        assert len(labels) == len(features["video"]) == len(stack)
        sizes.append(len(stack))
        return real(stack, features, labels)

    monkeypatch.setattr(loop, "gradients", counted)
    _, histories = fitted("video_only", SEEDS)
    batches = math.ceil(len(TRAIN) / QUICK["batch_size"])
    assert sum(sizes) == batches * sum(map(len, histories))
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("name", ["late_fusion", "distillation"])
def test_seeds_trained_together_resume_bit_for_bit(name, tmp_path, monkeypatch):
    """Interrupted after each epoch in turn, so also where some have stopped; dropout goes on drawing where it was."""
    options = {"dropout": 0.3, "hidden": [8]}
    whole = fitted(name, SEEDS, **options)
    monkeypatch.setattr("modalens.training.checkpoint.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", "key")
    real, epochs = loop._validate, max(map(len, whole[1]))
    for epoch in range(1, epochs):
        with monkeypatch.context() as patch:
            calls = []

            def second(*arguments, calls=calls):
                calls.append(1)
                if len(calls) == 2:
                    raise KeyboardInterrupt
                return real(*arguments)

            patch.setattr(loop, "_validate", second)
            with pytest.raises(KeyboardInterrupt):
                fitted(name, SEEDS, checkpoint, **options)
        assert max(len(seed["history"]) for seed in torch.load(checkpoint.path, weights_only=True)["seeds"]) == epoch
    found = fitted(name, SEEDS, checkpoint, **options)
    assert len(set(map(len, found[1]))) > 1, "a seed is to stop before another for this test"
    for one, other in zip(zip(*found, strict=True), zip(*whole, strict=True), strict=True):
        assert_same(one, other, rtol=0, atol=0)


def test_a_finished_training_is_read_and_not_repeated(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", "key")
    first = fitted("video_only", SEEDS, checkpoint)
    assert "optimizer" not in torch.load(checkpoint.path, weights_only=True)
    monkeypatch.setattr(loop, "_learn", None)
    again = fitted("video_only", SEEDS, checkpoint)
    for one, other in zip(zip(*again, strict=True), zip(*first, strict=True), strict=True):
        assert_same(one, other, rtol=0, atol=0)


def test_what_takes_the_place_of_the_gradients_decides_what_is_learnt(monkeypatch):
    real = loop.gradients

    def picture_alone(stack, features, labels):
        found, terms = real(stack, features, labels)
        return {name: values for name, values in found.items() if not name.startswith("networks.audio.")}, terms

    monkeypatch.setattr(loop, "gradients", picture_alone)
    models, _ = fitted("late_fusion", SEEDS)
    for seed, model in zip(SEEDS, models, strict=True):
        for name, values in made("late_fusion", seed=seed).named_parameters():
            assert torch.equal(values, model.get_parameter(name)) == name.startswith("networks.audio."), name


def test_a_seed_whose_loss_is_not_finite_is_named():
    with pytest.raises(UserError, match=r"late_fusion seed 3: the loss is not finite in epoch 1; lower the learning"):
        fitted("video_only", SEEDS, training={**QUICK, "learning_rate": 1e30})


def test_bfloat16_learns_and_leaves_float32():
    models, histories = fitted("video_only", SEEDS, training={**QUICK, "precision": "bfloat16"})
    _, exact = fitted("video_only", SEEDS)
    for model, history, other in zip(models, histories, exact, strict=True):
        assert {values.dtype for values in model.parameters()} == {torch.float32}
        assert history != other
        assert history[0]["train_loss"] == pytest.approx(other[0]["train_loss"], rel=0.05)


def test_a_log_is_told_now_and_then(monkeypatch, caplog):
    with caplog.at_level("INFO"):
        fitted("video_only", SEEDS)
    assert caplog.text == ""
    monkeypatch.setattr(loop, "LOG_EVERY_S", 0.0)
    with caplog.at_level("INFO"):
        fitted("video_only", SEEDS)
    assert "late_fusion seed 3, 0, 7: epoch 1 of at most 12" in caplog.text
