"""What BalanceMLA adds to transformers. Source: the BalanceMLA paper, section 3.2; its equations are named below."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from modalens.models._sequences import Inner


class Residual(nn.Module):
    """basic (B, T, width), auxiliary (B, n, width) -> (B, T, width). Equations 1 and 2.

    res_j = sum over i of beta_i f_i^aux, beta = softmax over i of (f_i^aux)^T W f_j^basic.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        # So that scores of normalised vectors begin near one: the equation has no scale of its own.
        self.weight = nn.Parameter(torch.empty(width, width))
        nn.init.normal_(self.weight, std=1 / width)

    def forward(self, basic: Tensor, auxiliary: Tensor) -> Tensor:
        scores = basic @ self.weight.T @ auxiliary.transpose(1, 2)
        return scores.softmax(2) @ auxiliary


class CrossModalLayer(nn.Module):
    """basic + residual of each other modality, then an inner layer on each step."""

    def __init__(self, others: Sequence[str], width: int, dropout: float) -> None:
        super().__init__()
        self.residuals = nn.ModuleDict({name: Residual(width) for name in others})
        self.dropout = nn.Dropout(dropout)
        self.inner = Inner(width, dropout)

    def forward(self, basic: Tensor, embeddings: Mapping[str, Tensor]) -> Tensor:
        values = basic
        for name, residual in self.residuals.items():
            values = values + self.dropout(residual(basic, embeddings[name]))
        return values + self.inner(values)


class AttentionBRFF(nn.Module):
    """One branch: {modality: (B, T_m, width)} -> (B, T of the basic one, width), as its unimodal head takes it.

    Each layer asks the others' own embeddings anew. The result is normalised, as an encoder's is; that, and an inner
    layer as in any transformer, are ours, the paper speaking of cross-modal attention of 3 layers.
    """

    def __init__(self, basic: str, others: Sequence[str], width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.basic = basic
        self.layers = nn.ModuleList(CrossModalLayer(others, width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        values = embeddings[self.basic]
        for layer in self.layers:
            values = layer(values, embeddings)
        return self.norm(values)


class DecisionWeights(nn.Module):
    """[M(f^fuse-a); M(f^fuse-v)] (B, K width) -> (B, K, classes), adding up to one over the K branches.

    alpha = softmax(W [...] + b): one weight a branch, the same for all its classes, or one for each class. The paper
    has a vector for two branches and then one for the classes, alpha and 1 - alpha; a softmax over the branches, class
    by class, is both. All begin equal: W = 0, b = 0.
    """

    def __init__(self, branches: int, width: int, classes: int) -> None:
        """classes: 1 for one weight a branch."""
        super().__init__()
        self.branches = branches
        self.linear = nn.Linear(branches * width, branches * classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, means: Tensor) -> Tensor:
        return self.linear(means).unflatten(1, (self.branches, -1)).softmax(1)
