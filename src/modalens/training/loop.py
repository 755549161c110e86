"""The training loop: seeds of any model together, each with its own early stopping; exact resumption after a kill."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from modalens.balancing import Balancing, Learner
from modalens.models import Features
from modalens.training.batches import SeedBatches
from modalens.training.checkpoint import Checkpoint, random_state, set_random_state
from modalens.training.dataset import FeatureDataset
from modalens.training.ensemble import AdamW, Ensemble, write_back
from modalens.training.meter import Meter
from modalens.utils.errors import UserError
from modalens.utils.progress import LOG_EVERY_S
from modalens.utils.tensors import Tensors, index_seeds

log = logging.getLogger(__name__)

# Nats of validation loss. A model that has solved its task lowers the loss by ever smaller steps: not worth an epoch.
LEAST_PROGRESS = 0.005
# Added to a seed for what dropout draws, which is not to be the numbers that the initial values were made of.
DROPOUT = 2**31

History = list[dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """patience: epochs without a validation loss lower by LEAST_PROGRESS before stopping. precision: float32, or
    bfloat16 for the products of the learning steps; parameters, validation and all that is kept are float32. together:
    seeds trained as one at most; 0: all of them on a GPU, one on a CPU."""

    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    patience: int = 8
    device: str = "auto"
    precision: str = "float32"
    together: int = 0


@dataclass
class _Seed:
    """order: its own, so that neither dropout nor other seeds change which clips share a batch. best: of all epochs."""

    order: torch.Generator
    history: History = field(default_factory=list)
    best: Tensors = field(default_factory=dict)

    def stopped(self, training: TrainingOptions) -> bool:
        waited, lowest = 0, math.inf
        for row in self.history:
            waited += 1
            if row["validation_loss"] < lowest - LEAST_PROGRESS:
                waited, lowest = 0, row["validation_loss"]
        # A loss is never negative: from here no progress can be made.
        solved = lowest < LEAST_PROGRESS
        return solved or waited >= training.patience or len(self.history) >= training.epochs


@dataclass
class _State:
    """All that changes while training. learning: places in `seeds` of those that have not stopped, in the ensemble's
    order; the batches' targets are theirs."""

    seeds: list[_Seed]
    learning: list[int]
    ensemble: Ensemble
    optimiser: AdamW
    batches: dict[str, SeedBatches]

    def keep(self, learning: list[int]) -> None:
        """Only these go on: a seed that has stopped costs nothing more."""
        if 0 < len(learning) < len(self.learning):
            places = torch.tensor([self.learning.index(place) for place in learning], device=self.ensemble.device)
            self.ensemble.keep(places)
            self.optimiser.keep(places)
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
) -> list[History]:
    """Train models, one a seed and all on one device, in place to their parameters of lowest validation loss.

    Returns for each one row an epoch: epoch, train_loss, train_accuracy (while learning), validation_loss,
    validation_accuracy, seconds (the epoch's, shared by the seeds that learnt in it), and train_ and validation_ of any
    other number among the terms of the loss. Each becomes what it would be alone, but for rounding, and for dropout:
    what it draws depends on the seeds that are trained together.
    """
    state = _begin(models, seeds, {"train": train, "validation": validation}, training)
    if saved := checkpoint and checkpoint.read():
        _restore(state, saved)
    told = time.monotonic()
    while state.learning:
        started = time.perf_counter()
        rows = [one | other for one, other in zip(_learn(state, training), _validate(state, training), strict=True)]
        seconds = (time.perf_counter() - started) / len(rows)
        for at, (place, row) in enumerate(zip(state.learning, rows, strict=True)):
            history = state.seeds[place].history
            epoch = len(history) + 1.0
            if not math.isfinite(row["train_loss"] + row["validation_loss"]):
                raise UserError(
                    f"{models[place].name} seed {seeds[place]}: the loss is not finite in epoch {epoch:.0f}; "
                    "lower the learning rate"
                )
            history.append({"epoch": epoch, **row, "seconds": seconds})
            if best_epoch(history) == len(history):
                state.seeds[place].best = state.ensemble.values(at)
        if isinstance(state.ensemble.learner, Balancing):
            state.ensemble.learner.after_epoch(state.ensemble.buffers, rows)
        state.keep([place for place in state.learning if not state.seeds[place].stopped(training)])
        if checkpoint and checkpoint.due() and state.learning:
            checkpoint.write(_saved(state))
        # A line now and then: a log of a cluster job stays readable.
        if time.monotonic() - told >= LOG_EVERY_S and state.learning:
            told = time.monotonic()
            names = ", ".join(str(seeds[place]) for place in state.learning)
            log.info("%s seed %s: epoch %.0f of at most %d", models[0].name, names, epoch, training.epochs)
    for model, seed in zip(models, state.seeds, strict=True):
        write_back(model, seed.best)
    if checkpoint:
        checkpoint.write(_saved(state))
    return [seed.history for seed in state.seeds]


