"""Features of one's own (B, ...) -> the same as float16, with the axes that the config names."""

from collections.abc import Sequence

import torch
from torch import Tensor

from modalens.encoders._base import Encoder
from modalens.utils.errors import UserError


class Given(Encoder):
    input = "features"

    def __init__(self, device: torch.device, *, axes: Sequence[str] = ("channel",)) -> None:
        """axes: of a clip's row, in order, such as `[time, channel]`."""
        super().__init__(device)
        if not axes or len(set(axes)) != len(axes):
            raise UserError(f"encoder given: axes: expected names of their own, got {list(axes)}")
        self.axes = tuple(axes)
        self.options = {"axes": list(axes)}

    def encode(self, batch: Tensor) -> Tensor:
        return batch.half()
