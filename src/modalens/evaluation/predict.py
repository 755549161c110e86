"""Every test clip under every condition: a model -> rows of predictions. Arrays only; no PyTorch."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from modalens.evaluation.ablation import ModalityAblator, condition
from modalens.evaluation.networks import Array
from modalens.measures import Clips
from modalens.stats.coalitions import Coalition, coalitions, to_text
from modalens.stats.metrics import RANK, confusion_metrics, rank_of_truth
from modalens.stats.targets import CLASSES, REGRESSION, SEPARATOR

MAPPED = 500  # test clips, the first by name, on a map of them: more would hide one another


@dataclass
class TestSet(Clips):
    """truth: numbers or (N, tags) where target, of stats.targets, is another.

    stand_ins: kind -> modality -> (K, ...). lacking: modality -> (N,) clips that have none, whose features are a
    stand-in."""

    __test__ = False  # pytest takes classes of this name for tests

    stand_ins: dict[str, dict[str, Array]]
    lacking: dict[str, Array] = field(default_factory=dict)
    target: str = CLASSES


def conditions(modalities: Sequence[str], kinds: Sequence[str]) -> list[tuple[Coalition, str]]:
    """(coalition, kind of replacement): all of them once, kind ""; then each proper subset with each kind."""
    *subsets, everything = coalitions(modalities)
    return [(everything, ""), *itertools.product(subsets, kinds)]


def predict(ablator: ModalityAblator, test: TestSet, kinds: Sequence[str], seed: int) -> pd.DataFrame:
    """One row per condition and clip, in this order; columns as in `stats.prediction_columns`, and `condition`."""
    modalities = ablator.network.modalities
    clips = range(0, len(test.truth), ablator.batch)
    tables = []
    for kept, kind in conditions(modalities, kinds):
        embeddings = {name: ablator.embeddings(name, "" if name in kept else kind) for name in modalities}
        batches = ({name: rows[at : at + ablator.batch] for name, rows in embeddings.items()} for at in clips)
        values = np.concatenate([ablator.network.log_probabilities(batch) for batch in batches])
        withheld = set(modalities) - set(kept)
        columns = {"condition": condition(withheld, kind), "replacement": kind, "coalition": to_text(kept)}
        tables.append(rows(test, seed, columns, values))
    return pd.concat(tables, ignore_index=True)


def rows(test: TestSet, seed: int, columns: dict[str, str], log_probabilities: Array) -> pd.DataFrame:
    """One row a clip: what it is, what was said of it, the probability of every class."""
    values = log_probabilities
    clips = test.table[["clip_id", "group"]].assign(seed=seed, **columns)
    if "lacks" in test.table:
        clips["lacks"] = test.table["lacks"]
    clips["label"] = test.table["label"]
    if test.target != CLASSES:
        return clips.assign(target=test.target, **_other_target(test, values))
    clips["predicted"] = said(values, test.labels, CLASSES)
    clips["log_probability"] = values[np.arange(len(values)), test.truth]
    clips[RANK] = rank_of_truth(values, test.truth)
    probabilities = pd.DataFrame(np.exp(values).astype(np.float32), columns=[f"p_{name}" for name in test.labels])
    return pd.concat([clips, probabilities], axis=1)


def _other_target(test: TestSet, values: Array) -> dict[str, Array]:
    """The columns predicted and, of tags, log_probability: the sum over the tags of what is true of each."""
    if test.target == REGRESSION:
        return {"predicted": values[:, 0]}
    silent = np.log(np.maximum(1 - np.exp(values), np.finfo(np.float64).tiny))
    told = np.where(test.truth, values, silent).sum(1)
    return {"predicted": said(values, test.labels, test.target), "log_probability": told}


def said(log_probabilities: Array, labels: Sequence[str], target: str) -> Array:
    """(N, C) -> the likeliest class (N,), or the tags that are likelier there than not, joined by SEPARATOR."""
    names = np.array(labels, dtype=object)
    if target == CLASSES:
        return np.asarray(names[log_probabilities.argmax(1)])
    return np.array([SEPARATOR.join(names[row]) for row in np.exp(log_probabilities) >= 0.5], object)


def scores(label: pd.Series, predicted: pd.Series) -> dict[str, float]:
    """Of classes. Source: seed paper, section 4: accuracy, balanced accuracy, macro precision, recall and F1."""
    classes = pd.Index(sorted(set(label) | set(predicted)))
    confusion = np.zeros((len(classes), len(classes)))
    np.add.at(confusion, (classes.get_indexer(label), classes.get_indexer(predicted)), 1)
    return {name: float(value) for name, value in confusion_metrics(confusion).items()}