def gradients(ensemble: Ensemble, features: Features, labels: Tensor) -> tuple[Tensors, Tensors]:
    """A batch of each seed's -> {parameter: (S, ...)} to descend along, and the terms of the loss."""
    terms = ensemble.terms(features, labels)
    return ensemble.descent_gradients(terms), {name: values.detach() for name, values in terms.items()}


def best_epoch(history: History) -> int:
    """Number, from 1, of the epoch of lowest validation loss; the earlier of equals."""
    return 1 + min(range(len(history)), key=lambda index: history[index]["validation_loss"])


def _begin(
    models: Sequence[Learner], seeds: Sequence[int], clips: dict[str, FeatureDataset], training: TrainingOptions
) -> _State:
    ensemble = Ensemble(models, training.precision)
    batches = {name: SeedBatches.from_models(models, part, training.batch_size) for name, part in clips.items()}
    orders = [_Seed(torch.Generator().manual_seed(seed)) for seed in seeds]
    torch.manual_seed(seeds[0] + DROPOUT)
    optimiser = AdamW(ensemble, training.learning_rate, training.weight_decay)
    return _State(orders, list(range(len(seeds))), ensemble, optimiser, batches)


def _learn(state: _State, training: TrainingOptions) -> list[dict[str, float]]:
    state.ensemble.train()
    batches = state.batches["train"]
    count = len(batches.clips)
    orders = [torch.randperm(count, generator=state.seeds[place].order) for place in state.learning]
    meter = Meter(count)
    for rows in torch.stack(orders).to(batches.clips.labels.device).split(training.batch_size, dim=1):
        features, labels = batches.training_batch(rows)
        directions, terms = gradients(state.ensemble, features, labels)
        state.optimiser.step(directions, state.ensemble.step_scales(terms))
        meter.add(terms, labels)
    return meter.rows("train")


@torch.no_grad()
def _validate(state: _State, training: TrainingOptions) -> list[dict[str, float]]:
    state.ensemble.train(False)
    batches = state.batches["validation"]
    meter = Meter(len(batches.clips))
    for start in range(0, len(batches.clips), training.batch_size):
        features, labels = batches.validation_batch(slice(start, start + training.batch_size), len(state.ensemble))
        meter.add(state.ensemble.terms(features, labels), labels)
    return meter.rows("validation")


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
        "optimiser": state.optimiser.state(),
        "random": random_state(),
    }


def _restore(state: _State, saved: dict[str, Any]) -> None:
    for seed, was in zip(state.seeds, saved["seeds"], strict=True):
        seed.history, seed.best = was["history"], was["best"]
    log.info("going on after epoch %d", max(len(seed.history) for seed in state.seeds))
    state.keep(saved["learning"])
    if state.learning:
        for seed, order in zip(state.seeds, saved["orders"], strict=True):
            seed.order.set_state(order)
        state.ensemble.load(saved["ensemble"])
        state.optimiser.load(saved["optimiser"])
        set_random_state(saved["random"])
