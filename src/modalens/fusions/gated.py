"""Gated multimodal unit (GMU). Source: Arevalo et al. 2017, figure 2."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modalens.fusions._base import WIDTH, Fusion, Sizes


class Gated(Fusion):
    """y = sum of z_m * tanh(W_m x_m), D = width; a gate z sees all modalities: sigmoid(V [x_1; ...; x_M]).

    Two modalities share one gate, z and 1 - z (figure 2b); any other number has one gate each (figure 2a). No bias, as
    in the paper's equations.
    """

    stages = ("intermediate",)

    def __init__(self, sizes: Sizes, *, width: int = WIDTH) -> None:
        """width: of the representation; the paper tunes it."""
        super().__init__(sizes)
        self.size = width
        self.projections = nn.ModuleDict({name: nn.Linear(sizes[name], width, bias=False) for name in self.modalities})
        self.shared = len(self.modalities) == 2
        gates = 1 if self.shared else len(self.modalities)
        self.gates = nn.Linear(sum(sizes.values()), gates * width, bias=False)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        values = torch.stack([self.projections[name](features[name]).tanh() for name in self.modalities], dim=1)
        everything = torch.cat([features[name] for name in self.modalities], dim=1)
        gates = self.gates(everything).sigmoid().unflatten(1, (-1, self.size))
        if self.shared:
            gates = torch.cat([gates, 1 - gates], dim=1)
        return (gates * values).sum(1)
