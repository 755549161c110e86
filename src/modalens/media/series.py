"""Readings over time from a file -> (steps, channels) at a stated rate and of a stated length."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modalens.media import array_file
from modalens.media.failure_causes import ClipError, note
from modalens.media.local_file import only_path

Numbers = NDArray[np.float64]
LARGEST = float(np.finfo(np.float32).max)


def read_series(
    cell: str,
    channels: int,
    steps: int,
    rate: float,
    source_rate: float,
    length: str,
    gaps: str,
    names: list[str],
    time: str,
    array: str,
) -> tuple[NDArray[np.float32], str, int, int]:
    """((steps, channels), name of the reader, steps that the file gave, values that were filled). Raises ClipError.

    The options are those of the modality.
    """
    path = only_path(cell)
    values, seconds, reader = _read(path, names, time, array, source_rate)
    if not len(values):
        raise ClipError("absent", f"{path.name} holds no step")
    if values.shape[1] != channels:
        raise ClipError("damaged", f"{path.name}: expected {channels} channels, got {values.shape[1]}")
    if seconds is not None and (np.isnan(seconds).any() or (np.diff(seconds) <= 0).any()):
        raise ClipError("damaged", f"{path.name}: times must rise from step to step")
    filled = _fill(values, gaps, path)
    if length == "stretch":
        fitted = _at(values, np.linspace(0, len(values) - 1, steps), (len(values) - 1) / max(steps - 1, 1))
    elif rate and seconds is not None:
        ticks = np.interp(seconds[0] + np.arange(steps) / rate, seconds, np.arange(len(values)))
        inside = int(np.floor((seconds[-1] - seconds[0]) * rate + 1e-6)) + 1
        fitted = _at(values, ticks[:inside], (len(values) - 1) / max((seconds[-1] - seconds[0]) * rate, 1e-9))
    else:
        fitted = values[:steps]
    row = np.zeros((steps, channels), np.float32)
    row[: len(fitted)] = fitted[:steps]
    return row, reader, len(values), filled


def _read(path: Path, names: list[str], time: str, array: str, rate: float) -> tuple[Numbers, Numbers | None, str]:
    """((steps, channels), (steps,) seconds or None, name of the reader)."""
    kind = path.suffix.lower()
    if kind == ".wav":
        values, rate = array_file.wav(path)
    elif kind in (".npy", ".npz"):
        loaded = array_file.numpy_array(path, array)
        if loaded.dtype.kind not in "fiub" or loaded.ndim < 1:
            raise ClipError("unsupported", f"{path.name}: expected numbers by step, got {loaded.dtype} {loaded.shape}")
        # What has more axes, joints with three coordinates for one, has as many channels as they hold numbers.
        values = loaded.astype(np.float64).reshape(len(loaded), -1) if len(loaded) else np.zeros((0, 1))
    elif kind in (".csv", ".tsv", ".txt", ".parquet", ".pq"):
        values, seconds = array_file.columns_of(path, names, time)
        if seconds is not None:
            return values, seconds, kind[1:]
    else:
        raise ClipError("unsupported", f"{path.name}: expected CSV, NPY, NPZ, Parquet or WAV")
    return values, np.arange(len(values)) / rate if rate else None, kind[1:]


def _fill(values: Numbers, gaps: str, path: Path) -> int:
    """Interpolate, in place, what is no finite float32; how many values that were. Raises ClipError."""
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(values) <= LARGEST)
    count = int(bad.sum())
    if not count:
        return 0
    if gaps == "refuse":
        raise ClipError("damaged", f"{path.name}: {count} of {bad.size} values are no numbers")
    if (empty := np.flatnonzero(bad.all(axis=0))).size:
        raise ClipError("damaged", f"{path.name}: channel {empty[0]} holds no number")
    places = np.arange(len(values))
    for channel in np.flatnonzero(bad.any(axis=0)):
        good = ~bad[:, channel]
        values[~good, channel] = np.interp(places[~good], places[good], values[good, channel])
    note("filled", f"{count} of {bad.size} values")
    return count


def _at(values: Numbers, ticks: Numbers, step: float) -> Numbers:
    """(steps, channels) at places between steps: linear, or means over `step` steps where that is more than one, so
    that what is too fast for the new rate does not turn up as something slow."""
    places = np.arange(len(values))
    if step <= 1 or len(values) < 2:
        return np.stack([np.interp(ticks, places, channel) for channel in values.T], axis=1)
    # The mean is a difference of the integral of the line through the steps.
    area = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum((values[1:] + values[:-1]) / 2, axis=0)])
    low, high = np.clip(ticks - step / 2, 0, places[-1]), np.clip(ticks + step / 2, 0, places[-1])
    return (_integral(values, area, high) - _integral(values, area, low)) / (high - low)[:, None]


def _integral(values: Numbers, area: Numbers, places: Numbers) -> Numbers:
    """Of the line through the steps from the first one to each place, exactly: (steps, channels)."""
    whole = np.minimum(places.astype(int), len(values) - 2)
    part = (places - whole)[:, None]
    found: Numbers = area[whole] + values[whole] * part + (values[whole + 1] - values[whole]) * part**2 / 2
    return found
