"""Waveforms int16 (B, S) -> log-mel spectrograms float16 (B, mels, S // hop + 1).

Source: the seed paper names log-mel spectrograms of 16 kHz mono audio and no setting of theirs; window, hop and number
of mels are those usual for AudioSet models (25 ms, 10 ms, 64).
"""

from typing import Any

import torch
import torchaudio
from torch import Tensor

from modalens.encoders._base import Encoder

SAMPLE_RATE = 16_000
WINDOW = 400  # samples: 25 ms
FFT = 512  # the next power of two: no mel filter is left without a frequency bin at 64 mels
HOP = 160  # samples: 10 ms
MELS = 64
FULL_SCALE = 32_768  # int16 -> [-1, 1)
FLOOR = 1e-6  # power added before the logarithm: silence is log(FLOOR) everywhere


class LogMel(Encoder):
    input = "waveforms"
    axes = ("mel", "time")

    def __init__(self, device: torch.device, *, mels: int = MELS, hop: int = HOP, batch_size: int = 64) -> None:
        """mels: frequency bands up to 8 kHz. hop: samples between steps. batch_size: clips at once, memory only."""
        self.options: dict[str, Any] = {"mels": mels, "hop": hop}
        self.batch_size = batch_size
        self._device = device
        self._spectrogram = torchaudio.transforms.MelSpectrogram(
            sample_rate=SAMPLE_RATE, n_fft=FFT, win_length=WINDOW, hop_length=hop, n_mels=mels
        ).to(device)

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: int16 (B, S) at 16 kHz. Returns float16 (B, mels, S // hop + 1), natural logarithm of power."""
        waveforms = batch.to(self._device, non_blocking=True).float() / FULL_SCALE
        return (self._spectrogram(waveforms) + FLOOR).log().half()
