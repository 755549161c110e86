"""Modalities that a model reads in their decoded form, and learns through their encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from modalens.encoders import attributes, encode
from modalens.modalities import load_modality
from modalens.models import Learnt, Shape, shape_of
from modalens.training import dataset
from modalens.training.stored import StoredRows
from modalens.utils.errors import UserError


@dataclass(frozen=True)
class Decoded:
    """Of one modality. source: what a model file says of it. shape: of the features. axes: of a decoded row."""

    learnt: Learnt
    folder: Path
    source: dict[str, Any]
    shape: Shape
    axes: tuple[str, ...]

    def rows(self, table: pd.DataFrame) -> StoredRows:
        return StoredRows(self.folder, table)


def read(
    entries: Mapping[str, Any], folders: Mapping[str, Path], how: Mapping[str, Any], table: pd.DataFrame
) -> dict[str, Decoded]:
    """entries: of `modalities` in a resolved config. folders: modality -> folder of {shard}.h5 of its decoded form.
    how: `training.encoders`. table: of all clips that are read. Raises UserError."""
    found = {}
    for name, folder in folders.items():
        where = f"training.encoders.{name}"
        if name not in entries or name not in how:
            raise UserError(f"{where}: expected how it learns, and the modality's entry, got a folder alone")
        if dataset.lacking(table, name).any():
            raise UserError(f"{where}: some clips lack {name}; expected splits.incomplete: drop, or cached features")
        entry = entries[name]
        learnt = Learnt.of(entry, how[name], where)
        encoder = learnt.load(torch.device("cpu"))
        decoded = dataset.read_source(folder, table)
        if decoded.get("form") != encoder.input:
            raise UserError(f"{where}: expected the form {encoder.input}, got {decoded.get('form')} in {folder}")
        source = attributes(learnt.encoder, encoder, decoded) | {"learns": how[name]}
        first = torch.from_numpy(encode(encoder, StoredRows(folder, table[:1])[:]))
        if encoder.axes[-1] == "part":
            raise UserError(f"{where}: a table's cells are read as cached features")
        shape = shape_of(tuple(encoder.axes), first, where)
        modality = load_modality(entry["kind"], entry["decode"])
        found[name] = Decoded(learnt, folder, source, shape, tuple(modality.axes))
    return found
