"""Frames uint8 (B, T, H, W, 3) -> features float16 (B, time, channel): the front end of lip reading, to be learnt
through.

A 3-D convolution over neighbouring frames, a residual network on each, a bidirectional GRU over all. In grey, as the
BalanceMLA paper has its mouth regions of 80 x 80; `decode: {region: mouth, crop: 80}` of the modality cuts them out.
"""

import torch
from torch import Tensor, nn

from modalens.encoders._front_end import FrontEndEncoder
from modalens.encoders.pixels import LUMA

MIDDLE = 127.5  # of 0 to 255


class LipNetwork(FrontEndEncoder):
    input = "frames"

    def prepared(self) -> nn.Module:
        return Grey()


class Grey(nn.Module):
    """(B, T, H, W, 3) from 0 to 255 -> (B, T, H, W) from -1 to 1."""

    luma: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("luma", torch.tensor(LUMA), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        grey = (frames.float() * self.luma).sum(-1)
        return grey / MIDDLE - 1
