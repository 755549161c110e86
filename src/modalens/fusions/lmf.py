"""Low-rank multimodal fusion (LMF). Source: Liu et al. 2018, sections 3.2 and 3.3."""

from collections.abc import Mapping
from functools import reduce
from math import sqrt

import torch
from torch import Tensor, nn

from modalens.fusions._base import WIDTH, Fusion, Sizes


class Lmf(Fusion):
    """y = sum over r of w_r (product over m of [1; x_m] W_m^r) + b, D = width: a tensor fusion of rank `rank`.

    Equal to a linear layer on the outer product of all [1; x_m] whose weights are a sum of rank-one tensors.
    """

    stages = ("intermediate",)

    def __init__(self, sizes: Sizes, *, width: int = WIDTH, rank: int = 4) -> None:
        """rank: the paper tries 1, 4, 8 and 16."""
        super().__init__(sizes)
        self.size = width
        # A ParameterDict: in a plain list they would never train, as in a public implementation.
        self.factors = nn.ParameterDict(
            {name: nn.Parameter(torch.empty(rank, sizes[name] + 1, width)) for name in self.modalities}
        )
        self.weights = nn.Parameter(torch.empty(rank))
        self.bias = nn.Parameter(torch.zeros(width))
        # Xavier-normal, each W_m^r being one matrix; over the whole block the fans, and so the output, would depend on
        # the rank.
        for factor in self.factors.values():
            nn.init.normal_(factor, std=sqrt(2 / (factor.shape[1] + width)))
        nn.init.normal_(self.weights, std=sqrt(2 / (1 + rank)))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        parts = []
        for name in self.modalities:
            factor = self.factors[name]
            # The first row stands for the 1 in [1; x].
            parts.append(torch.einsum("bd,rdo->bro", features[name], factor[:, 1:]) + factor[:, 0])
        return torch.einsum("bro,r->bo", reduce(torch.mul, parts), self.weights) + self.bias
