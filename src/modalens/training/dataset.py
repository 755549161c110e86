"""Features and labels of a split, joined by clip id: rows of different files never meet by position."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from modalens.models import read_labels
from modalens.stats.targets import CLASSES, MULTILABEL
from modalens.training.stored import StoredRows
from modalens.utils import hdf5
from modalens.utils.csv_tables import read_table
from modalens.utils.errors import UserError

Folders = Mapping[str, Path]  # modality -> folder of {shard}.h5


@dataclass
class FeatureDataset:
    """features: {modality: (N, ...)} as stored; decoded rows stay in their files. labels: (N,) class indices or
    numbers, or (N, tags). lacks: {modality: (N,)} whose features are a stand-in, for those that some clip lacks. axes:
    {modality: of a row}, for what is augmented."""

    features: dict[str, Tensor | StoredRows]
    labels: Tensor
    lacks: dict[str, Tensor] = field(default_factory=dict)
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor | slice, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
        """Some clips, on the device: {modality: (B, ...)}, (B,). rows: a slice, or indices where the clips are."""
        features = {name: _taken(values, rows, device).to(device) for name, values in self.features.items()}
        return features, _taken(self.labels, rows, device).to(device)

    @property
    def is_stored(self) -> bool:
        """Whether a batch waits for files."""
        return any(isinstance(values, StoredRows) for values in self.features.values())

    def present(self, modality: str) -> Tensor | StoredRows:
        """(M, ...) of the clips that have it."""
        values = self.features[modality]
        if modality not in self.lacks:
            return values
        there = ~self.lacks[modality]
        return values[there] if isinstance(values, Tensor) else values.only(there.numpy())

    def to_device(self, device: torch.device) -> "FeatureDataset":
        """All on the device if its free memory holds them twice, else as they are: a batch at a time goes there."""
        values = (*self.features.values(), self.labels)
        if device.type != "cuda" or 2 * sum(value.nbytes for value in values) > torch.cuda.mem_get_info(device)[0]:
            return self
        features = {
            name: value.to(device) if isinstance(value, Tensor) else value for name, value in self.features.items()
        }
        return FeatureDataset(features, self.labels.to(device), self.lacks, self.axes)


def _taken(values: Tensor | StoredRows, rows: Tensor | slice, device: torch.device) -> Tensor:
    if isinstance(values, StoredRows):
        found = values.take(rows)
        # Only from pinned memory does a copy to the GPU not wait for what the GPU is doing.
        return found.pin_memory() if device.type == "cuda" else found
    # Not values[rows] for a tensor of rows: on the CPU it takes several times as long with float16.
    return values[rows] if isinstance(rows, slice) else values.index_select(0, rows)


class Pieces:
    """(N, ...) -> (size, ...) in order, views of what lies in memory, as often as they are gone through."""

    def __init__(self, values: Tensor | StoredRows, size: int) -> None:
        self._values, self._size = values, size

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self._values), self._size):
            some = slice(start, start + self._size)
            yield self._values.take(some) if isinstance(self._values, StoredRows) else self._values[some]


def read_split(path: Path) -> pd.DataFrame:
    """clip_id, shard, group, label as text, sorted by clip_id."""
    table = read_table(path)
    if table["clip_id"].duplicated().any():
        raise UserError(f"{path} names a clip twice: {table.loc[table['clip_id'].duplicated(), 'clip_id'].iloc[0]!r}")
    return table.sort_values("clip_id", ignore_index=True)


def label_values(
    table: pd.DataFrame, labels: list[str], path: Path, target: str = CLASSES, scale: tuple[float, float] = (0.0, 1.0)
) -> Tensor:
    """The label column -> (N,) positions in `labels`; (N,) numbers by `scale`; or (N, tags)."""
    try:
        return read_labels(table["label"].tolist(), labels, target, scale)
    except KeyError as error:
        what = "tags" if target == MULTILABEL else "classes"
        raise UserError(
            f"{path} has the label {error.args[0]!r}, which is none of the task's {len(labels)} {what}"
        ) from error


def scale_of(table: pd.DataFrame) -> tuple[float, float]:
    """Mean and deviation of the training numbers; a deviation of 1 where they are all the same."""
    values = pd.to_numeric(table["label"]).to_numpy(np.float64)
    return float(values.mean()), float(values.std()) or 1.0


def lacking(table: pd.DataFrame, modality: str) -> Tensor:
    """(N,): which of a split's clips lack a modality; none where the study keeps whole clips only."""
    named = table.get("lacks", pd.Series("", index=table.index))
    return torch.tensor([modality in text.split(",") for text in named], dtype=torch.bool)


def read_features(folder: Path, table: pd.DataFrame, lacks: Tensor | None = None) -> Tensor:
    """Rows of one modality for table's clips, at least one, in table's order: (N, ...) of the stored type.

    lacks: (N,) clips that have none; their rows are zero, for the caller to put something there.
    """
    values: np.ndarray[Any, Any] | None = None
    present = table if lacks is None else table[~lacks.numpy()]
    if present.empty:
        raise UserError(
            f"{folder}: expected features of some clips, but all {len(table)} lack them; "
            "why: incomplete.csv of the task's splits"
        )
    for shard, clips in present.groupby("shard"):
        rows = hdf5.read(folder / f"{shard}.h5", clips["clip_id"].tolist())
        if values is None:
            # Filled shard by shard: memory never holds the features twice.
            values = np.zeros((len(table), *rows.shape[1:]), rows.dtype)
        if rows.shape[1:] != values.shape[1:]:
            raise UserError(
                f"{folder}: the shards' rows differ in shape: {values.shape[1:]} and {rows.shape[1:]}; "
                "delete the folder and run again"
            )
        values[clips.index.to_numpy()] = rows
    return torch.from_numpy(values)


def read_source(folder: Path, table: pd.DataFrame) -> dict[str, Any]:
    """The attributes that all shards of a feature folder share: encoder, options, preprocessing, weights."""
    found: dict[str, Any] = {}
    for shard in sorted(set(table["shard"])):
        attributes = hdf5.attributes(folder / f"{shard}.h5")
        if found and attributes != found:
            raise UserError(f"{folder}: the shards were made with different settings; delete the folder and run again")
        found = attributes
    return found
