"""MultConcat. Source: arXiv 2406.04349, the equations of out, C and Z."""

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor

from modalens.fusions._base import WIDTH, Projected, Sizes


class MultConcat(Projected):
    """out_m = ReLU(W_m x_m + b_m); C = out_1 || ... || out_M; Z = product of out_m; y = C || Z, D = (M + 1) width."""

    stages = ("intermediate",)

    def __init__(self, sizes: Sizes, *, width: int = WIDTH) -> None:
        """width: of the shared subspace; the paper does not give it."""
        super().__init__(sizes, width)
        self.size = (len(self.modalities) + 1) * width

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        values = self.projected(features)
        return torch.cat([*values, reduce(torch.mul, values)], dim=1)
