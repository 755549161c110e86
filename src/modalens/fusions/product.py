"""Product: of embeddings, or of decisions.

Source: one of the operators compared in doi 10.3390/electronics13122294; of decisions: Kittler et al. 1998, product
rule, priors being equal.
"""

from functools import reduce

import torch
from torch import Tensor

from modalens.fusions._base import Elementwise


class Product(Elementwise):
    """y = product of out_m, entry by entry, D = width."""

    stages = ("intermediate", "late")

    def join(self, values: list[Tensor]) -> Tensor:
        # Not torch.prod: its gradient counts the zeros among the factors, and a GPU is waited for until it has.
        return reduce(torch.mul, values)
