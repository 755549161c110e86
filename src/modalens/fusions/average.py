"""Average: of embeddings, or of decisions.

Source: one of the operators compared in doi 10.3390/electronics13122294; of decisions: Kittler et al. 1998, sum rule.
"""

import torch
from torch import Tensor

from modalens.fusions._base import Elementwise


class Average(Elementwise):
    """y = sum of out_m / M, D = width."""

    stages = ("intermediate", "late")

    def join(self, values: list[Tensor]) -> Tensor:
        return torch.stack(values).mean(0)
