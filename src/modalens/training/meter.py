"""Epoch averages of loss terms and accuracy, per seed."""

import torch
from torch import Tensor

from modalens.utils.tensors import Tensors


class Meter:
    """Summed on the device: reading a number after every batch would wait for it."""

    def __init__(self, count: int) -> None:
        """count: of all clips to come."""
        self._count = count
        self._sums: Tensors = {}
        self._hits: Tensor | None = None

    def add(self, terms: Tensors, labels: Tensor) -> None:
        """terms: of an ensemble; those of shape (S,) are means over the batch. labels: (S, B)."""
        for name, values in terms.items():
            if values.dim() == 1:
                share = values.float() * labels.shape[1]
                self._sums[name] = self._sums[name] + share if name in self._sums else share
        hits = (terms["logits"].argmax(2) == labels).sum(1)
        self._hits = hits if self._hits is None else self._hits + hits

    def rows(self, split: str) -> list[dict[str, float]]:
        """For each seed {split}_loss, {split}_accuracy, and {split}_<term> of any other term."""
        assert self._hits is not None
        names = ["loss", "accuracy", *sorted(self._sums.keys() - {"loss"})]
        sums = self._sums | {"accuracy": self._hits}
        numbers = torch.stack([sums[name].cpu().double() for name in names], dim=1) / self._count
        return [{f"{split}_{name}": value for name, value in zip(names, row, strict=True)} for row in numbers.tolist()]
