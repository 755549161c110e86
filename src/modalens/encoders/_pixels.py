"""Networks of pixels as encoders run them: a batch of pictures or of clips, uint8 RGB -> features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from modalens.encoders._networks import autocast

# Mean and standard deviation of ImageNet's RGB in [0, 1], what most published weights were trained with.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class PixelNetwork:
    """A frozen network and what its weights were trained to see.

    network: normalised pixels, (N, 3, H, W) of pictures or (N, 3, T, H, W) of clips, -> (N, channel), or (N, channel,
    height, width) where it keeps places. weights: identity. mean, std: of RGB in [0, 1]. side: pixels that it was
    trained with, to which squares are scaled; 0 takes them as they are.
    """

    network: nn.Module
    weights: str
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    side: int = 0
    bicubic: bool = False

    def prepare(self, device: torch.device, precision: str) -> Callable[[Tensor], Tensor]:
        """(N, H, W, 3) or (N, T, H, W, 3), uint8 or float from 0 to 255 -> what the network gives, on the device."""
        whole: Any = self.module().eval().requires_grad_(False).to(device)
        if all(values.dim() < 5 for values in whole.parameters()):
            whole = whole.to(memory_format=torch.channels_last)

        def run(pixels: Tensor) -> Tensor:
            values = whole.normalised(pixels.to(device, non_blocking=True))
            with autocast(precision, device):
                found: Tensor = whole.network(values)
            return found

        return run

    def module(self) -> "Pixels":
        """The network behind its scaling and normalisation, which gradients flow through."""
        return Pixels(self)


class Pixels(nn.Module):
    """(N, H, W, 3) or (N, T, H, W, 3), uint8 or float from 0 to 255 -> what the network gives."""

    mean: Tensor
    scale: Tensor

    def __init__(self, found: PixelNetwork) -> None:
        super().__init__()
        self.network = found.network
        self._side, self._bicubic = found.side, found.bicubic
        self.register_buffer("mean", torch.tensor(list(found.mean)).mul(255), persistent=False)
        self.register_buffer("scale", torch.tensor(list(found.std)).mul(255).reciprocal(), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        # Not channels-last: there oneDNN's gradient of a 1 x 1 convolution of 3 channels with a stride, which MobileOne
        # begins with, is wrong and writes past its memory (uxlfoundation/oneDNN issue 6035).
        found: Tensor = self.network(self.normalised(pixels).contiguous())
        return found

    def normalised(self, pixels: Tensor) -> Tensor:
        """(N, ..., 3) -> (N, 3, ...)."""
        values = scaled(pixels.float(), self._side, bicubic=self._bicubic)
        # A permuted (N, H, W, 3) already lies in memory as channels-last (N, 3, H, W) does.
        return ((values - self.mean) * self.scale).movedim(-1, 1)


def scaled(pixels: Tensor, side: int, *, bicubic: bool = False) -> Tensor:
    """(..., H, W, 3) -> (..., side, side, 3), with antialiasing; side 0 leaves them as they are."""
    if not side or pixels.shape[-3:-1] == (side, side):
        return pixels
    pictures = pixels.flatten(0, -4).movedim(-1, 1)
    mode = "bicubic" if bicubic else "bilinear"
    found = interpolate(pictures, (side, side), mode=mode, antialias=True).clamp(0, 255)
    return found.movedim(1, -1).unflatten(0, pixels.shape[:-3])


class Output(nn.Module):
    """What one function makes of a network and its input: networks of libraries do not all give a tensor."""

    def __init__(self, network: nn.Module, read: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self._read = network, read

    def forward(self, values: Tensor) -> Tensor:
        return self._read(self.network, values)
