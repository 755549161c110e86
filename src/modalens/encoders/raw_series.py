"""Series (B, T, C) -> the same as features (B, time, channel): models learn their own representation of them.

Late fusion sees the order of more than 15 steps by a convolution; `options: {sequences: {NAME: mean}}` or `lstm`, NAME
being the modality, is otherwise.
"""

from typing import ClassVar

import torch
from torch import Tensor

from modalens.encoders._base import Encoder


class RawSeries(Encoder):
    input = "series"
    axes = ("time", "channel")
    dtype: ClassVar[str] = "float32"  # readings may be beyond half precision

    def __init__(self, device: torch.device, *, batch_size: int = 256) -> None:
        """batch_size: clips at once, memory only."""
        super().__init__(device)
        self.batch_size = batch_size

    def encode(self, batch: Tensor) -> Tensor:
        """batch: float32 (B, T, C) in the units of the file."""
        return batch.float()
