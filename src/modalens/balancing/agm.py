"""Adaptive gradient modulation. Source: Li et al. 2023, arXiv 2308.07686."""

import torch
from torch import Tensor

from modalens.balancing._modulation import Modulation
from modalens.models import Features, Model
from modalens.utils.arguments import positive

# Of r*_m - r_m, a difference of exponentials: a modality that for once is far behind does not leap.
LARGEST_GAP = 1.0


class Agm(Modulation):
    """s_m = mean over the batch of -log softmax(m_m)[y], m_m the contribution of modality m to the logits;
    r_m = exp(mean of the others' s - s_m); r*_m the same of the running means of s over all batches so far;
    coefficient exp(alpha (r*_m - r_m)). So a modality that is further ahead than it used to be learns slower.

    The first batch has nothing before it: its coefficients are 1. Buffers: scores (M,), batches ().
    """

    scores: Tensor
    batches: Tensor

    def __init__(self, model: Model, *, alpha: float = 1.0, acts_on: str = "step") -> None:
        """alpha: the paper chooses it for each data set; 1 is ours, and so is the limit on the gap."""
        super().__init__(model, acts_on)
        self.alpha = positive("balancing.agm.alpha", alpha)
        self.register_buffer("scores", torch.zeros(len(self.modalities)))
        self.register_buffer("batches", torch.zeros(()))

    def coefficients(self, parts: Features, labels: Tensor) -> dict[str, Tensor]:
        rows = labels.unsqueeze(1)
        now = torch.stack([-parts[name].log_softmax(1).gather(1, rows).mean() for name in self.modalities])
        gap = (self.ratios(self.scores) - self.ratios(now)).clamp(max=LARGEST_GAP)
        found = torch.where(self.batches > 0, torch.exp(self.alpha * gap), 1.0)
        self.batches.add_(1)
        self.scores.add_((now - self.scores) / self.batches)
        return dict(zip(self.modalities, found.unbind(), strict=True))

    def ratios(self, scores: Tensor) -> Tensor:
        """(M,) -> r (M,)."""
        others = (scores.sum() - scores) / (len(self.modalities) - 1)
        return torch.exp(others - scores)
