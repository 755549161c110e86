"""Arrays in files: NPY, NPZ, CSV, Parquet, WAV. Nothing in them is run, and what is no number is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modalens.media.failure_causes import ClipError
from modalens.utils import csv_input
from modalens.utils.errors import UserError

MISSING = ("", "nan", "na", "n/a", "null", "none")
EMPTY = ("is empty", "has a header and no rows")
Numbers = NDArray[np.float64]


def numpy_array(path: Path, name: str) -> NDArray[np.generic]:
    """The array of an NPY, or the one called `name` (the only one if "") of an NPZ. Raises ClipError."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            wanted = name or (loaded.files[0] if len(loaded.files) == 1 else "")
            if wanted not in loaded.files:
                asked = f"array {name!r}" if name else "one array, or its name in `array`"
                raise ClipError("unsupported", f"{path.name}: expected {asked}, got {', '.join(loaded.files)}")
            found: NDArray[np.generic] = loaded[wanted]
            return found
    except (ClipError, MemoryError):
        raise
    except Exception as error:  # zip, header and numbers each fail in their own words
        raise ClipError("damaged", f"{path.name}: {type(error).__name__}: {error}") from error


def columns_of(path: Path, names: list[str], time: str) -> tuple[Numbers, Numbers | None]:
    """CSV or Parquet -> ((steps, channels), (steps,) seconds or None). names: of the channels, all but `time` if none.

    Empty cells are NaN. Raises ClipError for a column that is not there or holds what is no number.
    """
    table = _parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _csv(path)
    wanted = names or [str(name) for name in table.columns if str(name) != time]
    for name in [*wanted, *([time] if time else [])]:
        if name not in table:
            there = ", ".join(map(str, table.columns[:20]))
            raise ClipError("unsupported", f"{path.name}: expected a column {name!r}, got {there}")
    values = np.stack([_numbers(table[name], path) for name in wanted], axis=1) if wanted else np.zeros((len(table), 0))
    return values, _numbers(table[time], path) if time else None


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except MemoryError:
        raise
    except Exception as error:
        raise ClipError("damaged", f"{path.name}: {type(error).__name__}: {error}") from error


def _csv(path: Path) -> pd.DataFrame:
    try:
        table = csv_input.read(str(path))
    except UserError as error:
        cause = "absent" if str(error).endswith(EMPTY) else "damaged"
        raise ClipError(cause, str(error).replace(str(path), path.name)) from error
    # A line without a value is a step that nobody read, and not none.
    return table.reindex(range(table.index[0], table.index[-1] + 1), fill_value="")


def _numbers(column: "pd.Series[Any]", path: Path) -> Numbers:
    if column.dtype == object or pd.api.types.is_string_dtype(column):
        text = column.astype(str).str.strip()
        column = text.where(~text.str.lower().isin(MISSING), "nan")
    values = pd.to_numeric(column, errors="coerce")
    wrong = values.isna() & (column != "nan") & column.notna()
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise ClipError("damaged", f"{path.name}: {column.name}: {column.iloc[row]!r} in row {row + 1} is no number")
    return values.to_numpy(np.float64)


def wav(path: Path) -> tuple[Numbers, float]:
    """((samples, channels), samples a second); whole numbers become parts of full scale. Raises ClipError."""
    from scipy.io import wavfile

    try:
        rate, samples = wavfile.read(path)
    except MemoryError:
        raise
    except Exception as error:
        raise ClipError("damaged", f"{path.name}: {type(error).__name__}: {error}") from error
    samples = samples[:, None] if samples.ndim == 1 else samples
    if samples.dtype == np.uint8:
        return (samples.astype(np.float64) - 128) / 128, float(rate)
    scale = -float(np.iinfo(samples.dtype).min) if samples.dtype.kind == "i" else 1.0
    return samples.astype(np.float64) / scale, float(rate)
