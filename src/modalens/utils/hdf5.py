"""All HDF5: arrays by clip id, checksums over all of it, atomic rename, constants in the attributes.

Layout of a file: `ids` (N,) and `keys` (N,) strings, `data` (N, ...) one chunk a clip, file attributes JSON values. A
row's key tells what it was made from (row_cache.py). `elsewhere` (M, 2): id and key of clips without a row here, since
all that is made from such a row is there already.

Three checksums, so that reading a few rows of a large file costs no more than these rows: Fletcher's of each chunk of
`data`; HDF5's own of the structures that say where chunks lie, which it writes since version 1.10 of its format; and
attribute CHECKSUM, a SHA-256 of ids, keys, attributes, shape and type.
"""

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from modalens.utils.checksums import damaged
from modalens.utils.errors import UserError
from modalens.utils.files import atomic
from modalens.utils.hdf5_file import Sink

Array = NDArray[Any]

PIECE = 64  # rows that are copied at a time
TABLES = ("ids", "keys", "elsewhere")
CHECKSUM = "checksum"
FORMAT = ("v110", "v110")  # the oldest whose structures have checksums, read by all programs since 2016
BLOCK_BYTES = 64 * 2**20  # read at once, so that memory holds the wanted rows and little more


class Writer:
    """Appends rows; the file appears under its name when the `write` block ends well."""

    def __init__(self, file: h5py.File, sink: Sink) -> None:
        self._file, self._sink = file, sink
        self._keys: dict[str, str] = {}
        self._elsewhere: dict[str, str] = {}
        self._data: h5py.Dataset | None = None

    def append(self, clip_id: str, row: Array, key: str = "") -> None:
        """row: (...) of the same shape and dtype for every clip. key: what it was made from. Raises ValueError."""
        self._once(clip_id)
        if self._data is not None and (row.shape, row.dtype) != (self._data.shape[1:], self._data.dtype):
            # HDF5 would stretch or round it without a word.
            raise ValueError(
                f"{clip_id!r}: expected {self._data.dtype} {self._data.shape[1:]} like the clips before, "
                f"got {row.dtype} {row.shape}"
            )
        if self._data is None:
            # A row without numbers (of a modality that has no sketches) still needs a chunk of some size.
            most, chunk = ([side or other for side in row.shape] for other in (None, 1))
            self._data = self._file.create_dataset(
                "data", (0, *row.shape), row.dtype, maxshape=(None, *most), chunks=(1, *chunk), fletcher32=True
            )
        count = len(self._keys)
        self._data.resize(count + 1, axis=0)
        self._data[count] = row
        self._sink.check()
        self._keys[clip_id] = key

    def take(self, path: str | Path, wanted: dict[str, str]) -> None:
        """Append rows of another file: wanted: {clip_id: key}."""
        names = list(wanted)
        for start in range(0, len(names), PIECE):
            some = names[start : start + PIECE]
            for clip_id, row in zip(some, read(path, some), strict=True):
                self.append(clip_id, row, wanted[clip_id])

    def leave(self, clip_id: str, key: str) -> None:
        """A clip that has no row here because nothing needs it."""
        self._once(clip_id)
        self._elsewhere[clip_id] = key

    def _once(self, clip_id: str) -> None:
        if clip_id in self._keys or clip_id in self._elsewhere:
            raise ValueError(f"clip id {clip_id!r} was written twice")

    def _finish(self) -> None:
        pairs = [text for pair in self._elsewhere.items() for text in pair]
        tables = {"ids": list(self._keys), "keys": list(self._keys.values()), "elsewhere": pairs}
        for name, texts in tables.items():
            cells = [text.encode() for text in texts]
            kind = h5py.string_dtype(length=max(map(len, cells), default=0) or 1)
            values = np.array(cells, kind).reshape(-1, 2) if name == "elsewhere" else np.array(cells, kind)
            chunks = {"chunks": values.shape, "fletcher32": True} if cells else {}
            self._file.create_dataset(name, data=values, dtype=kind, **chunks)
        self._file.attrs[CHECKSUM] = np.bytes_(_digest(self._file).encode())


