"""Majority vote. Source: Kittler et al. 1998, the majority vote rule."""

from collections.abc import Mapping

import torch
from torch import Tensor

from modalens.fusions._base import Fusion, Sizes, common_size


class Vote(Fusion):
    """Each modality votes for its likeliest class; the average distribution is one further vote, divided.

    y = (sum of one-hot(argmax p_m) + mean of p_m) / (M + 1), D = classes: a distribution whose largest entry is the
    majority's, and among equals the one of the higher average probability. A vote itself has no gradient; what flows
    back is that of the average. The paper does not say how ties are broken.
    """

    stages = ("late",)

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.size = common_size(sizes)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        decisions = torch.stack([features[name] for name in self.modalities])
        classes = torch.arange(self.size, device=decisions.device)
        votes = (decisions.argmax(2, keepdim=True) == classes).sum(0)
        return (votes + decisions.mean(0)) / (len(self.modalities) + 1)
