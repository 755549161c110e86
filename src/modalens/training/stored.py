"""Decoded clips that stay in their shards' files until a batch needs them: memory holds batches, never a split."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from modalens.utils import hdf5
from modalens.utils.errors import UserError

OPEN = 64  # files at once: systems allow a process about a thousand

Array = np.ndarray[Any, Any]
Asked = TypeVar("Asked")
Found = TypeVar("Found")


class StoredRows:
    """Decoded rows (N, ...) of a split's clips, in its order, read from {shard}.h5 when they are asked for."""

    def __init__(
        self, folder: Path, table: pd.DataFrame, instead: Array | None = None, fixed: Array | None = None
    ) -> None:
        """table: clip_id and shard of each clip. instead: (N,) whose row stands at each place: that of a clip of the
        table, by its place, or -1 - k for the k-th of `fixed`; by default each clip's own. fixed: (K, ...) decoded rows
        that are in no file. Raises UserError where no row comes from a file."""
        self._folder = folder
        self._ids = table["clip_id"].astype(str).to_numpy(dtype=object)
        self._shards = table["shard"].astype(str).to_numpy(dtype=object)
        self._instead = np.arange(len(table)) if instead is None else instead
        self._fixed = fixed
        self._readers: OrderedDict[str, hdf5.Reader] = OrderedDict()
        stored = self._instead[self._instead >= 0][:1]
        if not len(stored):
            raise UserError(
                f"{folder}: expected rows of some clips, but all {len(table)} lack them; "
                "why: incomplete.csv of the task's splits"
            )
        first = self._read(stored)
        self.shape, self.dtype = (len(self), *first.shape[1:]), first.dtype

    def __len__(self) -> int:
        return len(self._instead)

    @property
    def nbytes(self) -> int:
        """In memory between batches."""
        return 0

    def __getitem__(self, places: Any) -> Array:
        """places: a slice, or indices."""
        wanted = self._instead[places]
        stored = wanted >= 0
        if stored.all():
            return self._read(wanted)
        assert self._fixed is not None
        rows = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        rows[stored] = self._read(wanted[stored])
        rows[~stored] = self._fixed[-1 - wanted[~stored]]
        return rows

    def only(self, chosen: Array) -> "StoredRows":
        """Those at the places where chosen, (N,), is true."""
        found = copy(self)
        found._instead = self._instead[chosen]
        found.shape = (len(found), *self.shape[1:])
        return found

    def _read(self, clips: Array) -> Array:
        """clips: places in the table."""
        ids, shards = self._ids[clips], self._shards[clips]
        rows: Array | None = None
        for shard in dict.fromkeys(shards):
            here = np.flatnonzero(shards == shard)
            found = self._reader(shard).read(list(ids[here]))
            if rows is None:
                rows = np.empty((len(ids), *found.shape[1:]), found.dtype)
            rows[here] = found
        return np.empty((0, *self.shape[1:]), self.dtype) if rows is None else rows

    def take(self, rows: Tensor | slice) -> Tensor:
        return torch.from_numpy(self[rows if isinstance(rows, slice) else rows.cpu().numpy()])

    def digest(self) -> bytes:
        """Of what the rows were made from, by their keys: none of them is read."""
        whole = hashlib.sha256(self._instead.astype(np.int64).tobytes())
        if self._fixed is not None:
            whole.update(self._fixed.tobytes())
        used = np.unique(self._instead[self._instead >= 0])
        for shard in sorted(set(self._shards[used])):
            path = self._folder / f"{shard}.h5"
            keys = hdf5.keys(path)
            wanted = sorted(self._ids[used][self._shards[used] == shard])
            told = [(clip_id, keys.get(clip_id, "")) for clip_id in wanted]
            whole.update(f"{shard} {sorted(hdf5.attributes(path).items())} {told}".encode())
        return whole.digest()

    def _reader(self, shard: str) -> hdf5.Reader:
        if shard not in self._readers:
            if len(self._readers) >= OPEN:
                self._readers.popitem(last=False)[1].close()
            self._readers[shard] = hdf5.Reader(self._folder / f"{shard}.h5")
        self._readers.move_to_end(shard)
        return self._readers[shard]


def ahead(read: Callable[[Asked], Found], asked: Iterable[Asked]) -> Iterator[Found]:
    """read(one) of each in order, the next in a thread of its own while its user works on one: two are in memory."""
    waiting = iter(asked)
    with ThreadPoolExecutor(1) as thread:
        coming = [thread.submit(read, one) for one in islice(waiting, 1)]
        while coming:
            found = coming.pop().result()
            coming = [thread.submit(read, one) for one in islice(waiting, 1)]
            yield found
