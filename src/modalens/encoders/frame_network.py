"""Frames uint8 (B, T, H, W, 3) -> features float16 (B, T, channel): any picture network by name on each frame, frozen.

As `image_network`, of which it has the options, on every frame by itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modalens.encoders.image_network import ImageNetwork


class FrameNetwork(ImageNetwork):
    input = "frames"
    axes: tuple[str, ...] = ("time", "channel")

    def __init__(self, device: torch.device, *, batch_size: int = 8, **options: Any) -> None:
        """batch_size: clips at once. options: those of `image_network`."""
        super().__init__(device, batch_size=batch_size, **options)

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: uint8 (B, T, H, W, 3) RGB. Returns float16 (B, T, channel), or (B, T, height, width, channel)."""
        return super().encode(batch)

    def _features(self, run: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        return super()._features(run, batch.flatten(0, 1)).unflatten(0, batch.shape[:2])
