"""Training data for S stacked seeds: shared features, per-seed shuffling, per-seed teacher targets."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from modalens.balancing import Learner
from modalens.training.augmentation import Augmenter
from modalens.training.dataset import FeatureDataset
from modalens.training.stored import ahead
from modalens.utils.errors import UserError
from modalens.utils.tensors import Tensors, index_seeds

Batch = tuple[Tensors, Tensor]


def batch_sizes(clips: int, size: int) -> list[int]:
    """Of an epoch: `size` clips each but for the last, which holds the rest. A rest of a single clip joins the batch
    before: batch normalisation learns nothing from one clip, and raises an error."""
    sizes = [size] * (clips // size) + [clips % size] * bool(clips % size)
    if len(sizes) > 1 and size > 1 and sizes[-1] == 1:
        sizes[-2:] = [size + 1]
    return sizes


@contextlib.contextmanager
def of_one_clip() -> Iterator[None]:
    """One line where a batch normalisation is given a single number a channel, which PyTorch refuses to learn from."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "batch normalisation learns nothing from a batch of one clip; expected training.batch_size of at least 2, "
            "and two training clips or more"
        ) from error


@dataclass
class SeedBatches:
    """Clips of a split for S seeds. targets: {name: (S, N, ...)}, by each seed's own teachers. augmenter: of training
    clips."""

    clips: FeatureDataset
    targets: Tensors
    device: torch.device
    augmenter: Augmenter | None = None

    @classmethod
    @torch.no_grad()
    def from_models(cls, models: Sequence[Learner], clips: FeatureDataset, size: int) -> Self:
        """Teachers are run here, once per clip instead of once per epoch. size: clips at once; changes no result."""
        device = next(models[0].parameters()).device
        answers: list[list[Tensors]] = [[] for _ in models]
        for start in range(0, len(clips), size):
            features, _ = clips.batch(slice(start, start + size), device)
            for own, model in zip(answers, models, strict=True):
                own.append(model.targets(features))
            if not answers[0][0]:
                break
        joined = [{name: torch.cat([answer[name] for answer in own]) for name in own[0]} for own in answers]
        return cls(clips, {name: torch.stack([own[name] for own in joined]) for name in joined[0]}, device)

    def training_batches(self, generators: Sequence[torch.Generator], size: int) -> Iterator[Batch]:
        """All clips in an order that each seed's generator draws, and how they are augmented with it."""
        orders = [torch.randperm(len(self.clips), generator=one) for one in generators]
        sizes = batch_sizes(len(self.clips), size)
        rows = torch.stack(orders).to(self.clips.labels.device).split(sizes, dim=1)
        if not self.augmenter:
            return self._in_turn(self.training_batch, rows)
        wanted = (len(self.clips), self.augmenter.numbers)
        numbers = torch.stack([torch.rand(wanted, generator=one) for one in generators]).split(sizes, dim=1)
        return self._in_turn(lambda both: self.training_batch(*both), zip(rows, numbers, strict=True))

    def shared_batches(self, size: int, seeds: int) -> Iterator[Batch]:
        """All clips in order, the same for all seeds."""
        starts = range(0, len(self.clips), size)
        return self._in_turn(lambda start: self.shared_batch(slice(start, start + size), seeds), starts)

    def _in_turn(self, read: Callable[[Any], Batch], asked: Iterable[Any]) -> Iterator[Batch]:
        return ahead(read, asked) if self.clips.is_stored else map(read, asked)

    def training_batch(self, rows: Tensor, numbers: Tensor | None = None) -> Batch:
        """rows: (S, B), each seed's own clips -> {name: (S, B, ...)}, labels (S, B), of tags (S, B, tags). numbers:
        (S, B, K) from 0 to 1, by which they are augmented."""
        features, labels = self.clips.batch(rows.flatten(), self.device)
        if self.augmenter and numbers is not None:
            features = self.augmenter(features, numbers.flatten(0, 1).to(self.device))
        first = torch.arange(len(rows), device=rows.device).unsqueeze(1) * len(self.clips)
        flat = {name: values.flatten(0, 1) for name, values in self.targets.items()}
        features |= index_seeds(flat, (first + rows).flatten().to(self.device))
        return {name: values.unflatten(0, rows.shape) for name, values in features.items()}, labels.unflatten(
            0, rows.shape
        )

    def shared_batch(self, rows: slice, seeds: int) -> Batch:
        """The same clips for all seeds: {name: (S, B, ...)}, labels (S, B)."""
        features, labels = self.clips.batch(rows, self.device)
        wide = {name: values.expand(seeds, *values.shape) for name, values in features.items()}
        return wide | {name: values[:, rows] for name, values in self.targets.items()}, labels.expand(
            seeds, *labels.shape
        )
