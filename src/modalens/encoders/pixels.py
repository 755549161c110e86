"""Images uint8 (B, H, W, 3) -> features float16 (B, channel): the pixels themselves, for small pictures of one thing.

A network that was trained on photographs, or on nothing, tells less of a digit of 28 x 28 pixels than its pixels do.
"""

from typing import Any

import torch
from torch import Tensor

from modalens.encoders._base import Encoder
from modalens.encoders._pixels import scaled
from modalens.utils.errors import UserError

# ITU-R BT.601, of red, green, blue.
LUMA = (0.299, 0.587, 0.114)


class Pixels(Encoder):
    input = "images"
    axes = ("channel",)

    def __init__(self, device: torch.device, *, side: int = 0, grey: bool = True, batch_size: int = 256) -> None:
        """side: pixels that the square is scaled to, 0 for the size that it was decoded to; grey: one number a pixel
        (ITU-R BT.601) in place of red, green and blue. batch_size: pictures at once, memory only."""
        super().__init__(device)
        if side < 0:
            raise UserError(f"encoder pixels: options.side: expected at least 0, got {side}")
        self.side, self.grey, self.batch_size = side, grey, batch_size
        self.options: dict[str, Any] = {"side": side, "grey": grey}

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: uint8 (B, H, W, 3) RGB. Returns float16 (B, H W) or (B, 3 H W) from 0 to 1: row by row, and of a pixel
        its red, green and blue side by side."""
        values = scaled(batch.to(self.device).float(), self.side) / 255
        if self.grey:
            values = values @ torch.tensor(LUMA, device=self.device)
        return values.flatten(1).half()
