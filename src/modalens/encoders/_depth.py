"""Depth as grey pictures: what networks of pictures and of clips are given of it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modalens.encoders._base import Encoder
from modalens.plugins.registry import public_name
from modalens.utils.errors import UserError


class DepthPictures(Encoder):
    """Before an encoder of frames among a class's bases: each frame as a grey picture. The picture is ours: near is
    bright, far is dark and unseen is black."""

    input = "depth"

    def __init__(self, device: torch.device, *, near: float = 500.0, far: float = 5000.0, **options: Any) -> None:
        """near, far: millimetres that become white and black; a depth camera sees from half a metre to five. options:
        those of the encoder of frames.
        """
        if not 0 <= near < far:
            raise UserError(
                f"encoder {public_name(type(self).__name__)}: options.near, far: expected 0 <= near < far, got {near} "
                f"and {far}"
            )
        super().__init__(device, **options)
        self.options |= {"near": near, "far": far}
        self._near, self._far = near, far

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: uint16 (B, T, H, W), 0 where nothing was seen. Returns float16 on the device."""
        return super().encode(batch.to(self.device))

    def _features(self, run: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        found: Tensor = super()._features(run, as_pictures(batch.float(), self._near, self._far))  # type: ignore[misc]
        return found


def as_pictures(depth: Tensor, near: float, far: float) -> Tensor:
    """(..., H, W) millimetres -> (..., H, W, 3) from 0 to 255: near is white, far black; 0, which is unseen, too."""
    bright = ((far - depth) / (far - near)).clamp(0, 1) * 255
    return torch.where(depth > 0, bright, 0.0)[..., None].expand(*depth.shape, 3)
