"""Tensor fusion. Source: Zadeh et al. 2017, section 4.2."""

from collections.abc import Mapping

import torch
from torch import Tensor

from modalens.fusions._base import Projected, Sizes
from modalens.utils.errors import UserError

LARGEST = 100_000  # entries; the first layer after it has some hundred weights for each


class TensorFusion(Projected):
    """y = outer product over m of [1; out_m], flattened, D = (width + 1)^M: every product of entries of any of them."""

    stages = ("intermediate",)

    def __init__(self, sizes: Sizes, *, width: int | None = 16) -> None:
        """width: of the projections, small because D grows with its power; None, the paper's, takes the vectors as
        they are. Raises UserError where D passes LARGEST."""
        super().__init__(sizes, width)
        self.size = 1
        for entries in self.widths.values():
            self.size *= entries + 1
        if self.size > LARGEST:
            raise UserError(
                f"fusions.tensor_fusion: {self.size} entries for {len(sizes)} modalities are too many; lower the width"
            )

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        values = self.projected(features)
        one = torch.ones_like(values[0][:, :1])
        outer = one
        for value in values:
            outer = (outer.unsqueeze(2) * torch.cat([one, value], dim=1).unsqueeze(1)).flatten(1)
        return outer
