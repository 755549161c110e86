"""Models of this package and the test set that the `evaluate` stage gives them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modalens.evaluation import baselines
from modalens.evaluation.ablation import FROM_FILE, ModalityAblator
from modalens.evaluation.baselines import BLANK, NOISES
from modalens.evaluation.networks import Array, TorchNetwork
from modalens.evaluation.predict import TestSet
from modalens.modalities import Modality, load_modality
from modalens.models import TrainedModel
from modalens.training import dataset
from modalens.training.decoded import rows_of
from modalens.utils import hdf5
from modalens.utils.errors import UserError

ROWS = (BLANK, *NOISES)


def read(
    trained: TrainedModel,
    test: Path,
    features: Mapping[str, Path],
    replacements: Mapping[str, Path],
    kinds: Sequence[str],
    decoded: Mapping[str, Path] | None = None,
    entries: Mapping[str, Any] | None = None,
) -> TestSet:
    """What the model looks at, and nothing made with other settings than what it learnt from.

    test: test.csv of a split. features: modality -> folder of {shard}.h5. replacements: modality -> file of stage
    `replacements`, for the kinds of FROM_FILE. decoded, entries: modality -> folder of its decoded form and entry of a
    resolved config, for a model that reads that, batch by batch. Raises UserError for what is not there or was made
    otherwise.
    """
    table = dataset.read_split(test)
    if table.empty:
        raise UserError(f"{test} holds no clip")
    truth = dataset.label_values(table, trained.labels, test, trained.model.learns)
    rows: dict[str, Array] = {}
    lacking: dict[str, Array] = {}
    stand_ins: dict[str, dict[str, Array]] = {kind: {} for kind in FROM_FILE if kind in kinds}
    for name in trained.model.modalities:
        if name in trained.model.encoders:
            entry = (entries or {})[name]
            modality = load_modality(entry["kind"], entry["decode"])
            rows[name] = _stored(trained, name, table, (decoded or {}).get(name), modality)
            lacking |= {name: lacks.numpy()} if (lacks := dataset.lacking(table, name)).any() else {}
            stand_ins |= {kind: own | {name: baselines.decoded(kind, modality)} for kind, own in stand_ins.items()}
            continue
        if name not in features:
            raise UserError(f"the model looks at {name!r}, whose features are not given")
        check_same(trained.sources[name], dataset.read_source(features[name], table), features[name])
        lacks = dataset.lacking(table, name)
        values = dataset.read_features(features[name], table, lacks)
        if lacks.any():
            lacking[name] = lacks.numpy()
            values[lacks] = trained.model.training_mean(name).to(values.dtype)
        rows[name] = values.numpy()
        if stand_ins:
            if name not in replacements:
                raise UserError(f"no replacements are given for {name!r}")
            check_same(trained.sources[name], hdf5.attributes(replacements[name]), replacements[name])
            found = hdf5.read(replacements[name], ROWS)
            for kind, part in zip(FROM_FILE, (found[:1], found[1:]), strict=True):
                if kind in stand_ins:
                    stand_ins[kind][name] = part
    return TestSet(table, trained.labels, truth.numpy(), rows, stand_ins, lacking, trained.model.learns)


def _stored(trained: TrainedModel, name: str, table: pd.DataFrame, folder: Path | None, modality: Modality) -> Any:
    if folder is None:
        raise UserError(f"the model reads what {name!r} is decoded to, whose folder is not given")
    check_same(trained.sources[name]["preprocessing"], dataset.read_source(folder, table), folder)
    return rows_of(folder, table, name, modality)


def ablator(trained: TrainedModel, test: TestSet, batch: int) -> ModalityAblator:
    """On the device where the model is. Means and deviations are those of the clips that it learnt from. Predictions
    are calibrated by the temperature that was fitted on its validation clips, with all modalities in place."""
    modalities = trained.model.modalities
    means = {name: trained.model.training_mean(name).cpu().numpy() for name in modalities}
    return ModalityAblator(
        network(trained),
        test.features,
        {"mean@input": means, **test.stand_ins},
        {name: values.cpu().numpy() for name, values in trained.embedding_means.items()},
        {name: values.cpu().numpy() for name, values in trained.embedding_stds.items()},
        batch,
        test.lacking,
    )


def joined(trained: TrainedModel, ablator: ModalityAblator, places: Sequence[int]) -> Array | None:
    """(K, D) float32: of the test clips at these places the vector in which all modalities are joined, where the model
    has one."""
    asked, parts = network(trained), []
    embeddings = {name: ablator.embeddings(name, "") for name in asked.modalities}
    for at in range(0, len(places), ablator.batch):
        some = list(places[at : at + ablator.batch])
        part = asked.joined({name: rows[some] for name, rows in embeddings.items()})
        if part is None:
            return None
        parts.append(part.astype(np.float32))
    return np.concatenate(parts)


def network(trained: TrainedModel) -> TorchNetwork:
    return TorchNetwork(
        trained.model, trained.model.modalities, trained.temperature, trained.model.learns, trained.scale
    )


def check_same(learnt: object, given: object, path: Path) -> None:
    if learnt != given:
        raise UserError(f"{path} was made with other settings than the model's features: {given} and {learnt}")
