"""The training loop: seeds of any model together, each with its own early stopping; exact resumption after a kill."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from modalens.balancing import Balancing, Learner, unwrap
from modalens.models import Features, Model
from modalens.stats.calibration import calibrated
from modalens.stats.targets import CLASSES
from modalens.training.augmentation import Augmenter
from modalens.training.batches import SeedBatches, batch_sizes, of_one_clip
from modalens.training.checkpoint import Checkpoint, random_state, set_random_state
from modalens.training.dataset import FeatureDataset
from modalens.training.dynamics import Dynamics
from modalens.training.ensemble import Ensemble, write_back
from modalens.training.history import CALIBRATED_LOSS, TEMPERATURE, History, best_epoch, stop_reason
from modalens.training.meter import Meter
from modalens.training.optimizer import AdamW
from modalens.utils.errors import UserError
from modalens.utils.progress import LOG_EVERY_S
from modalens.utils.tensors import Tensors, index_seeds

log = logging.getLogger(__name__)

# Added to a seed for what dropout draws, which is not to be the numbers that the initial values were made of.
DROPOUT = 2**31


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Training lasts `epochs` epochs or `steps` optimizer steps, whichever ends first, or until nothing is gained.

    patience: optimizer steps without a calibrated validation loss lower by history.LEAST_PROGRESS before stopping; at
    least history.LEAST_EPOCHS epochs. Steps, since a small data set has few of them in an epoch. precision: float32, or
    bfloat16 for the forward and backward pass, or auto, which is bfloat16 on CUDA alone; weights, validation and
    checkpoints stay float32. seeds_per_batch: most
    seeds that are trained as one; 0: all of them on a GPU, one on a CPU. dynamics: the history says how each modality
    is learnt, at the price of a look at the validation clips per epoch and modality.

    encoders: {modality: frozen, unfrozen or {last_layers: n}} whose decoded form the model reads, through the encoder.
    augment: {modality: options of augmentation.Augmentation}, of training clips.
    """

    epochs: int = 500
    steps: int = 20_000
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    patience: int = 300
    device: str = "auto"
    precision: str = "float32"
    seeds_per_batch: int = 0
    dynamics: bool = False
    encoders: dict[str, Any] = field(default_factory=dict)
    augment: dict[str, Any] = field(default_factory=dict)

    def stop_reason(self, history: History) -> str:
        return stop_reason(history, patience=self.patience, epochs=self.epochs, steps=self.steps)


@dataclass
class _Seed:
    """order: its own, so that neither dropout nor other seeds change which clips share a batch. best: of all epochs."""

    order: torch.Generator
    history: History = field(default_factory=list)
    best: Tensors = field(default_factory=dict)


@dataclass
class _State:
    """All that changes while training. learning: indices in `seeds` of those that have not stopped, in the ensemble's
    order; the batches' targets are theirs."""

    seeds: list[_Seed]
    learning: list[int]
    ensemble: Ensemble
    optimizer: AdamW
    batches: dict[str, SeedBatches]
    dynamics: Dynamics | None

    def keep(self, learning: list[int]) -> None:
        """Only these go on: a seed that has stopped costs nothing more."""
        if 0 < len(learning) < len(self.learning):
            places = torch.tensor([self.learning.index(place) for place in learning], device=self.ensemble.device)
            self.ensemble.keep(places)
            self.optimizer.keep(places)
            for batches in self.batches.values():
                batches.targets = index_seeds(batches.targets, places)
        self.learning = learning


