"""What is recorded while learning is true of the model, costs it nothing, and is the same after a kill."""

import numpy as np
import pandas as pd
import pytest
import torch
from _members import PAIR, made, planted
from _numbers import CLOSE, cast

from modalens.balancing import apply_balancing, unwrap
from modalens.measures.dynamics import Dynamics as Measured
from modalens.plugins import registry
from modalens.training import loop
from modalens.training.batches import SeedBatches
from modalens.training.checkpoint import Checkpoint
from modalens.training.dynamics import Dynamics
from modalens.training.ensemble import Ensemble
from modalens.utils.errors import UserError

SEEDS = [3, 0]
TRAIN, VALIDATION = planted(44, 0), planted(14, 1)
QUICK = {"batch_size": 8, "learning_rate": 3e-3, "patience": 6, "epochs": 3}
OWN = {f"{kind}.{name}" for kind in ("validation_accuracy", "gradient_norm") for name in PAIR} | {
    "validation_chance",
    "validation_clips",
}


def learners(name="late_fusion", seeds=SEEDS, balancing=None, dtype=torch.float32, **options):
    return [apply_balancing(cast(made(name, seed=seed, **options), dtype), balancing or {}) for seed in seeds]


def fitted(models, seeds=SEEDS, checkpoint=None, **training):
    return loop.fit(models, seeds, TRAIN, VALIDATION, loop.TrainingOptions(**QUICK | training), checkpoint)


def without(history, names):
    return [{name: value for name, value in row.items() if name not in names} for row in history]


@pytest.mark.parametrize("method", [None, *registry.names("balancing")])
def test_what_is_learnt_and_written_down_is_the_same_with_it_and_without(method):
    balancing = {method: {}} if method else None
    watched, plain = learners(balancing=balancing, dropout=0.3), learners(balancing=balancing, dropout=0.3)
    with_it, without_it = fitted(watched, dynamics=True), fitted(plain)
    for one, other in zip(with_it, without_it, strict=True):
        assert set(one[0]) == set(other[0]) | OWN
        assert without(one, OWN | {"seconds"}) == without(other, {"seconds"})
    for one, other in zip(watched, plain, strict=True):
        for name, values in other.state_dict().items():
            assert torch.equal(one.state_dict()[name], values), name


@pytest.mark.parametrize("name", sorted({"late_fusion", "distillation", "balance_mla", "decision_fusion"}))
def test_the_accuracy_is_that_of_the_model_given_one_modality_alone(name):
    models = learners(name)
    batches = SeedBatches.from_models(models, VALIDATION, 8)
    watch, ensemble = Dynamics(Ensemble(models)), Ensemble(models)
    watch.add({"other": torch.ones(len(SEEDS), 1)})
    rows = watch.rows(ensemble, batches, size=5)
    for model, row in zip(models, rows, strict=True):
        for kept in PAIR:
            features = {
                other: values if other == kept else model.training_mean(other).half().expand_as(values)
                for other, values in VALIDATION.features.items()
            }
            with torch.no_grad():
                right = model.eval()(features).argmax(1) == VALIDATION.labels
            assert row[f"validation_accuracy.{kept}"] == pytest.approx(right.double().mean().item())
        assert row["validation_chance"] == VALIDATION.labels.bincount().max().item() / len(VALIDATION)


def test_the_gradient_norm_is_that_of_the_loss_over_a_modalitys_own_network():
    models = learners(dtype=torch.float64)
    history = fitted(models, dynamics=True, epochs=1, batch_size=len(TRAIN))
    for seed, model, rows in zip(SEEDS, learners(dtype=torch.float64), history, strict=True):
        model.loss(TRAIN.features, TRAIN.labels)["loss"].backward()
        for name in PAIR:
            square = sum(values.grad.square().sum() for values in model.networks[name].parameters())
            assert rows[0][f"gradient_norm.{name}"] == pytest.approx(square.sqrt().item(), rel=CLOSE["rtol"]), seed


def test_a_balancing_method_is_seen_at_work():
    """OGM-GE lessens the gradient of the modality that is ahead; the norm is of what is descended along."""
    norms = [fitted(learners(balancing=method), dynamics=True, epochs=1)[0][0] for method in ({}, {"ogm_ge": {}})]
    ratios = [row["gradient_norm.audio"] / row["gradient_norm.video"] for row in norms]
    assert ratios[0] != pytest.approx(ratios[1], rel=0.01)


