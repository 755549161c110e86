"""Metrics of weighted confusion matrices, bootstrap intervals over groups and seeds, paired tests, Holm's correction.

Everything resampled is an array (1 + replicates, seeds) whose row 0 is the estimate itself, so that a drop or a Shapley
value is plain arithmetic on such arrays and keeps its pairing: row b drew the same groups for every condition.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

Array = NDArray[np.float64]
METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_probability")
# A model that gave the true class probability 0 in single precision; minus infinity would drown every mean.
LOWEST_LOG_PROBABILITY = float(np.log(np.finfo(np.float32).tiny))
EXACT_GROUPS = 13
CHUNK = 100


def check_metrics(where: str, names: Iterable[Any], known: Sequence[str] = METRICS) -> None:
    """Raises UserError for a name that is no metric. where: what begins the message."""
    for name in names:
        if name not in known:
            raise UserError(f"{where}: no metric {name!r}; {suggest(str(name), known)}")


def confusion_metrics(confusion: Array) -> dict[str, Array]:
    """Confusion (..., true C, predicted C), weights >= 0 -> accuracy, balanced accuracy, macro precision, recall, F1.

    Equal to scikit-learn's with zero_division=0: macro means run over the classes that are true or predicted at least
    once, balanced accuracy over those that are true at least once.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, named = confusion.sum(-1), confusion.sum(-2)
    present = (true + named) > 0

    def macro(values: Array, over: NDArray[np.bool_]) -> Array:
        return _ratio((values * over).sum(-1), over.sum(-1))

    recall = _ratio(hits, true)
    return {
        "accuracy": _ratio(hits.sum(-1), true.sum(-1)),
        "balanced_accuracy": macro(recall, true > 0),
        "precision": macro(_ratio(hits, named), present),
        "recall": macro(recall, present),
        "f1": macro(_ratio(2 * hits, true + named), present),
    }


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)


@dataclass(frozen=True)
class ConfusionCounts:
    """One condition's counts: sparse (seeds * (classes² + 1), groups).

    Of each seed the first classes² rows are the confusion matrix, the last the sum of log-probabilities. Sparse because
    a group holds few clips: 20,000 groups, 5 seeds and 34 classes would be a gigabyte otherwise.
    """

    matrix: csr_array
    seeds: int
    classes: int

    def metrics(self, weights: NDArray[np.uint16]) -> dict[str, Array]:
        """weights (B, groups) -> each metric (B, seeds)."""
        sums = (self.matrix @ weights.T.astype(np.float64)).T.reshape(len(weights), self.seeds, -1)
        confusion = sums[..., :-1].reshape(*sums.shape[:2], self.classes, self.classes)
        found = confusion_metrics(confusion)
        found["log_probability"] = _ratio(sums[..., -1], confusion.sum((-2, -1)))
        return found

    def per_group(self, metric: str) -> Array:
        """Number of right answers, or sum of log-probabilities, over all seeds: (groups,)."""
        size = self.classes**2 + 1
        first = np.arange(self.seeds)[:, None] * size
        inside = np.arange(self.classes) * (self.classes + 1) if metric == "accuracy" else np.array([size - 1])
        return np.asarray(self.matrix[(first + inside).ravel()].sum(axis=0), np.float64).ravel()


@dataclass(frozen=True)
class CountAxes:
    """What the rows of a prediction table are counted by, each sorted."""

    groups: pd.Index
    seeds: pd.Index
    classes: pd.Index
    target: str = "classes"  # of stats.targets

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "CountAxes":
        named = [frame[name].unique() for name in ("label", "predicted", "prior_predicted") if name in frame]
        labels = pd.Index(sorted({label for labels in named for label in labels}))
        return cls(pd.Index(sorted(frame["group"].unique())), pd.Index(sorted(frame["seed"].unique())), labels)


def count_confusions(frame: pd.DataFrame, axes: CountAxes) -> ConfusionCounts:
    """Predictions of one condition (group, seed, label, predicted, log_probability), any order -> Tally."""
    classes, seeds, groups = len(axes.classes), len(axes.seeds), len(axes.groups)
    group = axes.groups.get_indexer(pd.Index(frame["group"]))
    first = np.multiply(axes.seeds.get_indexer(pd.Index(frame["seed"])), classes**2 + 1)
    label, predicted = (axes.classes.get_indexer(pd.Index(frame[name])) for name in ("label", "predicted"))
    cell = np.add(np.multiply(label, classes), predicted)
    log_probability = np.maximum(frame["log_probability"].to_numpy(np.float64), LOWEST_LOG_PROBABILITY)
    rows = np.concatenate([np.add(first, cell), first + classes**2])
    values = np.concatenate([np.ones(len(frame)), log_probability])
    shape = (seeds * (classes**2 + 1), groups)
    return ConfusionCounts(
        coo_array((values, (rows, np.concatenate([group, group]))), shape=shape).tocsr(), seeds, classes
    )
