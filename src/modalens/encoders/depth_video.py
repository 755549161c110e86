"""Depth uint16 (B, T, H, W) in millimetres -> features float16 (B, channel): any video network by name on whole clips,
each frame as a grey picture, frozen.

The picture is that of `depth_network`: near is bright, far is dark and unseen is black.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modalens.encoders.depth_network import as_pictures
from modalens.encoders.video_network import VideoNetwork
from modalens.utils.errors import UserError


class DepthVideo(VideoNetwork):
    input = "depth"

    def __init__(
        self,
        device: torch.device,
        *,
        near: float = 500.0,
        far: float = 5000.0,
        **options: Any,
    ) -> None:
        """near, far: millimetres that become white and black; a depth camera sees from half a metre to five. options:
        those of `video_network`.
        """
        if not 0 <= near < far:
            raise UserError(f"encoder depth_video: options.near, far: expected 0 <= near < far, got {near} and {far}")
        super().__init__(device, **options)
        self.options |= {"near": near, "far": far}
        self._near, self._far = near, far

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: uint16 (B, T, H, W), 0 where nothing was seen. Returns float16 (B, channel) on the device."""
        return super().encode(batch.to(self.device))

    def _features(self, run: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        return super()._features(run, as_pictures(batch.float(), self._near, self._far))
