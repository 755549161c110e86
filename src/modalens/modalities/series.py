"""Series: readings over time (steps, channels) float32, from a CSV, NPY, NPZ, Parquet or multichannel WAV file."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from modalens.modalities._base import Array, Attempt, Modality
from modalens.utils.errors import UserError

LENGTHS, GAPS = ("cut", "stretch"), ("interpolate", "refuse")


class Series(Modality):
    form = "series"
    axes = ("time", "channel")
    source = "file"
    label = "Series"
    color = "#E69F00"
    blank_name = "zero"
    cells = ("steps", "filled")

    def __init__(
        self,
        *,
        channels: int,
        steps: int,
        rate: float = 0.0,
        source_rate: float = 0.0,
        length: str = "cut",
        gaps: str = "interpolate",
        names: Sequence[str] = (),
        time: str = "",
        array: str = "",
    ) -> None:
        """channels, steps: of a row.

        rate: steps a second that files are resampled to, by their column `time` (seconds), the rate of a WAV, or
        source_rate (steps a second of files that say nothing); 0 takes the steps as they are. length: "cut" ends longer
        series and fills shorter ones up with zeros; "stretch" resamples each whole series to `steps`.

        gaps: "interpolate" fills what is no number between its neighbours, and notes it (`filled`); "refuse" makes the
        clip fail. names: columns of a CSV or Parquet file; all but `time` where none is named. array: its name in an
        NPZ file of several.
        """
        if channels < 1 or steps < 1:
            raise UserError(f"series: channels and steps: expected at least 1, got {min(channels, steps)}")
        if rate < 0 or source_rate < 0:
            raise UserError(f"series: rate and source_rate: expected at least 0, got {min(rate, source_rate)}")
        if length not in LENGTHS:
            raise UserError(f"series: length: expected {' or '.join(LENGTHS)}, got {length!r}")
        if gaps not in GAPS:
            raise UserError(f"series: gaps: expected {' or '.join(GAPS)}, got {gaps!r}")
        if names and len(names) != channels:
            raise UserError(f"series: names: expected {channels}, one a channel, got {len(names)}")
        if rate and length == "stretch":
            raise UserError("series: rate: a series that is stretched has no rate; leave one of them out")
        self.channels, self.steps, self.rate, self.source_rate = channels, steps, float(rate), float(source_rate)
        self.length, self.gaps, self.names, self.time, self.array = length, gaps, list(names), time, array

    def attributes(self) -> dict[str, Any]:
        sizes = {"form": self.form, "steps": self.steps, "channels": self.channels}
        clock = {"rate": self.rate, "source_rate": self.source_rate, "length": self.length}
        return sizes | clock | {"gaps": self.gaps, "names": self.names, "time": self.time, "array": self.array}

    def attempts(self) -> list[Attempt]:
        from modalens.media.series import read_series

        clock = (self.rate, self.source_rate, self.length, self.gaps)
        return [(read_series, (self.channels, self.steps, *clock, self.names, self.time, self.array))]

    def blank(self) -> Array:
        return np.zeros((self.steps, self.channels), np.float32)

    def noise(self, draw: np.random.Generator) -> Array:
        """White noise of deviation 1: the unit of the readings is not known here."""
        return draw.standard_normal((self.steps, self.channels)).astype(np.float32)

    def show(self, row: Array) -> str:
        """Mean and deviation of each channel."""
        means, stds = row.mean(axis=0), row.std(axis=0)
        return ", ".join(f"{mean:.3g} ± {std:.2g}" for mean, std in zip(means, stds, strict=True))