def fit(
    models: Sequence[Learner],
    seeds: Sequence[int],
    train: FeatureDataset,
    validation: FeatureDataset,
    training: TrainingOptions,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> list[History]:
    """Train models in place, one per seed and all on one device; keep the epoch of lowest calibrated validation loss.

    Returns for each one row per epoch: epoch, steps (optimizer steps so far), train_loss, train_accuracy (while
    learning; models.SCORES of another target), validation_loss, validation_accuracy, validation_calibrated_loss and
    validation_temperature (see training.history), still_improving (1 in a last row that only the budget ended, else 0),
    seconds (the epoch's, shared by the seeds that learnt in it), train_ and validation_ of any other number among the
    terms of the loss, and
    with `dynamics` the columns of training.dynamics.
    Each model becomes what it would be alone, but for rounding, and for dropout: what it draws depends on the seeds
    that are trained together. A model that solves for its own parameters has one row, of 0 steps. on_epoch: is told
    each seed's rows, as they come.
    """
    solves = isinstance(models[0], Model) and models[0].solves
    state = _begin(models, seeds, {"train": train, "validation": validation}, training)
    if saved := checkpoint and checkpoint.read():
        _restore(state, saved)
    last_logged = time.monotonic()
    while state.learning:
        started = time.perf_counter()
        with of_one_clip():
            learnt = _solve(state, models, seeds, training) if solves else _learn(state, training)
        rows = [one | other for one, other in zip(learnt, _validate(state, training), strict=True)]
        if state.dynamics:
            watched = state.dynamics.rows(state.ensemble, state.batches["validation"], training.batch_size)
            rows = [one | other for one, other in zip(rows, watched, strict=True)]
        seconds = (time.perf_counter() - started) / len(rows)
        epoch = 1 + len(state.seeds[state.learning[0]].history)
        steps = 0 if solves else epoch * len(batch_sizes(len(train), training.batch_size))
        going_on = []
        for at, (place, row) in enumerate(zip(state.learning, rows, strict=True)):
            if not math.isfinite(row["train_loss"] + row["validation_loss"]):
                raise UserError(
                    f"{models[place].name} seed {seeds[place]}: the loss is not finite in epoch {epoch}; "
                    "lower the learning rate"
                )
            history = state.seeds[place].history
            history.append({"epoch": float(epoch), "steps": float(steps), **row, "seconds": seconds})
            reason = "solved" if solves else training.stop_reason(history)
            history[-1]["still_improving"] = float(reason == "budget")
            if on_epoch:
                on_epoch(seeds[place], history[-1])
            if best_epoch(history) == len(history):
                state.seeds[place].best = state.ensemble.values(at)
            if not reason:
                going_on.append(place)
        if isinstance(state.ensemble.learner, Balancing):
            state.ensemble.learner.after_epoch(state.ensemble.buffers, rows)
        state.keep(going_on)
        if checkpoint and checkpoint.due() and state.learning:
            checkpoint.write(_saved(state))
        # A line now and then: a log of a cluster job stays readable.
        if time.monotonic() - last_logged >= LOG_EVERY_S and state.learning:
            last_logged = time.monotonic()
            names = ", ".join(str(seeds[place]) for place in state.learning)
            log.info("%s seed %s: epoch %d of at most %d", models[0].name, names, epoch, training.epochs)
    for model, seed in zip(models, state.seeds, strict=True):
        write_back(model, seed.best)
    if checkpoint:
        checkpoint.write(_saved(state))
    return [seed.history for seed in state.seeds]


def gradients(ensemble: Ensemble, features: Features, labels: Tensor) -> tuple[Tensors, Tensors]:
    """A batch of each seed's -> {parameter: (S, ...)} to descend along, and the terms of the loss."""
    terms = ensemble.terms(features, labels)
    return ensemble.descent_gradients(terms), {name: values.detach() for name, values in terms.items()}


def _begin(
    models: Sequence[Learner], seeds: Sequence[int], clips: dict[str, FeatureDataset], training: TrainingOptions
) -> _State:
    ensemble = Ensemble(models, training.precision)
    batches = {name: SeedBatches.from_models(models, part, training.batch_size) for name, part in clips.items()}
    batches["train"].augmenter = Augmenter.of(training.augment, clips["train"].axes, unwrap(models[0]))
    orders = [_Seed(torch.Generator().manual_seed(seed)) for seed in seeds]
    torch.manual_seed(seeds[0] + DROPOUT)
    optimizer = AdamW(ensemble, training.learning_rate, training.weight_decay)
    first = unwrap(models[0])
    watched = Dynamics(ensemble) if training.dynamics and not first.solves and first.learns == CLASSES else None
    return _State(orders, list(range(len(seeds))), ensemble, optimizer, batches, watched)


def _learn(state: _State, training: TrainingOptions) -> list[dict[str, float]]:
    state.ensemble.train()
    batches = state.batches["train"]
    generators = [state.seeds[place].order for place in state.learning]
    meter = Meter(len(batches.clips), _target(state))
    for features, labels in batches.training_batches(generators, training.batch_size):
        directions, terms = gradients(state.ensemble, features, labels)
        if state.dynamics:
            state.dynamics.add(directions)
        state.optimizer.step(directions, state.ensemble.step_scales(terms))
        meter.add(terms, labels)
    return meter.rows("train")


def _solve(
    state: _State, models: Sequence[Learner], seeds: Sequence[int], training: TrainingOptions
) -> list[dict[str, float]]:
    """In place of learning steps, for models that find their own parameters."""
    train, validation = (state.batches[name].clips for name in ("train", "validation"))
    for model, seed in zip(models, seeds, strict=True):
        assert isinstance(model, Model)
        assert isinstance(models[0], Model)
        torch.manual_seed(seed)
        device = state.ensemble.device
        model.share_solution(models[0])
        if not model.solved:
            model.solve(_in_order(train, device, training), _in_order(validation, device, training))
    state.ensemble = Ensemble(models, training.precision)
    return _measure(state, "train", training)[0].rows("train")


def _validate(state: _State, training: TrainingOptions) -> list[dict[str, float]]:
    """With one temperature per seed, fitted to all of its logits in float64."""
    meter, logits = _measure(state, "validation", training)
    labels = state.batches["validation"].clips.labels.cpu().numpy()
    found = zip(*calibrated(logits.cpu().double().numpy(), labels, _target(state)), strict=True)
    told = [{CALIBRATED_LOSS: float(loss), TEMPERATURE: float(temperature)} for temperature, loss in found]
    return [row | more for row, more in zip(meter.rows("validation"), told, strict=True)]


def _target(state: _State) -> str:
    return unwrap(state.ensemble.learner).learns


@torch.no_grad()
def _measure(state: _State, split: str, training: TrainingOptions) -> tuple[Meter, Tensor]:
    """Terms of the loss in evaluation mode, and all logits (S, N, C)."""
    state.ensemble.train(False)
    batches = state.batches[split]
    meter, logits = Meter(len(batches.clips), _target(state)), []
    for features, labels in batches.shared_batches(training.batch_size, len(state.ensemble)):
        terms = state.ensemble.terms(features, labels)
        meter.add(terms, labels)
        logits.append(terms["logits"].float())
    return meter, torch.cat(logits, dim=1)


def _in_order(
    clips: FeatureDataset, device: torch.device, training: TrainingOptions
) -> Iterator[tuple[Tensors, Tensor]]:
    for start in range(0, len(clips), training.batch_size):
        yield clips.batch(slice(start, start + training.batch_size), device)


def _saved(state: _State) -> dict[str, Any]:
    """Once all have stopped without what is only learnt with: a study keeps one of these for each ensemble of a job."""
    seeds = [{"history": seed.history, "best": seed.best} for seed in state.seeds]
    if not state.learning:
        return {"learning": [], "seeds": seeds}
    return {
        "learning": state.learning,
        "seeds": seeds,
        "orders": [seed.order.get_state() for seed in state.seeds],
        "ensemble": state.ensemble.state(),
        "optimizer": state.optimizer.state(),
        "random": random_state(),
    }


def _restore(state: _State, saved: dict[str, Any]) -> None:
    for seed, was in zip(state.seeds, saved["seeds"], strict=True):
        seed.history, seed.best = was["history"], was["best"]
    log.info("resuming from epoch %d", max(len(seed.history) for seed in state.seeds))
    state.keep(saved["learning"])
    if state.learning:
        for seed, order in zip(state.seeds, saved["orders"], strict=True):
            seed.order.set_state(order)
        state.ensemble.load(saved["ensemble"])
        state.optimizer.load(saved["optimizer"])
        set_random_state(saved["random"])
