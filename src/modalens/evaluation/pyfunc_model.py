"""What MLflow calls to load and use a network that tracking/mlflow_models.py logged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modalens.evaluation.predict import said
from modalens.evaluation.trained import check_same
from modalens.evaluation.trained import network as network_of
from modalens.models import load_model, outputs_of
from modalens.stats.targets import REGRESSION
from modalens.training import dataset
from modalens.training.stored import StoredRows
from modalens.utils import hdf5
from modalens.utils.errors import UserError

BATCH = 64  # clips at once; changes no result


class ClipClassifier:
    """A table of clips -> their classes, as stage `evaluate` tells them with all modalities in place.

    The table has a column clip_id, whose features are then read from `params["features"]` (JSON, {modality: folder of
    {shard}.h5}); or one column a modality with the features themselves, an array or nested lists a clip, of the shapes
    that the encoders give. A model that learnt through an encoder takes ids alone, and the folder of what clips are
    decoded to. Returns predicted, and p_<class> of each class or tag, float32;
    of numbers predicted only.
    """

    def __init__(self, path: Path) -> None:
        self.trained = load_model(path)

    def predict(self, table: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Raises UserError for what is neither ids nor features."""
        trained = self.trained
        features = self._features(table, params or {})
        network = network_of(trained)
        parts = []
        for start in range(0, len(table), BATCH):
            batch = {name: rows[start : start + BATCH] for name, rows in features.items()}
            parts.append(network.log_probabilities(network.embed(batch)))
        target = trained.model.learns
        values = np.concatenate(parts) if parts else np.empty((0, outputs_of(target, trained.labels)))
        if target == REGRESSION:
            return pd.DataFrame({"predicted": values[:, 0]})
        columns = [f"p_{label}" for label in trained.labels]
        told = pd.DataFrame(np.exp(values).astype(np.float32), columns=columns)
        told.insert(0, "predicted", said(values, trained.labels, target))
        return told

    def _features(self, table: pd.DataFrame, params: dict[str, Any]) -> dict[str, Any]:
        wanted = self.trained.model.modalities
        if not self.trained.model.encoders and all(name in table for name in wanted):
            return {name: self._column(name, table[name]) for name in wanted}
        if "clip_id" not in table:
            columns = "" if self.trained.model.encoders else f", or the columns {', '.join(wanted)}"
            raise UserError(f"expected a column clip_id{columns}, got {', '.join(map(str, table))}")
        try:
            folders = {name: Path(json.loads(params["features"])[name]) for name in wanted}
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(
                f"params: features: expected JSON of {{modality: folder}} with {', '.join(wanted)}, "
                f"got {params.get('features')!r}"
            ) from error
        return {name: self._stored(name, folders[name], table["clip_id"].astype(str)) for name in wanted}

    def _column(self, name: str, cells: pd.Series) -> np.ndarray[Any, Any]:
        expected = tuple(self.trained.model.shapes[name].values())
        try:
            rows = (
                np.stack([np.asarray(cell, np.float32) for cell in cells]) if len(cells) else np.empty((0, *expected))
            )
        except ValueError as error:
            raise UserError(f"{name}: expected arrays of shape {expected}, got {error}") from error
        if rows.shape[1:] != expected:
            raise UserError(f"{name}: expected arrays of shape {expected}, got {rows.shape[1:]}")
        # As they are cached: what the network learnt from were half-precision numbers.
        return rows.astype(np.float16)

    def _stored(self, name: str, folder: Path, ids: pd.Series) -> Any:
        """Features, or rows that a batch at a time is read of."""
        shard_of = {clip_id: path.stem for path in sorted(folder.glob("[0-9]*.h5")) for clip_id in hdf5.ids(path)}
        if not shard_of:
            raise UserError(f"{name}: no features in {folder}; params: features names where they are")
        shards = ids.map(shard_of)
        if shards.isna().any():
            raise UserError(f"{name}: {folder} has no clip {ids[shards.isna()].iloc[0]!r}")
        table = pd.DataFrame({"clip_id": ids.to_numpy(), "shard": shards.to_numpy()})
        source = self.trained.sources[name]
        if name in self.trained.model.encoders:
            check_same(source["preprocessing"], dataset.read_source(folder, table), folder)
            return StoredRows(folder, table)
        check_same(source, dataset.read_source(folder, table), folder)
        rows: np.ndarray[Any, Any] = dataset.read_features(folder, table).numpy()
        return rows


def _load_pyfunc(data_path: str) -> ClipClassifier:
    """Called by MLflow."""
    return ClipClassifier(Path(data_path) / "model.pt")
