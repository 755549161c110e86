"""Waveforms int16 (B, S) -> features float16 (B, time, channel): the front end of lip reading on sound, to be learnt
through: log-mel, its first and its second differences as a cube of time x mels x 3.

Source: the BalanceMLA paper, section 4.1.2, which has the cube of the log-spectrogram, and 4.2, which has the 3-D
convolution, ResNet-34 and the GRU. How the one goes into the other it does not say: here each step is a picture of
mels x 3, so that the kernels reach over 5 steps, 7 bands and all three.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalens.encoders._front_end import FrontEndEncoder
from modalens.encoders.log_mel import log_mels, spectrogram
from modalens.utils.errors import UserError


class CubeNetwork(FrontEndEncoder):
    input = "waveforms"
    expected: ClassVar[dict[str, Any]] = {"sample_rate": 16_000}

    def __init__(self, device: torch.device, *, mels: int = 64, hop: int = 160, **options: Any) -> None:
        """mels, hop: as of `log_mel`. options: those of `lip_network`."""
        _check_sizes(mels, hop)
        self._sizes = {"mels": mels, "hop": hop}
        super().__init__(device, **options)
        self.options |= self._sizes

    @classmethod
    def check(cls, **options: Any) -> None:
        _check_sizes(options["mels"], options["hop"])
        super().check(**{name: value for name, value in options.items() if name not in ("mels", "hop")})

    def prepared(self) -> nn.Module:
        return Cube(**self._sizes)


def _check_sizes(mels: int, hop: int) -> None:
    for name, value in (("mels", mels), ("hop", hop)):
        if value < 1:
            raise UserError(f"encoder cube_network: options.{name}: expected at least 1, got {value}")


class Cube(nn.Module):
    """int16 (B, S) -> (B, time, mels, 3)."""

    def __init__(self, mels: int, hop: int) -> None:
        super().__init__()
        self.power = spectrogram(mels, hop)

    def forward(self, waveforms: Tensor) -> Tensor:
        # The logarithm of a sum in half precision is coarse.
        with torch.autocast(waveforms.device.type, enabled=False):
            return torch.stack(log_mels(self.power, waveforms, 2), -1).movedim(1, 2)