@contextlib.contextmanager
def write(path: str | Path, attributes: dict[str, Any]) -> Iterator[Writer]:
    """Write arrays by clip id. attributes: JSON values that name what the rows were made with."""
    with atomic(path) as hidden, contextlib.closing(Sink(hidden)) as sink:
        with h5py.File(sink, "w", libver=FORMAT) as file:
            for name, value in attributes.items():
                # Bytes, and ids of one length, lie where checksums are; HDF5's heap for texts of any length has none,
                # and a flipped bit there makes the library read for ever.
                file.attrs[name] = np.bytes_(json.dumps(value, sort_keys=True).encode())
            writer = Writer(file, sink)
            yield writer
            writer._finish()
        sink.close()
        sink.check()


def attributes(path: str | Path) -> dict[str, Any]:
    with _open(path) as file:
        return {name: json.loads(value) for name, value in file.attrs.items() if name != CHECKSUM}


def ids(path: str | Path) -> list[str]:
    with _open(path) as file:
        return [text.decode() for text in file["ids"][:]]


def keys(path: str | Path) -> dict[str, str]:
    """{clip_id: key} of the rows."""
    with _open(path) as file:
        return {name.decode(): key.decode() for name, key in zip(file["ids"][:], file["keys"][:], strict=True)}


def elsewhere(path: str | Path) -> dict[str, str]:
    """{clip_id: key} of the clips that have no row here."""
    with _open(path) as file:
        return {name.decode(): key.decode() for name, key in file["elsewhere"][:]}


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


def batches(path: str | Path, size: int, wanted: Collection[str] | None = None) -> Iterator[tuple[list[str], Array]]:
    """Walk a file (its `wanted` ids) in its order and memory-bounded steps: (ids, rows (size, ...))."""
    with _open(path) as file:
        names = [text.decode() for text in file["ids"][:]]
        places = [place for place, name in enumerate(names) if wanted is None or name in wanted]
        for start in range(0, len(places), size):
            some = places[start : start + size]
            whole = some[-1] - some[0] + 1 == len(some)
            rows = file["data"][some[0] : some[-1] + 1] if whole else file["data"][some]
            yield [names[place] for place in some], np.asarray(rows)


class Reader:
    """Single rows of a file that stays open: what is read again and again, in any order. Raises UserError as `read`."""

    def __init__(self, path: str | Path) -> None:
        self._path, self._open = path, contextlib.ExitStack()
        self._file = self._open.enter_context(_open(path))
        self._places = {text.decode(): place for place, text in enumerate(self._file["ids"][:])}

    def read(self, wanted: Sequence[str]) -> Array:
        """(N, ...) of these ids, at least one, in their order."""
        missing = [clip_id for clip_id in wanted if clip_id not in self._places]
        if missing:
            raise UserError(f"{self._path} lacks {len(missing)} of {len(wanted)} clips, first {missing[0]!r}")
        try:
            data = self._file["data"]
            return np.stack([data[self._places[clip_id]] for clip_id in wanted])
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise damaged(self._path, error) from error

    def close(self) -> None:
        self._open.close()


def shape(path: str | Path) -> tuple[int, ...]:
    with _open(path) as file:
        return tuple(file["data"].shape) if "data" in file else (0,)


@contextlib.contextmanager
def _open(path: str | Path) -> Iterator[h5py.File]:
    if not Path(path).exists():
        raise UserError(f"not found: {path} (run the stage that writes it first)")
    try:
        with h5py.File(path, "r") as file:
            _check_storage(file, path)
            if CHECKSUM not in file.attrs:
                raise damaged(path, "it has no checksum")
            if bytes(file.attrs[CHECKSUM]).decode() != _digest(file):
                raise damaged(path, "its ids, keys or attributes do not fit its checksum")
            yield file
    # What h5py raises is as the bytes would have it.
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise damaged(path, error) from error


def _check_storage(file: h5py.File, path: str | Path) -> None:
    """Raises UserError for what lies in another file: whoever wrote this one chose which of the reader's that is."""
    for name in file:
        link = file.get(name, getlink=True)
        elsewhere = "link" if not isinstance(link, h5py.HardLink) else ""
        if not elsewhere and isinstance(file[name], h5py.Dataset):
            elsewhere = "external file" if file[name].external else "virtual data set" if file[name].is_virtual else ""
        if elsewhere:
            raise UserError(f"{path}: expected {name!r} in this file, got a {elsewhere}; it is not followed")


def _digest(file: h5py.File) -> str:
    data = file.get("data")
    found: list[Any] = [None if data is None else [list(data.shape), data.dtype.str]]
    found.append(sorted((name, bytes(value).decode()) for name, value in file.attrs.items() if name != CHECKSUM))
    found += [[text.decode() for text in file[name][:].flat] for name in TABLES]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
