"""Waveforms int16 (B, S) -> log-mel spectrograms float16 (B, mels, S // hop + 1), their differences over time below.

Source: the seed paper names log-mel spectrograms of 16 kHz mono audio and no setting of theirs; window, hop and number
of mels are those usual for AudioSet models (25 ms, 10 ms, 64).
"""

from typing import Any, ClassVar

import torch
import torchaudio
from torch import Tensor, nn

from modalens.encoders._base import Encoder
from modalens.utils.errors import UserError

SAMPLE_RATE = 16_000
WINDOW = 400  # samples: 25 ms
FFT = 512  # the next power of two: no mel filter is left without a frequency bin at 64 mels
HOP = 160  # samples: 10 ms
MELS = 64
FULL_SCALE = 32_768  # int16 -> [-1, 1)
FLOOR = 1e-6  # power added before the logarithm: silence is log(FLOOR) everywhere
DIFFERENCE_STEPS = 5  # that a difference is fitted over, two to each side, as HTK does


class LogMel(Encoder):
    input = "waveforms"
    axes = ("mel", "time")
    expected: ClassVar[dict[str, Any]] = {"sample_rate": 16_000}

    def __init__(
        self, device: torch.device, *, mels: int = MELS, hop: int = HOP, differences: int = 0, batch_size: int = 64
    ) -> None:
        """mels: frequency bands up to 8 kHz. hop: samples between steps. differences: 1 adds the slope of each band
        over time as `mels` more rows, 2 the slope of the slope too. batch_size: clips at once, memory only."""
        super().__init__(device)
        if differences not in (0, 1, 2):
            raise UserError(f"encoder log_mel: options.differences: expected 0, 1 or 2, got {differences}")
        for name, value in {"mels": mels, "hop": hop, "batch_size": batch_size}.items():
            if value < 1:
                raise UserError(f"encoder log_mel: options.{name}: expected at least 1, got {value}")
        self.options: dict[str, Any] = {"mels": mels, "hop": hop}
        if differences:
            # Rows from before there was a choice have none.
            self.options["differences"] = differences
        self.batch_size = batch_size
        self._differences = differences
        self._spectrogram = spectrogram(mels, hop).to(device)

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: int16 (B, S) at 16 kHz. Returns float16 (B, mels * (1 + differences), S // hop + 1): the natural
        logarithm of power, then its differences a step."""
        waveforms = batch.to(self.device, non_blocking=True)
        return torch.cat(log_mels(self._spectrogram, waveforms, self._differences), 1).half()


def spectrogram(mels: int, hop: int) -> nn.Module:
    """(B, S) from -1 to 1 -> power (B, mels, S // hop + 1)."""
    found: nn.Module = torchaudio.transforms.MelSpectrogram(
        sample_rate=SAMPLE_RATE, n_fft=FFT, win_length=WINDOW, hop_length=hop, n_mels=mels
    )
    return found


def log_mels(power: nn.Module, waveforms: Tensor, differences: int) -> list[Tensor]:
    """int16 (B, S) -> the logarithm of power (B, mels, S // hop + 1), then so many of its differences over time."""
    parts = [(power(waveforms.float() / FULL_SCALE) + FLOOR).log()]
    for _ in range(differences):
        parts.append(torchaudio.functional.compute_deltas(parts[-1], DIFFERENCE_STEPS))
    return parts
