"""All HDF5: arrays by clip id, checksummed chunks, atomic rename, constants in the attributes.

Layout of a file: `ids` (N,) strings, `data` (N, ...) one chunk a clip, `data.attrs` / file attributes JSON values.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from modalens.cli import UserError, atomic

Array = NDArray[Any]

BLOCK_BYTES = 64 * 2**20  # read at once, so that memory holds the wanted rows and little more


class Writer:
    """Appends rows; the file appears under its name when the `write` block ends well."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._ids: list[str] = []
        self._data: h5py.Dataset | None = None

    def append(self, clip_id: str, row: Array) -> None:
        """row: (...) of the same shape and dtype for every clip."""
        if self._data is None:
            self._data = self._file.create_dataset(
                "data", (0, *row.shape), row.dtype, maxshape=(None, *row.shape), chunks=(1, *row.shape), fletcher32=True
            )
        count = len(self._ids)
        self._data.resize(count + 1, axis=0)
        self._data[count] = row
        self._ids.append(clip_id)

    def _finish(self) -> None:
        if len(set(self._ids)) != len(self._ids):
            raise ValueError("a clip id was written twice")
        self._file.create_dataset("ids", data=np.array(self._ids, dtype=object), dtype=h5py.string_dtype())


@contextlib.contextmanager
def write(path: str | Path, attributes: dict[str, Any]) -> Iterator[Writer]:
    """Write arrays by clip id. attributes: JSON values that name what the rows were made with."""
    with atomic(path) as hidden, h5py.File(hidden, "w") as file:
        for name, value in attributes.items():
            file.attrs[name] = json.dumps(value, sort_keys=True)
        writer = Writer(file)
        yield writer
        writer._finish()


def attributes(path: str | Path) -> dict[str, Any]:
    with _open(path) as file:
        return {name: json.loads(value) for name, value in file.attrs.items()}


def ids(path: str | Path) -> list[str]:
    with _open(path) as file:
        return [text.decode() for text in file["ids"][:]]


def read(path: str | Path, wanted: Sequence[str] | None = None) -> Array:
    """Rows of `wanted` ids in that order (all when None): (N, ...). Raises UserError: absent id, damaged file."""
    with _open(path) as file:
        present = [text.decode() for text in file["ids"][:]]
        if "data" not in file:
            if wanted:
                raise UserError(f"{path} holds no clip, {wanted[0]!r} was asked for")
            return np.empty((0,))
        if wanted is None:
            return np.asarray(file["data"][:])
        position = {clip_id: index for index, clip_id in enumerate(present)}
        missing = [clip_id for clip_id in wanted if clip_id not in position]
        if missing:
            raise UserError(f"{path} lacks {len(missing)} of {len(wanted)} clips, first {missing[0]!r}")
        order = np.array([position[clip_id] for clip_id in wanted], dtype=np.int64)
        data = file["data"]
        rows = np.empty((len(order), *data.shape[1:]), data.dtype)
        # By blocks, of which the wanted rows are taken: h5py asked for single rows takes ten times as long.
        step = max(1, BLOCK_BYTES // max(1, rows[:1].nbytes))
        block = order // step
        for number in np.unique(block):
            here = np.flatnonzero(block == number)
            first, last = order[here].min(), order[here].max()
            rows[here] = data[first : last + 1][order[here] - first]
        return rows


def batches(path: str | Path, size: int) -> Iterator[tuple[list[str], Array]]:
    """Walk a file in memory-bounded steps: (ids, rows (size, ...))."""
    with _open(path) as file:
        names = [text.decode() for text in file["ids"][:]]
        for start in range(0, len(names), size):
            yield names[start : start + size], np.asarray(file["data"][start : start + size])


def shape(path: str | Path) -> tuple[int, ...]:
    with _open(path) as file:
        return tuple(file["data"].shape) if "data" in file else (0,)


@contextlib.contextmanager
def _open(path: str | Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        reason = "is not there" if not Path(path).exists() else f"cannot be read ({str(error).splitlines()[0]})"
        raise UserError(f"{path} {reason}; delete it and run again to make it anew") from error
