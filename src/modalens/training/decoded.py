"""Modalities that a model reads in their decoded form, and learns through their encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from modalens.encoders import attributes, encode
from modalens.modalities import Modality, load_modality
from modalens.models import Learnt, Shape, shape_of
from modalens.training import dataset
from modalens.training.missing import Missing, blank_and_noises
from modalens.training.stored import StoredRows
from modalens.utils.errors import UserError


@dataclass(frozen=True)
class Decoded:
    """Of one modality. source: what a model file says of it. shape: of the features."""

    learnt: Learnt
    folder: Path
    source: dict[str, Any]
    shape: Shape
    modality: Modality

    def rows(self, name: str, table: pd.DataFrame, missing: Missing | None = None) -> StoredRows:
        """Of a split's clips. missing: what is taken from them, beside what they lack."""
        return rows_of(self.folder, table, name, self.modality, missing)


def rows_of(
    folder: Path, table: pd.DataFrame, name: str, modality: Modality, missing: Missing | None = None
) -> StoredRows:
    """What is blank at the modality's input stands for what a clip lacks: a mean of features is no decoded row."""
    lacks = dataset.lacking(table, name).numpy()
    instead = np.where(lacks, -1, np.arange(len(table)))
    taken = missing.lacking(len(table)).get(name) if missing else None
    if missing and taken is not None and taken.any():
        places = missing.places(name, taken)
        instead[taken] = np.where(places < 0, places, instead[places])
    fixed = blank_and_noises(modality) if (instead < 0).any() else None
    return StoredRows(folder, table, instead, fixed)


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
        entry = entries[name]
        learnt = Learnt.of(entry, how[name], where)
        encoder = learnt.load(torch.device("cpu"))
        decoded = dataset.read_source(folder, table)
        if decoded.get("form") != encoder.input:
            raise UserError(f"{where}: expected the form {encoder.input}, got {decoded.get('form')} in {folder}")
        source = attributes(learnt.encoder, encoder, decoded) | {"learns": how[name]}
        modality = load_modality(entry["kind"], entry["decode"])
        row = rows_of(folder, table, name, modality)[:1]
        # A frozen encoder's features have to be finite in its precision. Of one that learns the shape is wanted: drawn
        # weights may give anything before their normalisations have seen a clip.
        frozen = learnt.last_layers == 0
        first = torch.from_numpy(encode(encoder, row)) if frozen else encoder.encode(torch.from_numpy(row))
        if encoder.axes[-1] == "part":
            raise UserError(f"{where}: a table's cells are read as cached features")
        shape = shape_of(tuple(encoder.axes), first, where)
        found[name] = Decoded(learnt, folder, source, shape, modality)
    return found