def test_seeds_together_have_the_rows_of_each_alone():
    together = fitted(learners(dtype=torch.float64), dynamics=True)
    for place, seed in enumerate(SEEDS):
        alone = fitted(learners(seeds=[seed], dtype=torch.float64), [seed], dynamics=True)[0]
        for one, other in zip(together[place], alone, strict=True):
            assert {name: one[name] for name in OWN} == pytest.approx({name: other[name] for name in OWN}, rel=1e-5)


def test_a_training_that_was_cut_off_goes_on_with_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("modalens.training.checkpoint.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole = fitted(learners(dropout=0.3), dynamics=True)
    checkpoint, real, calls = Checkpoint(tmp_path / "checkpoint.pt", "key"), loop._validate, []

    def third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_validate", third)
        with pytest.raises(KeyboardInterrupt):
            fitted(learners(dropout=0.3), checkpoint=checkpoint, dynamics=True)
    found = fitted(learners(dropout=0.3), checkpoint=checkpoint, dynamics=True)
    assert [without(one, {"seconds"}) for one in found] == [without(one, {"seconds"}) for one in whole]


def test_a_model_of_one_modality_has_its_own_accuracy_and_one_that_solves_has_none():
    alone = fitted([made("audio_only", seed=0)], [0], dynamics=True)[0]
    assert [row["validation_accuracy.audio"] for row in alone] == [row["validation_accuracy"] for row in alone]
    assert not {name for name in fitted([made("logistic")], [0], dynamics=True)[0][0] if "." in name}


@pytest.mark.slow
def test_every_model_of_the_registry_can_be_watched():
    # zero_shot learns nothing.
    for name in sorted(set(registry.names("models")) - {"zero_shot"}):
        model = made(name)
        row = fitted([model], [0], dynamics=True, epochs=1)[0][0]
        assert unwrap(model).solves or {f"gradient_norm.{one}" for one in model.modalities} <= set(row), name


def recorded(best, rise, epochs=20, seeds=3, model="joint", chance=0.25):
    """Accuracies that rise in a straight line to `best` by epoch `rise` + seed, by modality; "" is the whole model."""
    rows = []
    for seed in range(seeds):
        for epoch in range(1, epochs + 1):
            row = {"model": model, "seed": seed, "epoch": epoch, "steps": 10 * epoch, "validation_chance": chance}
            row["validation_clips"] = 50
            for name, top in best.items():
                column = f"validation_accuracy.{name}" if name else "validation_accuracy"
                row[column] = top * min(1, epoch / (rise[name] + seed))
                if name:
                    row[f"gradient_norm.{name}"] = 1 / epoch
            rows.append(row)
    return pd.DataFrame(rows)


def test_convergence_is_the_first_epoch_at_95_percent_of_the_best():
    """Of 10, 11 and 12 epochs .95 are 9.5, 10.45 and 11.4: epochs 10, 11 and 12; of 4, 5 and 6 the same."""
    best, rise = {"": 0.9, "audio": 0.5, "video": 0.8}, {"": 10, "audio": 10, "video": 4}
    table = Measured()(recorded(best, rise)).set_index(["modality", "quantity"])
    assert table.loc[("audio", "convergence_epoch"), "value"] == 11
    assert table.loc[("video", "convergence_epoch"), "value"] == 5
    assert table.loc[("video", "convergence_step"), "value"] == 50
    assert table.loc[("", "best"), "value"] == pytest.approx(0.9)
    low, high = table.loc[("audio", "convergence_epoch"), ["low", "high"]]
    assert (low, high) == pytest.approx((11 - 4.3027 / 3**0.5, 11 + 4.3027 / 3**0.5), abs=1e-3)
    difference = table.loc[("audio", "convergence_difference")]
    assert (difference["other"], difference["value"], difference["low"]) == ("video", 6, 6)
    assert Measured(share=0.5)(recorded(best, rise)).set_index(["modality", "quantity"]).loc[
        ("video", "convergence_epoch"), "value"
    ] == pytest.approx((2 + 3 + 3) / 3)


def test_no_interval_reaches_beyond_what_can_be():
    """Of seeds that differ much. No epoch lies before the first, no rate is above 1."""
    history = recorded({"": 0.97, "audio": 0.9}, {"": 1, "audio": 1}, epochs=4)
    last = history["seed"] == 2
    history.loc[last, "validation_accuracy.audio"] = 0.9 * (history.loc[last, "epoch"] >= 4)
    history.loc[last, "validation_accuracy"] = 1.0
    history.loc[last, "gradient_norm.audio"] *= 30
    table = Measured()(history).dropna(subset="low")
    assert table.loc[table["quantity"] == "convergence_epoch", "low"].min() == 1
    assert table.loc[table["quantity"].isin(["convergence_step", "gradient_norm"]), "low"].min() == 0
    rates = table[table["quantity"].isin(["accuracy", "best", "chance"])]
    assert rates["low"].min() >= 0
    assert rates["high"].max() == 1


def test_a_modality_that_stays_at_chance_converges_never():
    table = Measured()(recorded({"": 0.9, "audio": 0.25, "video": 0.8}, {"": 5, "audio": 1, "video": 5}))
    rows = table.set_index(["modality", "quantity"])
    assert rows.loc[[("audio", "convergence_epoch"), ("audio", "convergence_difference")], "value"].isna().all()
    assert rows.loc[("video", "convergence_epoch"), "value"] == 6
    assert "convergence_epoch/audio" not in Measured().headline(table)
    assert Measured().headline(table)["convergence_epoch/video"] == 6


@pytest.mark.slow
def test_the_best_of_many_epochs_by_luck_is_no_convergence():
    """Of 100 sets of seeds that guess, 4 classes, 50 clips and 40 epochs: the interval over seeds lies above chance in
    nearly all, as each seed keeps its luckiest epoch."""
    rng, told, above = np.random.default_rng(0), 0, 0
    for _ in range(100):
        history = recorded({"": 0.9, "audio": 0.25}, {"": 5, "audio": 1}, epochs=40, seeds=5)
        history["validation_accuracy.audio"] = rng.binomial(50, 0.25, len(history)) / 50
        rows = Measured()(history).set_index(["modality", "quantity"])
        told += bool(np.isfinite(rows.loc[("audio", "convergence_epoch"), "value"]))
        above += rows.loc[("audio", "best"), "low"] > 0.25
    assert told <= 5
    assert above > 90


def test_curves_are_means_over_the_seeds_that_still_learned():
    history = recorded({"": 0.9, "audio": 0.5}, {"": 5, "audio": 5}, epochs=4)
    history = history[(history["seed"] < 2) | (history["epoch"] < 3)]
    table = Measured()(history)
    curve = table[(table["quantity"] == "accuracy") & (table["modality"] == "audio")].set_index("epoch")
    assert curve["seeds"].tolist() == [3, 3, 2, 2]
    assert curve.loc[4, "value"] == pytest.approx(0.5 * (4 / 5 + 4 / 6) / 2)
    assert table[table["quantity"] == "gradient_norm"].set_index("epoch").loc[2, "value"] == 0.5


def test_a_study_that_recorded_nothing_has_the_whole_model_and_one_seed_no_interval():
    history = recorded({"": 0.9}, {"": 5}, seeds=1).drop(columns="validation_chance")
    table = Measured()(history)
    assert set(table["modality"]) == {""}
    assert table["low"].isna().all()
    assert table.set_index("quantity").loc["convergence_epoch", "value"] == 5
    with pytest.raises(UserError, match="dynamics: share: expected a number above 0"):
        Measured(share=0)


def test_inside_a_joint_model_a_modality_that_tells_is_learned_and_one_that_does_not_is_not():
    """The tone is taken out of the sound, and the spot in the picture is made clearer."""
    train, validation = planted(120, 0), planted(60, 1)
    for clips in (train, validation):
        clips.features["audio"] = torch.randn(clips.features["audio"].shape, generator=torch.Generator().manual_seed(0))
        spots = 3 * torch.nn.functional.one_hot(clips.labels, 24).half()
        clips.features["video"] = clips.features["video"] + spots[:, None]
    seeds = [0, 1, 2]
    models = learners(seeds=seeds, hidden=[16], spectrogram_size=16, sequence_size=16)
    training = loop.TrainingOptions(**QUICK | {"epochs": 8, "dynamics": True})
    histories = loop.fit(models, seeds, train, validation, training)
    rows = pd.concat(
        pd.DataFrame(one).assign(model="joint", seed=seed) for seed, one in zip(seeds, histories, strict=True)
    )
    table = Measured()(rows).set_index(["modality", "quantity"])
    assert table.loc[("video", "best"), "low"] > 0.8
    assert table.loc[("video", "convergence_epoch"), "value"] > 0
    assert table.loc[("audio", "best"), "high"] < 0.6
