"""MMCosine: a classifier that cannot tell a modality by how large its embedding is. Source: Xu et al. 2023, arXiv
2303.05338."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from modalens.balancing._base import Balancing, mean_over_steps, shapes_of
from modalens.models import Model
from modalens.utils.arguments import positive
from modalens.utils.errors import UserError


class MmCosine(Balancing):
    """logits[c] = scale * sum over modalities of cos(W_m[c], h_m), in place of the model's fusion and head.

    It is part of the model from then on, and saved with it. The loss is the model's own, on these logits.
    """

    def __init__(self, model: Model, *, scale: float = 10.0) -> None:
        """scale: s; 10 is ours. Larger ones let the loss come nearer to 0."""
        super().__init__(model)
        self.scale = positive("balancing.mm_cosine.scale", scale)

    @classmethod
    def adapt(cls, model: Model, options: Mapping[str, Any]) -> None:
        """Raises UserError for a model that does not classify by head(fusion(embeddings))."""
        if type(model).classify is not Model.classify:
            raise UserError(
                f"balancing.mm_cosine takes the place of a fusion and its head, which {model.name} does not have; "
                "leave it out, or take a model such as late_fusion"
            )
        sizes, classes = shapes_of(model)
        model.fusion = Cosines(sizes, classes, options["scale"])
        model.head = nn.Identity()


class Cosines(nn.Module):
    """{modality: (B, D_m)} -> logits (B, classes). An embedding of zeros says nothing about any class."""

    def __init__(self, sizes: Mapping[str, int], classes: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.heads = nn.ModuleDict({name: nn.Linear(sizes[name], classes, bias=False) for name in sorted(sizes)})

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        cosines = []
        for name, head in self.heads.items():
            weight: Tensor = head.weight  # type: ignore[assignment]
            cosines.append(functional.linear(_unit(mean_over_steps(embeddings[name])), _unit(weight)))
        return self.scale * torch.stack(cosines).sum(0)


def _unit(rows: Tensor) -> Tensor:
    """(N, D), each of length 1; one of zeros stays."""
    return functional.normalize(rows, dim=1)
