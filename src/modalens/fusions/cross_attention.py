"""Attention between modalities. Source: Vaswani et al. 2017, sections 3.2.1 and 3.2.2; one token a modality is ours."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modalens.fusions._base import WIDTH, Fusion, Sizes
from modalens.utils.errors import UserError


class CrossAttention(Fusion):
    """Token t_m = W_m x_m + e_m; y = concatenation over m of t_m + attention of t_m over all tokens, D = M width.

    e_m is the learned embedding of the modality. Every token attends to every one, itself included: over one other
    token alone, the softmax would always be 1. The sum with t_m keeps what a modality said itself.
    """

    stages = ("intermediate",)

    def __init__(self, sizes: Sizes, *, width: int = WIDTH, heads: int = 4) -> None:
        """width: of a token, a multiple of heads."""
        super().__init__(sizes)
        if width % heads:
            raise UserError(f"fusions.cross_attention: a width of {width} is not divided by {heads} heads")
        self.heads = heads
        self.size = len(self.modalities) * width
        self.tokens = nn.ModuleDict({name: nn.Linear(sizes[name], width, bias=False) for name in self.modalities})
        self.embeddings = nn.Parameter(torch.empty(len(self.modalities), width))
        nn.init.normal_(self.embeddings, std=width**-0.5)
        # A bias of the keys adds the same to all scores of a query, which the softmax does not see.
        self.projections = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        tokens = torch.stack([self.tokens[name](features[name]) for name in self.modalities], dim=1) + self.embeddings
        # (B, M, 3 width) -> three times (B, heads, M, width / heads)
        split = self.projections(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = split.unbind(0)
        # Not torch's fused attention: it has no rule for vmap, and there are but M x M scores.
        scores = queries @ keys.transpose(2, 3) * queries.shape[3] ** -0.5
        attended = (scores.softmax(3) @ values).transpose(1, 2).flatten(2)
        return (tokens + self.output(attended)).flatten(1)
