"""Encoders: decoded form -> cached features with named axes."""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modalens.plugins import registry
from modalens.plugins.options import resolve
from modalens.utils import hdf5, row_cache
from modalens.utils.errors import UserError
from modalens.utils.progress import progress

Array = np.ndarray[Any, Any]
Begun = tuple[Tensor, torch.cuda.Event | None]  # features on their way to the CPU, and what tells that they are there


def encode_file(name: str, encoder: Any, source: Path, output: Path, made: str = "") -> tuple[int, int]:
    """source: decoded clips by id. output: float16 features by the same ids; rows that it holds already, made from the
    same with the same, stay. made: digest of the settings and the code. Returns how many clips, how many were encoded.
    """
    preprocessing = hdf5.attributes(source)
    if preprocessing.get("kind") != encoder.input:
        raise UserError(f"{name} encodes {encoder.input}, but {source} holds {preprocessing.get('kind')!r}")
    described = attributes(name, encoder, preprocessing)
    stay, wanted = row_cache.partition_cached(source, output, described, made)
    with hdf5.write(output, described) as writer:
        writer.take(output, stay)
        steps = -(-len(wanted) // encoder.batch_size)
        batches = progress(hdf5.batches(source, encoder.batch_size, wanted), f"{name} {output.stem}", "batches", steps)
        for ids, rows in overlapped(encoder, batches):
            for clip_id, row in zip(ids, rows, strict=True):
                writer.append(clip_id, row, wanted[clip_id])
    return len(stay) + len(wanted), len(wanted)


def encode(encoder: Any, rows: Array) -> Array:
    """(B, ...) decoded clips -> (B, ...) float16. Features that are not finite raise UserError."""
    return _ended(_begun(encoder, rows))


def overlapped(encoder: Any, batches: Iterable[tuple[list[str], Array]]) -> Iterator[tuple[list[str], Array]]:
    """(ids, decoded clips (B, ...)) -> (ids, features (B, ...) float16), in order.

    A GPU encodes one batch while the next is read and the one before is written: two are in memory. Features that are
    not finite raise UserError.
    """
    running: deque[tuple[list[str], Begun]] = deque()
    for ids, rows in batches:
        running.append((ids, _begun(encoder, rows)))
        if len(running) > 1:
            first, begun = running.popleft()
            yield first, _ended(begun)
    for ids, begun in running:
        yield ids, _ended(begun)


def _ended(begun: Begun) -> Array:
    features, there = begun
    if there:
        there.synchronize()
    if not features.isfinite().all():
        raise UserError("an encoder gave features beyond the range of float16: are its weights those of its network?")
    rows: Array = features.numpy()
    return rows


def _begun(encoder: Any, rows: Array) -> Begun:
    batch = torch.from_numpy(rows)
    if torch.cuda.is_available():
        # Only from pinned memory does a copy to the GPU not wait for what the GPU is doing.
        batch = batch.pin_memory()
    features = encoder.encode(batch)
    if not features.is_cuda:
        return features.cpu(), None
    features, there = features.to("cpu", non_blocking=True), torch.cuda.Event()
    there.record()
    return features, there


def attributes(name: str, encoder: Any, preprocessing: dict[str, Any]) -> dict[str, Any]:
    """What rows were made with. Features are compared only with features of equal attributes."""
    return {
        "encoder": name,
        "options": encoder.options,
        "preprocessing": preprocessing,
        "weights": encoder.weights,
    }


def load_encoder(name: str, options: dict[str, Any], where: torch.device) -> Any:
    """An encoder by its public name. options: from the config file; a misspelt one raises UserError."""
    maker = registry.load("encoders", name)
    return maker(where, **resolve(maker, options, f"encoders.{name}"))
