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
# Share of clips whose true class is among the k that the model finds likeliest: of tables that rank it (RANK), and of
# more classes than k.
TOP = {"top3_accuracy": 3, "top5_accuracy": 5}
RANK = "label_rank"
METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_probability", *TOP)
# A model that gave the true class probability 0 in single precision; minus infinity would drown every mean.
LOWEST_LOG_PROBABILITY = float(np.log(np.finfo(np.float32).tiny))
EXACT_GROUPS = 13
CHUNK = 100


def check_metrics(where: str, names: Iterable[Any], known: Sequence[str] = METRICS) -> None:
    """Raises UserError for a name that is no metric, for none and for one that occurs twice. where: what begins the
    message."""
    several = list(names)
    for name in several:
        if name not in known:
            raise UserError(f"{where}: no metric {name!r}; {suggest(str(name), known)}")
    check_each_once(where, several, "metric")


def check_each_once(where: str, names: Sequence[Any], noun: str) -> None:
    if not names or len(set(names)) < len(names):
        raise UserError(f"{where}: expected one {noun} or more, each once, got {list(names)}")


def named(asked: Iterable[str], there: Iterable[str]) -> tuple[str, ...]:
    """The asked metrics that a table gives. Raises UserError where it gives none of them."""
    names, known = tuple(asked), set(there)
    found = tuple(name for name in names if name in known or name not in TOP)
    if names and not found:
        raise UserError(f"predictions: {names[0]} needs more than {TOP[names[0]]} classes, and {RANK} or p_<class>")
    return found


def rank_of_truth(values: Array, truth: NDArray[np.int64]) -> NDArray[np.int16]:
    """Scores (N, C), true class (N,) -> place of the true class among the classes (N,), the likeliest is 1.

    Of equals the first is named, as by argmax: accuracy is the share of first places.
    """
    own = np.take_along_axis(values, truth[:, None], 1)
    before = np.arange(values.shape[1]) < truth[:, None]
    return np.asarray(1 + ((values > own) | ((values == own) & before)).sum(1), np.int16)


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
    """One condition's counts: sparse (seeds * rows, groups).

    Of each seed the first classes² rows are the confusion matrix, the next the sum of log-probabilities, then for each
    of `tops`, names in TOP, how often the true class is among the first k. Sparse because a group holds few clips:
    20,000 groups, 5 seeds and 34 classes would be a gigabyte otherwise.
    """

    matrix: csr_array
    seeds: int
    classes: int
    tops: tuple[str, ...] = ()

    def metrics(self, weights: NDArray[np.uint16]) -> dict[str, Array]:
        """weights (B, groups) -> each metric (B, seeds)."""
        sums = (self.matrix @ weights.T.astype(np.float64)).T.reshape(len(weights), self.seeds, -1)
        confusion = sums[..., : self.classes**2].reshape(*sums.shape[:2], self.classes, self.classes)
        found = confusion_metrics(confusion)
        for place, name in enumerate(("log_probability", *self.tops), self.classes**2):
            found[name] = _ratio(sums[..., place], confusion.sum((-2, -1)))
        return found

    def per_group(self, metric: str) -> Array:
        """Number of right answers, or sum of log-probabilities, over all seeds: (groups,)."""
        first = np.arange(self.seeds)[:, None] * (self.classes**2 + 1 + len(self.tops))
        diagonal = np.arange(self.classes) * (self.classes + 1)
        inside = diagonal if metric == "accuracy" else np.array([self.classes**2])
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
    """Predictions of one condition, any order: group, seed, label, predicted, log_probability, perhaps RANK."""
    classes, seeds, groups = len(axes.classes), len(axes.seeds), len(axes.groups)
    ranked = RANK in frame and bool(frame[RANK].notna().all())
    # True classes, which are the same for all models of a test set.
    tops = tuple(name for name, most in TOP.items() if ranked and most < frame["label"].nunique())
    size = classes**2 + 1 + len(tops)
    group = axes.groups.get_indexer(pd.Index(frame["group"]))
    first = np.multiply(axes.seeds.get_indexer(pd.Index(frame["seed"])), size)
    label, predicted = (axes.classes.get_indexer(pd.Index(frame[name])) for name in ("label", "predicted"))
    log_probability = np.maximum(frame["log_probability"].to_numpy(np.float64), LOWEST_LOG_PROBABILITY)
    within = [(frame[RANK] <= TOP[name]).to_numpy(np.float64) for name in tops]
    values = np.stack([np.ones(len(frame)), log_probability, *within])
    inside = [np.add(np.multiply(label, classes), predicted), *range(classes**2, size)]
    rows = np.stack([np.add(first, place) for place in inside])
    columns = np.tile(group, len(values))
    counted = coo_array((values.ravel(), (rows.ravel(), columns)), shape=(seeds * size, groups))
    return ConfusionCounts(counted.tocsr(), seeds, classes, tops)
