"""Auxiliary unimodal losses: each modality is asked for the label by itself as well. Source: as the uniform baseline in
Wang et al. 2020, arXiv 1905.12681, and in Wei and Hu 2024, arXiv 2405.17730."""

from math import inf

from torch import Tensor

from modalens.balancing._heads import MULTIMODAL, Heads
from modalens.models import Model
from modalens.utils.errors import UserError


class UnimodalLosses(Heads):
    """loss = the model's own + weight * sum over modalities of the cross entropy of its head."""

    def __init__(self, model: Model, *, weight: float = 1.0) -> None:
        """weight: 1 is the plain sum."""
        super().__init__(model)
        if not 0 <= weight < inf:
            raise UserError(f"balancing.unimodal_losses.weight: expected 0 or more, got {weight}")
        self.weight = weight

    def joined(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": losses[f"loss_{MULTIMODAL}"] + self.weight * self.of_heads(losses)}
