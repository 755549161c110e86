"""Features that somebody else has made, in one file by clip id: HDF5 or Parquet -> a row of each clip."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modalens.media.failure_causes import ClipError
from modalens.utils.errors import UserError

LARGEST = float(np.finfo(np.float16).max)  # features are kept in half precision
ID = "clip_id"
Rows = dict[str, Any]


def read_features(clip_id: str, file: str, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], str]:
    """((...) of `shape`, name of the reader). Raises ClipError: no row, another shape, what is no number."""
    state = Path(file).stat()
    rows, reader = _opened(file, state.st_mtime_ns, state.st_size)
    if clip_id not in rows:
        raise ClipError("absent", f"{Path(file).name} has no row for this clip")
    try:
        values = np.asarray(rows[clip_id])
        if values.dtype == object:
            values = np.stack([np.asarray(part) for part in values])
        row = values.astype(np.float32)
    except (ValueError, TypeError) as error:
        raise ClipError("damaged", f"expected numbers: {error}") from error
    if values.dtype.kind not in "fiub":
        raise ClipError("damaged", f"expected numbers, got {values.dtype}")
    if row.shape != tuple(shape):
        raise ClipError("damaged", f"expected the shape {tuple(shape)} of the first row, got {row.shape}")
    if not np.isfinite(row).all():
        raise ClipError("damaged", f"{int((~np.isfinite(row)).sum())} of {row.size} values are no numbers")
    if np.abs(row).max(initial=0) > LARGEST:
        raise ClipError("damaged", f"a value is beyond {LARGEST:.0f}, the largest of half precision")
    return row, reader


def shape_of(file: str) -> tuple[int, ...]:
    """Of the first row. Raises UserError where the file is none of own features."""
    path = Path(file)
    if not path.is_file():
        raise UserError(f"features: not found: {file}; the path counts from {Path.cwd()}")
    try:
        rows, _ = _opened(file, path.stat().st_mtime_ns, path.stat().st_size)
        first = next(iter(rows.values()), None)
        if first is None:
            raise UserError(f"features: {file} holds no row")
        values = np.asarray(first)
        if values.dtype == object:
            values = np.stack([np.asarray(part) for part in values])
    except ClipError as error:
        raise UserError(f"features: {file}: {error.detail}") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"features: {file}: expected rows of numbers, of one shape: {error}") from error
    if values.dtype.kind not in "fiub" or not values.ndim or not values.size:
        raise UserError(f"features: {file}: expected rows of numbers, got {values.dtype} {values.shape}")
    return values.shape


@lru_cache(maxsize=2)
def _opened(file: str, *state: int) -> tuple[Rows, str]:
    """{clip id: row} and the reader's name. state: of the file, so that another one is read anew. Raises ClipError."""
    del state
    try:
        if Path(file).suffix.lower() in (".parquet", ".pq"):
            return _parquet(file), "parquet"
        return _hdf5(file), "hdf5"
    except (ClipError, MemoryError):
        raise
    except Exception as error:  # as the bytes would have it
        raise ClipError("damaged", f"{type(error).__name__}: {error}") from error


def _parquet(file: str) -> Rows:
    """A column clip_id and either one column of lists (of lists) or one column a number."""
    table = pd.read_parquet(file)
    if ID not in table:
        raise ClipError("unsupported", f"expected a column {ID}, got {', '.join(map(str, table.columns[:20]))}")
    ids, rest = table[ID].astype(str), table.drop(columns=ID)
    if ids.duplicated().any():
        raise ClipError("unsupported", f"{ids[ids.duplicated()].iloc[0]!r} is there twice")
    if rest.shape[1] == 1 and rest.iloc[:, 0].dtype == object:
        return dict(zip(ids, rest.iloc[:, 0], strict=True))
    return dict(zip(ids, rest.to_numpy(), strict=True))


def _hdf5(file: str) -> Rows:
    """Data sets `ids` or `clip_id` (N,) and `data` or `features` (N, ...), or a data set of its own for each clip."""
    opened = h5py.File(file, "r")  # stays open: a worker reads row after row
    for name in opened:
        if not isinstance(opened.get(name, getlink=True), h5py.HardLink):
            raise ClipError("unsupported", f"{name!r} lies in another file")
        one = opened[name]
        if isinstance(one, h5py.Dataset) and (one.external or one.is_virtual):
            raise ClipError("unsupported", f"{name!r} lies in another file")
    ids = next((opened[name] for name in ("ids", ID) if name in opened), None)
    data = next((opened[name] for name in ("data", "features") if name in opened), None)
    if ids is None and data is None:
        return {name: one for name, one in opened.items() if isinstance(one, h5py.Dataset)}
    if ids is None or data is None or ids.shape != data.shape[:1]:
        raise ClipError("unsupported", f"expected ids (N,) and data (N, ...), got {', '.join(opened)}")
    names = [text.decode() if isinstance(text, bytes) else str(text) for text in ids[:]]
    if len(set(names)) != len(names):
        raise ClipError("unsupported", "an id is there twice")
    return _Rows(names, data)


class _Rows(dict[str, Any]):
    """Rows of a data set, read when they are asked for."""

    def __init__(self, names: list[str], data: h5py.Dataset) -> None:
        super().__init__({name: place for place, name in enumerate(names)})
        self._data = data

    def __getitem__(self, name: str) -> Any:
        return self._data[super().__getitem__(name)]

    def values(self) -> Any:
        return (self[name] for name in self)
