"""Tensors by name, the first axis of seeds that they may have, and modules that are only asked."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]


def index_seeds(tensors: Tensors, places: Tensor) -> Tensors:
    """{name: (S, ...)} at some places of the first axis."""
    return {name: values.index_select(0, places) for name, values in tensors.items()}


def unsqueeze_like(values: Tensor, like: Tensor) -> Tensor:
    """(S,) -> (S, 1, ..., 1), to be multiplied with (S, ...)."""
    return values.view(-1, *[1] * (like.dim() - 1))


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, without a gradient, and then as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
