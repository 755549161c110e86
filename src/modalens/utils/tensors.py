"""Tensors by name, and the first axis of seeds that they may have."""

from torch import Tensor

Tensors = dict[str, Tensor]


def index_seeds(tensors: Tensors, places: Tensor) -> Tensors:
    """{name: (S, ...)} at some places of the first axis."""
    return {name: values.index_select(0, places) for name, values in tensors.items()}


def unsqueeze_like(values: Tensor, like: Tensor) -> Tensor:
    """(S,) -> (S, 1, ..., 1), to be multiplied with (S, ...)."""
    return values.view(-1, *[1] * (like.dim() - 1))
