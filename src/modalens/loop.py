"""The training loop: any model, early stopping on validation loss, exact resumption after a kill."""

import copy
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modalens.cli import UserError, atomic
from modalens.data import Clips
from modalens.models._base import Model

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKPOINTS = 10.0
# Nats of validation loss. A model that has solved its task lowers the loss by ever smaller steps: not worth an epoch.
LEAST_PROGRESS = 0.005


@dataclass(frozen=True, kw_only=True)
class Training:
    """patience: epochs without a validation loss lower by LEAST_PROGRESS before stopping."""

    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    patience: int = 8
    device: str = "auto"


@dataclass
class Checkpoint:
    """Where an interrupted training goes on. key: digest of all that decides the result; another one is not resumed."""

    path: Path
    key: str
    _saved: float = field(default_factory=time.monotonic)

    def read(self) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        try:
            content: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            if content["key"] == self.key:
                return content
            reason = "belongs to other settings, data or code"
        except Exception as error:  # torch.load raises whatever the damaged bytes lead it to
            reason = f"cannot be read ({type(error).__name__})"
        log.info("%s %s: training from the start", self.path, reason)
        return None

    def write(self, content: dict[str, Any]) -> None:
        with atomic(self.path) as hidden:
            torch.save({"key": self.key, **content}, hidden)
        self._saved = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._saved >= SECONDS_BETWEEN_CHECKPOINTS


@dataclass
class _Progress:
    """All that changes while training, beside the model."""

    optimiser: torch.optim.Optimizer
    order: torch.Generator  # its own: dropout elsewhere must not change which clips share a batch
    history: list[dict[str, float]]
    best: dict[str, Tensor]

    def stopped(self, training: Training) -> bool:
        waited, lowest = 0, math.inf
        for row in self.history:
            waited += 1
            if row["validation_loss"] < lowest - LEAST_PROGRESS:
                waited, lowest = 0, row["validation_loss"]
        # A loss is never negative: from here no progress can be made.
        solved = lowest < LEAST_PROGRESS
        return solved or waited >= training.patience or len(self.history) >= training.epochs


def fit(
    model: Model, train: Clips, validation: Clips, training: Training, seed: int, checkpoint: Checkpoint | None = None
) -> list[dict[str, float]]:
    """Train model in place to its parameters of lowest validation loss. Returns one row an epoch: epoch, train_loss,
    train_accuracy (while learning), validation_loss, validation_accuracy, seconds."""
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    progress = _Progress(optimiser, torch.Generator().manual_seed(seed), [], {})
    if saved := checkpoint and checkpoint.read():
        _restore(model, progress, saved)
    train, validation = (_with_targets(model, clips, training.batch_size) for clips in (train, validation))
    while not progress.stopped(training):
        started = time.perf_counter()
        row = {"epoch": float(len(progress.history) + 1)}
        row |= _learn(model, train, training.batch_size, progress)
        row |= _validate(model, validation, training.batch_size)
        if not math.isfinite(row["train_loss"] + row["validation_loss"]):
            raise UserError(
                f"{model.name}: the loss is not finite in epoch {row['epoch']:.0f}; lower the learning rate"
            )
        progress.history.append(row | {"seconds": time.perf_counter() - started})
        if best_epoch(progress.history) == len(progress.history):
            progress.best = copy.deepcopy(model.state_dict())
        if checkpoint and checkpoint.due() and not progress.stopped(training):
            checkpoint.write(_state(model, progress))
    model.load_state_dict(progress.best)
    if checkpoint:
        # Without the optimiser: nothing is left to learn, and a study keeps one of these for each seed of a job.
        checkpoint.write({"history": progress.history, "best": progress.best})
    return progress.history


def best_epoch(history: list[dict[str, float]]) -> int:
    """Number, from 1, of the epoch of lowest validation loss; the earlier of equals."""
    return 1 + min(range(len(history)), key=lambda index: history[index]["validation_loss"])


@torch.no_grad()
def _with_targets(model: Model, clips: Clips, size: int) -> Clips:
    """Teachers answer once a clip instead of once an epoch."""
    device = next(model.parameters()).device
    starts = range(0, len(clips), size)
    batches = [model.targets(clips.batch(slice(start, start + size), device)[0]) for start in starts]
    extra = {name: torch.cat([batch[name] for batch in batches]).cpu() for name in batches[0]}
    return Clips({**clips.features, **extra}, clips.labels)


def _learn(model: Model, clips: Clips, size: int, progress: _Progress) -> dict[str, float]:
    model.train()
    meter = _Meter(len(clips))
    device = next(model.parameters()).device
    for rows in torch.randperm(len(clips), generator=progress.order).split(size):
        features, labels = clips.batch(rows, device)
        terms = model.loss(features, labels)
        progress.optimiser.zero_grad()
        terms["loss"].backward()
        progress.optimiser.step()
        meter.add(terms, labels)
    return {"train_loss": meter.loss(), "train_accuracy": meter.accuracy()}


@torch.no_grad()
def _validate(model: Model, clips: Clips, size: int) -> dict[str, float]:
    model.eval()
    meter = _Meter(len(clips))
    device = next(model.parameters()).device
    for start in range(0, len(clips), size):
        features, labels = clips.batch(slice(start, start + size), device)
        meter.add(model.loss(features, labels), labels)
    return {"validation_loss": meter.loss(), "validation_accuracy": meter.accuracy()}


class _Meter:
    """Means over clips, summed on the device: reading a number after every batch would wait for it."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._loss: list[Tensor] = []
        self._hits: list[Tensor] = []

    def add(self, terms: Mapping[str, Tensor], labels: Tensor) -> None:
        self._loss.append(terms["loss"].detach() * len(labels))
        self._hits.append((terms["logits"].argmax(1) == labels).sum())

    def loss(self) -> float:
        return torch.stack(self._loss).sum().item() / self._count

    def accuracy(self) -> float:
        return torch.stack(self._hits).sum().item() / self._count


def _state(model: Model, progress: _Progress) -> dict[str, Any]:
    return {
        "history": progress.history,
        "best": progress.best,
        "model": model.state_dict(),
        "optimiser": progress.optimiser.state_dict(),
        "order": progress.order.get_state(),
        "random": _random_state(),
    }


def _restore(model: Model, progress: _Progress, saved: dict[str, Any]) -> None:
    progress.history, progress.best = saved["history"], saved["best"]
    log.info("going on after epoch %d", len(progress.history))
    if "model" in saved:
        model.load_state_dict(saved["model"])
        progress.optimiser.load_state_dict(saved["optimiser"])
        progress.order.set_state(saved["order"])
        _set_random_state(saved["random"])


def _random_state() -> dict[str, Any]:
    """Of torch's global generators: what dropout draws from."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    torch.cuda.set_rng_state_all(state["cuda"])
    if "mps" in state:
        torch.mps.set_rng_state(state["mps"])
