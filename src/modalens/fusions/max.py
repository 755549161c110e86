"""Maximum: of embeddings, or of decisions.

Source: one of the operators compared in doi 10.3390/electronics13122294; of decisions: Kittler et al. 1998, max rule.
"""

import torch
from torch import Tensor

from modalens.fusions._base import Elementwise


class Max(Elementwise):
    """y = the largest of out_m, entry by entry, D = width."""

    stages = ("intermediate", "late")

    def join(self, values: list[Tensor]) -> Tensor:
        return torch.stack(values).amax(0)
