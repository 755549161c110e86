"""Stage `evaluate`: every test clip under every condition, once per seed. The only stage that reads test labels."""

import argparse
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from modalens.evaluation.ablation import FROM_FILE, ROWS, ModalityAblator, condition
from modalens.models import TrainedModel
from modalens.stats.coalitions import Coalition, coalitions, to_text
from modalens.stats.metrics import confusion_metrics
from modalens.training import dataset
from modalens.utils import hdf5
from modalens.utils.errors import UserError

log = logging.getLogger(__name__)


@dataclass
class TestSet:
    """table: clip_id, shard, group, label, sorted by clip_id; the tensors' rows are in its order."""

    table: pd.DataFrame
    labels: list[str]
    truth: Tensor
    features: dict[str, Tensor]
    replacements: dict[str, Tensor]


def conditions(modalities: Sequence[str], kinds: Sequence[str]) -> list[tuple[Coalition, str]]:
    """(kept modalities, kind of replacement): all of them once, kind ""; then each proper subset with each kind."""
    *subsets, everything = coalitions(modalities)
    return [(everything, ""), *itertools.product(subsets, kinds)]


def read(arguments: argparse.Namespace, trained: TrainedModel) -> TestSet:
    """What the model looks at, and nothing made with other settings than what it learnt from."""
    table = dataset.read_split(arguments.test)
    if table.empty:
        raise UserError(f"{arguments.test} holds no clip")
    truth = dataset.class_indices(table, trained.labels, arguments.test)
    folders, files = dict(arguments.modalities), dict(arguments.replacements)
    features, replacements = {}, {}
    for name in trained.model.modalities:
        if name not in folders:
            raise UserError(f"{arguments.models} looks at {name!r}, whose features are not given")
        _same(trained.sources[name], dataset.read_source(folders[name], table), folders[name])
        features[name] = dataset.read_features(folders[name], table)
        if any(kind in FROM_FILE for kind in arguments.conditions):
            if name not in files:
                raise UserError(f"no replacements are given for {name!r}")
            _same(trained.sources[name], hdf5.attributes(files[name]), files[name])
            replacements[name] = torch.from_numpy(hdf5.read(files[name], ROWS))
    return TestSet(table, trained.labels, truth, features, replacements)


def evaluate_seed(
    trained: TrainedModel, test: TestSet, kinds: Sequence[str], where: torch.device, batch: int
) -> list[tuple[dict[str, str], Tensor]]:
    """({"condition", "replacement", "kept"}, log-probabilities (N, C) float64) for each of them."""
    trained.model.to(where).eval()
    withholder = ModalityAblator(trained, test.features, test.replacements, where, batch)
    modalities = trained.model.modalities
    results = []
    with torch.no_grad():
        for kept, kind in conditions(modalities, kinds):
            embeddings = {name: withholder.embeddings(name, "" if name in kept else kind) for name in modalities}
            parts = [
                trained.model.classify({name: rows[start : start + batch] for name, rows in embeddings.items()})
                for start in range(0, len(test.truth), batch)
            ]
            withheld = set(modalities) - set(kept)
            columns = {"condition": condition(withheld, kind), "replacement": kind, "kept": to_text(kept)}
            results.append((columns, torch.cat(parts).cpu().double().log_softmax(1)))
    return results


def rows(test: TestSet, seed: int, columns: dict[str, str], log_probabilities: Tensor) -> pd.DataFrame:
    """One row a clip: what it is, what was said of it, the probability of every class."""
    values = log_probabilities.numpy()
    clips = test.table[["clip_id", "group"]].assign(seed=seed, **columns)
    clips["label"] = test.table["label"]
    clips["predicted"] = np.array(test.labels, dtype=object)[values.argmax(1)]
    clips["log_probability"] = values[np.arange(len(values)), test.truth.numpy()]
    probabilities = pd.DataFrame(np.exp(values).astype(np.float32), columns=[f"p_{name}" for name in test.labels])
    return pd.concat([clips, probabilities], axis=1)


def scores(label: pd.Series, predicted: pd.Series) -> dict[str, float]:
    """Source: seed paper, section 4: accuracy, balanced accuracy, macro precision, recall and F1."""
    classes = pd.Index(sorted(set(label) | set(predicted)))
    confusion = np.zeros((len(classes), len(classes)))
    np.add.at(confusion, (classes.get_indexer(label), classes.get_indexer(predicted)), 1)
    return {name: float(value) for name, value in confusion_metrics(confusion).items()}


def _same(learnt: object, given: object, path: Path) -> None:
    if learnt != given:
        raise UserError(f"{path} was made with other settings than the model's features: {given} and {learnt}")
