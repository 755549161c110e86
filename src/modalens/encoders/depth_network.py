"""Depth uint16 (B, T, H, W) in millimetres -> features float16 (B, T, channel): any picture network by name on each
frame as a grey picture, frozen.

The picture is ours: near is bright, far is dark and unseen is black.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modalens.encoders.image_network import ImageNetwork
from modalens.utils.errors import UserError


class DepthNetwork(ImageNetwork):
    input = "depth"
    axes: tuple[str, ...] = ("time", "channel")

    def __init__(
        self,
        device: torch.device,
        *,
        near: float = 500.0,
        far: float = 5000.0,
        batch_size: int = 8,
        **options: Any,
    ) -> None:
        """near, far: millimetres that become white and black; a depth camera sees from half a metre to five.
        batch_size: clips at once. options: those of `image_network`.
        """
        if not 0 <= near < far:
            raise UserError(f"encoder depth_network: options.near, far: expected 0 <= near < far, got {near} and {far}")
        super().__init__(device, batch_size=batch_size, **options)
        self.options |= {"near": near, "far": far}
        self._near, self._far = near, far

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: uint16 (B, T, H, W), 0 where nothing was seen. Returns float16 (B, T, channel) on the device."""
        return super().encode(batch.to(self.device))

    def _features(self, run: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        pictures = as_pictures(batch.float(), self._near, self._far)
        return super()._features(run, pictures.flatten(0, 1)).unflatten(0, batch.shape[:2])


def as_pictures(depth: Tensor, near: float, far: float) -> Tensor:
    """(..., H, W) millimetres -> (..., H, W, 3) from 0 to 255: near is white, far black; 0, which is unseen, too."""
    bright = ((far - depth) / (far - near)).clamp(0, 1) * 255
    return torch.where(depth > 0, bright, 0.0)[..., None].expand(*depth.shape, 3)
