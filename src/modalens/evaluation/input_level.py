"""Trained models as a measure is given them at their input: decoded rows instead of cached features."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from modalens.encoders import Encoder, attributes, encode, load_encoder
from modalens.evaluation.baselines import decoded
from modalens.evaluation.networks import Array, Network
from modalens.evaluation.studied import FromFiles
from modalens.measures import Clips
from modalens.modalities import Modality, load_modality
from modalens.utils import hdf5
from modalens.utils.device import resolve_device
from modalens.utils.errors import UserError

KINDS = ("blank@input", "gaussian@input")


@dataclass(frozen=True)
class Decoding:
    """Of one modality: its plugin, the encoder of its decoded form, and the folder of {shard}.h5 of that form."""

    modality: Modality
    encoder: Encoder
    encoder_name: str
    folder: Path

    def shape(self) -> dict[str, int]:
        """Of a decoded row, with named axes. A vector that nobody names is one piece."""
        sizes = self.modality.blank().shape
        for axes in (self.modality.axes, self.encoder.axes if self.modality.source == "store" else ()):
            if len(axes) == len(sizes):
                return dict(zip(axes, sizes, strict=True))
        if len(sizes) == 1:
            return {"channel": sizes[0]}
        kind = type(self.modality).__name__
        raise UserError(
            f"{kind}: axes: expected a name for each axis of a decoded row {sizes}, got {self.modality.axes}"
        )


def decodings(entries: Mapping[str, Any], folders: Mapping[str, Path], device: str) -> dict[str, Decoding]:
    """entries: of `modalities` in a resolved config. Raises UserError for options that no plugin takes."""
    found = {}
    for name, folder in folders.items():
        entry = entries[name]
        encoder = load_encoder(entry["encoder"], entry["options"], resolve_device(device))
        found[name] = Decoding(load_modality(entry["kind"], entry["decode"]), encoder, entry["encoder"], folder)
    return found


class AtInput:
    """A measures.StudiedModel whose features are decoded rows: what it is asked goes through its encoders first."""

    def __init__(self, model: FromFiles, given: Mapping[str, Decoding]) -> None:
        self.model = model
        self.name, self.modalities, self.seeds = model.name, model.modalities, model.seeds
        self._given = {name: given[name] for name in self.modalities}
        self.shapes = {name: one.shape() for name, one in self._given.items()}
        shard = model.clips("test").table["shard"].iloc[0]
        for name, one in self._given.items():
            made = hdf5.attributes(one.folder / f"{shard}.h5")
            model.check_source(name, attributes(one.encoder_name, one.encoder, made), one.folder)

    def network(self, seed: int) -> Network:
        return _Encoded(self.model.network(seed), self._given)

    def clips(self, split: str = "test") -> Clips:
        """Rows are read when they are asked for."""
        known = self.model.clips(split)
        rows: dict[str, Any] = {name: _Rows(one.folder, known.table) for name, one in self._given.items()}
        return Clips(known.table, known.labels, known.truth, rows)

    def stand_ins(self, kind: str, seed: int) -> dict[str, Array]:
        del seed
        if kind in KINDS:
            return {name: decoded(kind, one.modality) for name, one in self._given.items()}
        raise UserError(f"{self.name}: at the input one of {', '.join(KINDS)} can stand in, got {kind!r}")


class _Rows:
    """Decoded rows (N, ...) of clips, which an index reads."""

    def __init__(self, folder: Path, table: pd.DataFrame) -> None:
        self.folder, self.table = folder, table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, places: Array) -> Array:
        clips = self.table.iloc[places].reset_index(drop=True)
        found: list[Array] = [np.empty(0)] * len(clips)
        for shard, part in clips.groupby("shard"):
            rows = hdf5.read(self.folder / f"{shard}.h5", part["clip_id"].tolist())
            for place, row in zip(part.index, rows, strict=True):
                found[place] = row
        return np.stack(found)


class _Encoded:
    """A Network behind the encoders."""

    def __init__(self, network: Network, given: Mapping[str, Decoding]) -> None:
        self._network, self._given = network, given
        self.modalities = network.modalities

    def embed(self, features: Mapping[str, Array]) -> dict[str, Array]:
        encoded = {}
        for name, rows in features.items():
            encoder = self._given[name].encoder
            starts = range(0, len(rows), encoder.batch_size)
            with torch.inference_mode():
                parts = [encode(encoder, rows[at : at + encoder.batch_size]) for at in starts]
            encoded[name] = np.concatenate(parts)
        return self._network.embed(encoded)

    def log_probabilities(self, embeddings: Mapping[str, Array]) -> Array:
        return self._network.log_probabilities(embeddings)
