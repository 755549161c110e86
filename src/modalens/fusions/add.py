"""Addition. Source: one of the operators compared in doi 10.3390/electronics13122294."""

import torch
from torch import Tensor

from modalens.fusions._base import Elementwise


class Add(Elementwise):
    """y = sum of out_m, D = width."""

    stages = ("intermediate",)

    def join(self, values: list[Tensor]) -> Tensor:
        return torch.stack(values).sum(0)
