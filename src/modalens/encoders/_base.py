"""Encoders: decoded form -> cached features with named axes."""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from modalens.plugins import blame, registry
from modalens.plugins.options import resolve
from modalens.plugins.registry import public_name
from modalens.utils import hdf5, row_cache
from modalens.utils.errors import UserError
from modalens.utils.progress import progress
from modalens.utils.shelf import Shelf

Array = np.ndarray[Any, Any]
Begun = tuple[Tensor, torch.cuda.Event | None]  # features on their way to the CPU, and what tells that they are there


class Encoder:
    """Decoded rows of one form -> features with named axes, frozen.

    input: the decoded form that it reads (Modality.form). axes: of one row of the features; models choose their
    sub-networks by them (models._shapes.AXES has those that they know). dtype: of the features as they are kept.
    batch_size: clips at once, memory only.
    environment: of envs/, in which its jobs run. expected: attributes that decoded rows must have, such as a rate.
    paths: options that name a file or a folder, or something else; one that is not there stops a study as it begins.
    options: what of the constructor's options changes the result; weights: identity of the parameters. Both become
    attributes of the features: a cache made with other ones is never read.
    """

    input: ClassVar[str]
    axes: tuple[str, ...]
    environment: ClassVar[str] = "torch"
    expected: ClassVar[dict[str, Any]] = {}
    paths: ClassVar[tuple[str, ...]] = ()
    dtype: ClassVar[str] = "float16"
    batch_size: int = 64
    options: dict[str, Any]
    weights: str = "none"

    def __init__(self, device: torch.device) -> None:
        """Options of a subclass are keyword arguments after the device."""
        self.options = {}
        self.device = device

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raises UserError for options that cannot be, before anything runs. Reads no weights: an encoder with an
        option `weights` is not made unless it says here how its options are checked."""
        if "weights" not in options:
            cls(torch.device("cpu"), **options)

    @classmethod
    def axes_of(cls, **options: Any) -> tuple[str, ...]:
        """The axes that these options lead to, as far as that is known without weights: what a config is tried on."""
        del options
        return cls.axes

    def encode(self, batch: Tensor) -> Tensor:
        """batch: (B, ...) of the decoded form. Returns (B, *axes), on any device, which become `dtype`."""
        raise NotImplementedError

    def network(self) -> nn.Module:
        """Decoded rows (B, ...) -> features (B, *axes) as a module that gradients flow through, for a model that learns
        from the decoded form. The encoder itself is not used after that. One with the option `weights` takes
        `untrained` there: a trained model's file holds its weights. Raises UserError for one with nothing to learn."""
        raise UserError(f"encoder {public_name(type(self).__name__)}: nothing in it can be learnt; expected `frozen`")


def encode_file(
    name: str, encoder: Encoder, source: Path, output: Path, made: str = "", cache: Path | None = None
) -> tuple[int, int]:
    """source: decoded clips by id. output: features by the same ids; rows that it holds already, made from the
    same with the same, stay. made: digest of the settings and the code. cache: folder of what studies share. Returns
    how many clips, how many were encoded.
    """
    preprocessing = hdf5.attributes(source)
    check_input(name, encoder.input, encoder.expected, preprocessing, f" in {source}")
    described = attributes(name, encoder, preprocessing)
    there, wanted = row_cache.partition_cached(source, output, described, made, cache=cache)
    with hdf5.write(output, described) as writer:
        for path, rows_there in there.items():
            writer.take(path, rows_there)
        steps = -(-len(wanted) // encoder.batch_size)
        batches = progress(hdf5.batches(source, encoder.batch_size, wanted), f"{name} {output.stem}", "batches", steps)
        for ids, rows in overlapped(encoder, batches):
            for clip_id, row in zip(ids, rows, strict=True):
                try:
                    writer.append(clip_id, row, wanted[clip_id])
                except ValueError as error:
                    raise UserError(f"{_called(encoder)}: {error}") from error
    if wanted:
        Shelf(cache, made, output.stem).put(output)
    return sum(map(len, there.values())) + len(wanted), len(wanted)


def check_input(name: str, form: str, expected: dict[str, Any], preprocessing: dict[str, Any], where: str = "") -> None:
    """Raises UserError where rows made with this preprocessing are not what an encoder reads. where: ends the line."""
    for what, value in {"form": form, **expected}.items():
        found = preprocessing.get(what)
        if found != value:
            raise UserError(f"encoder {name}: expected the {what.replace('_', ' ')} {value}, got {found}{where}")


def encode(encoder: Encoder, rows: Array) -> Array:
    """(B, ...) decoded clips -> (B, ...) features. Those that are not finite raise UserError."""
    return _ended(encoder, _begun(encoder, rows))


def overlapped(encoder: Encoder, batches: Iterable[tuple[list[str], Array]]) -> Iterator[tuple[list[str], Array]]:
    """(ids, decoded clips (B, ...)) -> (ids, features (B, ...)), in order.

    A GPU encodes one batch while the next is read and the one before is written: two are in memory. Features that are
    not finite raise UserError.
    """
    running: deque[tuple[list[str], Begun]] = deque()
    for ids, rows in batches:
        running.append((ids, _begun(encoder, rows)))
        if len(running) > 1:
            first, begun = running.popleft()
            yield first, _ended(encoder, begun)
    for ids, begun in running:
        yield ids, _ended(encoder, begun)


def _ended(encoder: Encoder, begun: Begun) -> Array:
    features, there = begun
    if there:
        there.synchronize()
    if not features.isfinite().all():
        what = "not-a-number" if features.isnan().any() else f"values beyond the range of {str(features.dtype)[6:]}"
        raise UserError(f"{_called(encoder)} gave {what}; check that its weights match its architecture")
    rows: Array = features.numpy()
    return rows


def _begun(encoder: Encoder, rows: Array) -> Begun:
    batch = torch.from_numpy(rows)
    if torch.cuda.is_available():
        # Only from pinned memory does a copy to the GPU not wait for what the GPU is doing.
        batch = batch.pin_memory()
    features = encoder.encode(batch)
    tensor = isinstance(features, torch.Tensor)
    if not tensor or features.dim() != 1 + len(encoder.axes) or len(features) != len(rows):
        expected = f"({', '.join((str(len(rows)), *encoder.axes))})"
        got = tuple(features.shape) if tensor else type(features).__name__
        raise UserError(f"{_called(encoder)}: expected features {expected}, got {got}")
    features = features.to(getattr(torch, encoder.dtype))
    if not features.is_cuda:
        return features.cpu(), None
    features, there = features.to("cpu", non_blocking=True), torch.cuda.Event()
    there.record()
    return features, there


def _called(encoder: Encoder) -> str:
    return blame.where("encoders", registry.public_name(type(encoder).__name__))


def attributes(name: str, encoder: Encoder, preprocessing: dict[str, Any]) -> dict[str, Any]:
    """What rows were made with. Features are compared only with features of equal attributes."""
    return {
        "encoder": name,
        "axes": list(encoder.axes),
        "options": encoder.options,
        "preprocessing": preprocessing,
        "weights": encoder.weights,
    }


def load_encoder(name: str, options: dict[str, Any], where: torch.device) -> Encoder:
    """An encoder by its public name. options: from the config file; a misspelt one raises UserError."""
    maker: type[Encoder] = registry.load("encoders", name)
    return maker(where, **resolve(maker, options, f"encoder {name}"))
