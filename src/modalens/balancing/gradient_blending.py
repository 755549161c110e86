"""Gradient-Blending. Source: Wang et al. 2020, arXiv 1905.12681."""

from collections.abc import Sequence

import torch
from torch import Tensor

from modalens.balancing._base import Row
from modalens.balancing._heads import MULTIMODAL, Heads
from modalens.models import Model
from modalens.utils.errors import UserError
from modalens.utils.tensors import Tensors

# Of each head: one that gained nothing for a while is not lost for good, and the model's own classifier always learns.
LEAST_WEIGHT = 0.01
# Nats. A smaller change of the distance between validation and training loss is no measure of overfitting.
LEAST_OVERFITTING = 0.01


class GradientBlending(Heads):
    """loss = sum of w_k L_k over the heads of the modalities and the model itself; w_k in proportion to G_k / O_k^2,
    summing to 1. Between two epochs, then and now: G = L_val(then) - L_val(now), what was gained; O = (L_val -
    L_train)(now) - (L_val - L_train)(then), what was overfitted.

    The paper estimates by training a copy with each loss alone from the same start; ours takes the losses of the heads
    in the one training that there is, the training loss as it was while learning. A head that gained nothing has G = 0;
    where none gained, the weights stay; none is below LEAST_WEIGHT. These are ours, too.

    Buffers: weights (K,); before (2, K), the losses in training and validation then; epochs ().
    """

    weights: Tensor
    before: Tensor
    epochs: Tensor

    def __init__(self, model: Model, *, every: int = 3) -> None:
        """every: epochs between two estimates; the paper's depend on the data set, 3 is ours."""
        super().__init__(model)
        if every < 1:
            raise UserError(f"balancing.gradient_blending.every: expected at least 1, got {every}")
        self.every = every
        self.names = (*self.modalities, MULTIMODAL)
        self.register_buffer("weights", torch.full((len(self.names),), 1 / len(self.names)))
        self.register_buffer("before", torch.zeros(2, len(self.names)))
        self.register_buffer("epochs", torch.zeros(()))

    def joined(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Also "weight_<name>"."""
        found = {f"weight_{name}": weight for name, weight in zip(self.names, self.weights.unbind(), strict=True)}
        blended = torch.stack([losses[f"loss_{name}"] for name in self.names]) * self.weights
        return found | {"loss": blended.sum()}

    @torch.no_grad()
    def after_epoch(self, buffers: Tensors, rows: Sequence[Row]) -> None:
        """All seeds of a stack are in the same epoch."""
        done = int(buffers["epochs"][0])
        now = torch.tensor([[[row[f"{split}_loss_{name}"] for name in self.names] for split in SPLITS] for row in rows])
        now = now.to(buffers["before"])
        if done and done % self.every == 0:
            buffers["weights"].copy_(blended(buffers["before"], now, buffers["weights"]))
        if done % self.every == 0:
            buffers["before"].copy_(now)
        buffers["epochs"].add_(1)


SPLITS = ("train", "validation")


def blended(before: Tensor, now: Tensor, weights: Tensor) -> Tensor:
    """Losses (..., 2, K) in training and validation, then and now, and the weights (..., K) so far -> new ones."""
    gained = (before - now)[..., 1, :].clamp(min=0)
    overfitted = ((now - before)[..., 1, :] - (now - before)[..., 0, :]).abs().clamp(min=LEAST_OVERFITTING)
    shares = gained / overfitted.square()
    total = shares.sum(-1, keepdim=True)
    shares = shares / total.clamp(min=torch.finfo(total.dtype).tiny)
    return torch.where(total > 0, LEAST_WEIGHT + (1 - shares.shape[-1] * LEAST_WEIGHT) * shares, weights)
