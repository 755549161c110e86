"""On-the-fly gradient modulation with generalisation enhancement. Source: Peng et al. 2022, arXiv 2203.15332."""

from collections.abc import Sequence

import torch
from torch import Tensor

from modalens.balancing._base import Row
from modalens.balancing._modulation import Modulation
from modalens.models import Features, Model
from modalens.utils.arguments import positive
from modalens.utils.errors import UserError
from modalens.utils.tensors import Tensors, unsqueeze_like

KERNEL_AXES = 4  # of a 2-D convolution


class OgmGe(Modulation):
    """s_m = sum over the batch of softmax(m_m)[y], m_m the contribution of modality m to the logits;
    rho_m = s_m / mean of the others' s; k_m = 1 - tanh(alpha rho_m) where rho_m > 1, else 1; the gradient of a
    sub-network becomes k_m g + N(0, std(g)), the deviation over the entries of each parameter, or g + N(0, std(g)) with
    k_m times the step.

    The paper has two modalities, where the others' mean is the other, and a linear classifier; `contributions` says
    what stands in for that. Its authors' code acts on convolutions alone and in the first 51 of 100 epochs; here all
    layers of a sub-network are slowed, to the end, since a sub-network on cached features may have no convolution and
    training stops early. Their form: `epochs: 51, convolutions_only: true, acts_on: gradient`.
    """

    def __init__(
        self,
        model: Model,
        *,
        alpha: float = 0.3,
        noise: bool = True,
        acts_on: str = "step",
        epochs: int = 0,
        convolutions_only: bool = False,
    ) -> None:
        """alpha: the paper takes 0.8 for CREMA-D and 0.1 for VGGSound; 0.3 is ours. noise: false is OGM alone. What it
        draws depends on the seeds that are trained together, as dropout does. epochs: only the first so many are
        modulated; 0: all. convolutions_only: other layers are left alone; raises UserError where there is none."""
        super().__init__(model, acts_on)
        self.alpha = positive("balancing.ogm_ge.alpha", alpha)
        self.noise = noise
        if epochs < 0:
            raise UserError(f"balancing.ogm_ge: epochs: expected 0 (all) or more, got {epochs}")
        self.epochs = epochs
        self.convolutions_only = convolutions_only
        kernels = [values for name, values in model.named_parameters() if name.startswith("networks.")]
        if convolutions_only and not any(values.dim() == KERNEL_AXES for values in kernels):
            raise UserError("balancing.ogm_ge: convolutions_only: no sub-network of this model has a 2-D convolution")
        self.epoch: Tensor
        self.register_buffer("epoch", torch.zeros(()))

    def coefficients(self, parts: Features, labels: Tensor) -> dict[str, Tensor]:
        scores = {name: part.softmax(1).gather(1, labels.unsqueeze(1)).sum() for name, part in parts.items()}
        total = torch.stack(list(scores.values())).sum(0)
        found = {}
        for name, score in scores.items():
            # A probability of 0 in float32 is one too small for it.
            others = ((total - score) / (len(scores) - 1)).clamp(min=torch.finfo(total.dtype).tiny)
            ratio = score / others
            found[name] = torch.where((ratio > 1) & self._on(self.epoch), 1 - torch.tanh(self.alpha * ratio), 1.0)
        return found

    def modulated(self, gradient: Tensor, factor: Tensor, buffers: Tensors) -> Tensor:
        scaled = super().modulated(gradient, factor, buffers)
        if not self.noise:
            return scaled
        deviation = gradient.flatten(1).std(1, correction=0) * self._on(buffers["epoch"])
        return scaled + torch.randn_like(gradient) * unsqueeze_like(deviation, gradient)

    def modulates(self, tensors: Tensors, modality: str) -> list[str]:
        names = super().modulates(tensors, modality)
        # With the axis of seeds.
        return [name for name in names if tensors[name].dim() == 1 + KERNEL_AXES] if self.convolutions_only else names

    def after_epoch(self, buffers: Tensors, rows: Sequence[Row]) -> None:
        del rows
        buffers["epoch"] += 1

    def _on(self, epoch: Tensor) -> Tensor:
        return epoch < self.epochs if self.epochs else epoch >= 0
