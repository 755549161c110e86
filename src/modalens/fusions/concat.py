"""Concatenation. Source: seed paper, section 3.3: concat(400, 512) = 912."""

from collections.abc import Mapping

import torch
from torch import Tensor

from modalens.fusions._base import Projected, Sizes


class Concat(Projected):
    """y = x_1 || ... || x_M, D = sum of the sizes."""

    stages = ("intermediate",)

    def __init__(self, sizes: Sizes, *, width: int | None = None) -> None:
        """width: of a projection before, as the other operators have it; None, the paper's, has no parameters."""
        super().__init__(sizes, width)
        self.size = sum(self.widths.values())

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        return torch.cat(self.projected(features), dim=1)
