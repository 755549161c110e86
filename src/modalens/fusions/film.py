"""FiLM, feature-wise linear modulation: one modality conditions the others. Source: Perez et al. 2018, eq. 1-2."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modalens.fusions._base import WIDTH, Conditioned, Sizes


class Film(Conditioned):
    """y = concatenation over the others of ReLU(gamma_m(x_by) * (W_m x_m + b_m) + beta_m(x_by)), D = width x
    max(M - 1, 1).

    gamma_m and beta_m are affine in x_by, each of the others having its own; gamma is 1 + what its layer gives, the
    paper's footnote, so that nothing begins shut off. Published for one conditioned input; one modality alone is
    ReLU(W x + b).
    """

    stages = ("intermediate",)

    def __init__(self, sizes: Sizes, *, width: int = WIDTH, by: str | None = None) -> None:
        """by: the modality that conditions; the first in alphabetical order where none is named."""
        super().__init__(sizes, by)
        modulated = self.others or (self.by,)
        self.size = len(modulated) * width
        self.projections = nn.ModuleDict({name: nn.Linear(sizes[name], width) for name in modulated})
        self.scales = nn.ModuleDict({name: nn.Linear(sizes[self.by], width) for name in self.others})
        self.shifts = nn.ModuleDict({name: nn.Linear(sizes[self.by], width) for name in self.others})

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        values = {name: layer(features[name]) for name, layer in self.projections.items()}
        condition = features[self.by]
        for name in self.others:
            values[name] = (1 + self.scales[name](condition)) * values[name] + self.shifts[name](condition)
        return torch.cat(list(values.values()), dim=1).relu()
