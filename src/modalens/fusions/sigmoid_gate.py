"""One modality gates the others. Source: Kiela et al. 2018, "Gated"; public audio-visual code calls it gated, too."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modalens.fusions._base import WIDTH, Conditioned, Sizes


class SigmoidGate(Conditioned):
    """y = concatenation over the others of sigmoid(W_m x_by + b_m) * (V_m x_m + c_m), D = width x max(M - 1, 1).

    Published for two modalities, as U (sigmoid(W x) * V y): U is the first layer of the model's head. With more, each
    of the others has a gate of its own; one alone is V x + c.
    """

    stages = ("intermediate",)

    def __init__(self, sizes: Sizes, *, width: int = WIDTH, by: str | None = None) -> None:
        """by: the modality that gates; the first in alphabetical order where none is named."""
        super().__init__(sizes, by)
        gated = self.others or (self.by,)
        self.size = len(gated) * width
        self.projections = nn.ModuleDict({name: nn.Linear(sizes[name], width) for name in gated})
        self.gates = nn.ModuleDict({name: nn.Linear(sizes[self.by], width) for name in self.others})

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        values = {name: layer(features[name]) for name, layer in self.projections.items()}
        gates = {name: layer(features[self.by]).sigmoid() for name, layer in self.gates.items()}
        return torch.cat([gates[name] * value if name in gates else value for name, value in values.items()], dim=1)
