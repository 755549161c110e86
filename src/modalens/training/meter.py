"""Epoch averages of loss terms and of accuracy, or what is in its place, per seed."""

import torch
from torch import Tensor

from modalens.models import score
from modalens.stats.targets import CLASSES, SCORES
from modalens.utils.tensors import Tensors


class Meter:
    """Summed on the device: reading a number after every batch would wait for it."""

    def __init__(self, count: int, target: str = CLASSES) -> None:
        """count: of all clips to come. target: of stats.targets."""
        self._count, self._target = count, target
        self._sums: Tensors = {}
        self._hits: Tensor | None = None

    def add(self, terms: Tensors, labels: Tensor) -> None:
        """terms: of an ensemble; those of shape (S,) are means over the batch. labels: (S, B), of tags (S, B, tags)."""
        for name, values in terms.items():
            if values.dim() == 1:
                share = values.float() * labels.shape[1]
                self._sums[name] = self._sums[name] + share if name in self._sums else share
        hits = score(terms["logits"], labels, self._target)
        self._hits = hits if self._hits is None else self._hits + hits

    def rows(self, split: str) -> list[dict[str, float]]:
        """For each seed {split}_loss, {split}_accuracy (models.SCORES of another target), and {split}_<term> of
        any other term."""
        assert self._hits is not None
        own = SCORES[self._target]
        names = ["loss", own, *sorted(self._sums.keys() - {"loss"})]
        sums = self._sums | {own: self._hits}
        numbers = torch.stack([sums[name].cpu().double() for name in names], dim=1) / self._count
        return [{f"{split}_{name}": value for name, value in zip(names, row, strict=True)} for row in numbers.tolist()]
