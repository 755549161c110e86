"""Series float32 (B, T, C) -> features float32 (B, 8 C): statistics of each channel over time.

Mean, deviation, smallest and largest value, quartiles, and the mean absolute difference between neighbouring steps,
which is the only one that sees their order.
"""

from typing import ClassVar

import torch
from torch import Tensor

from modalens.encoders._base import Encoder

QUARTILES = (0.25, 0.5, 0.75)


class SeriesStatistics(Encoder):
    input = "series"
    axes = ("channel",)
    dtype: ClassVar[str] = "float32"  # readings may be beyond half precision

    def __init__(self, device: torch.device, *, batch_size: int = 256) -> None:
        """batch_size: clips at once, memory only."""
        super().__init__(device)
        self.batch_size = batch_size

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: float32 (B, T, C) in the units of the file. Returns (B, 8 C): all channels' means first, then their
        deviations, minima, maxima, quartiles, and mean absolute steps (0 of a series of one step)."""
        values = batch.to(self.device).float()
        quartiles = torch.quantile(values, torch.tensor(QUARTILES, device=self.device), dim=1)
        steps = values.diff(dim=1).abs().sum(1) / max(values.shape[1] - 1, 1)
        parts = [values.mean(1), values.std(1, correction=0), values.amin(1), values.amax(1), *quartiles, steps]
        return torch.cat(parts, 1)
