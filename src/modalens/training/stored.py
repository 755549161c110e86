"""Decoded clips that stay in their shards' files until a batch needs them: memory holds batches, never a split."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from modalens.utils import hdf5

OPEN = 64  # files at once: systems allow a process about a thousand

Asked = TypeVar("Asked")
Found = TypeVar("Found")


class StoredRows:
    """Decoded rows (N, ...) of a split's clips, in its order, read from {shard}.h5 when they are asked for."""

    def __init__(self, folder: Path, table: pd.DataFrame) -> None:
        """table: clip_id and shard of each clip."""
        self._folder = folder
        self._ids = table["clip_id"].astype(str).to_numpy(dtype=object)
        self._shards = table["shard"].astype(str).to_numpy(dtype=object)
        self._readers: OrderedDict[str, hdf5.Reader] = OrderedDict()
        first = self[:1]
        self.shape, self.dtype = (len(self), *first.shape[1:]), first.dtype

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        """In memory between batches."""
        return 0

    def __getitem__(self, places: Any) -> np.ndarray[Any, Any]:
        """places: a slice, or indices."""
        ids, shards = self._ids[places], self._shards[places]
        rows: np.ndarray[Any, Any] | None = None
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
        whole = hashlib.sha256()
        for shard in sorted(set(self._shards)):
            path = self._folder / f"{shard}.h5"
            keys = hdf5.keys(path)
            wanted = sorted(self._ids[self._shards == shard])
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
