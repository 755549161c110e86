"""Modality dropout: the model learns on clips that lack a modality. Source: Neverova et al. 2016, arXiv 1501.00102."""

import torch
from torch import Tensor

from modalens.balancing._base import Balancing
from modalens.models import Features, Model
from modalens.utils.errors import UserError


class ModalityDropout(Balancing):
    """While learning, each modality of a clip is withheld at `rate`, independently, but never all of them: where chance
    would have it so, one stays, each as likely. So a modality is missing in rate - rate^M / M of the clips.

    Withheld is replaced by the training mean, 0 once standardised. What teachers say of a clip is said of the whole
    one.
    """

    targets_learnt = ("classes", "regression", "multilabel")

    def __init__(self, model: Model, *, rate: float = 0.2) -> None:
        """rate: ours; the paper's depends on the modality."""
        super().__init__(model)
        if not 0 <= rate <= 1:
            raise UserError(f"balancing.modality_dropout.rate: expected a number from 0 to 1, got {rate}")
        self.rate = rate

    def loss(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        if not self.training:
            return self.model.loss(features, labels)
        withheld = dropped(torch.rand(len(labels), len(self.modalities), device=labels.device), self.rate)
        given = dict(features)
        for name, missing in zip(self.modalities, withheld.unbind(1), strict=True):
            own = self.model.read(name, given[name])
            wide = missing.view(-1, *[1] * (own.dim() - 1))
            given[name] = torch.where(wide, self.model.training_mean(name), own)
        return self.model.loss(given, labels)


def dropped(draws: Tensor, rate: float) -> Tensor:
    """draws: (B, M), uniform in [0, 1) -> (B, M), true where it is to be withheld."""
    # The largest draw stays: it is the first to be at or above the rate, and any modality's with the same chance.
    return (draws < rate) & (draws < draws.amax(1, keepdim=True))
