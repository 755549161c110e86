"""On-the-fly gradient modulation with generalisation enhancement. Source: Peng et al. 2022, arXiv 2203.15332."""

import torch
from torch import Tensor

from modalens.balancing._modulation import Modulation
from modalens.models import Features, Model
from modalens.utils.tensors import unsqueeze_like


class OgmGe(Modulation):
    """s_m = sum over the batch of softmax(m_m)[y], m_m the contribution of modality m to the logits;
    rho_m = s_m / mean of the others' s; k_m = 1 - tanh(alpha rho_m) where rho_m > 1, else 1; the gradient of a
    sub-network becomes k_m g + N(0, std(g)), the deviation over the entries of each parameter, or g + N(0, std(g)) with
    k_m times the step.

    The paper has two modalities, where the others' mean is the other, and a linear classifier; `contributions` says
    what stands in for that.
    """

    def __init__(self, model: Model, *, alpha: float = 0.3, noise: bool = True, acts_on: str = "step") -> None:
        """alpha: the paper takes 0.8 for CREMA-D and 0.1 for VGGSound; 0.3 is ours. noise: false is OGM alone. What it
        draws depends on the seeds that are trained together, as dropout does."""
        super().__init__(model, acts_on)
        self.alpha = alpha
        self.noise = noise

    def coefficients(self, parts: Features, labels: Tensor) -> dict[str, Tensor]:
        scores = {name: part.softmax(1).gather(1, labels.unsqueeze(1)).sum() for name, part in parts.items()}
        total = torch.stack(list(scores.values())).sum(0)
        found = {}
        for name, score in scores.items():
            # A probability of 0 in float32 is one too small for it.
            others = ((total - score) / (len(scores) - 1)).clamp(min=torch.finfo(total.dtype).tiny)
            ratio = score / others
            found[name] = torch.where(ratio > 1, 1 - torch.tanh(self.alpha * ratio), 1.0)
        return found

    def modulated(self, gradient: Tensor, factor: Tensor) -> Tensor:
        scaled = super().modulated(gradient, factor)
        if not self.noise:
            return scaled
        deviation = gradient.flatten(1).std(1, correction=0)
        return scaled + torch.randn_like(gradient) * unsqueeze_like(deviation, gradient)
