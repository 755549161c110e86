"""Metrics of weighted confusion matrices, bootstrap intervals over groups and seeds, paired tests, Holm's correction.

Everything resampled is an array (1 + replicates, seeds) whose row 0 is the estimate itself, so that a drop or a Shapley
value is plain arithmetic on such arrays and keeps its pairing: row b drew the same groups for every condition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse import coo_array, csr_array

Array = NDArray[np.float64]
METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_probability")
# A model that gave the true class probability 0 in single precision; minus infinity would drown every mean.
LOWEST_LOG_PROBABILITY = float(np.log(np.finfo(np.float32).tiny))
EXACT_GROUPS = 13
CHUNK = 100


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
class Tally:
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
class Axes:
    """What the rows of a prediction table are counted by, each sorted."""

    groups: pd.Index
    seeds: pd.Index
    classes: pd.Index

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "Axes":
        labels = pd.Index(sorted({*frame["label"].unique(), *frame["predicted"].unique()}))
        return cls(pd.Index(sorted(frame["group"].unique())), pd.Index(sorted(frame["seed"].unique())), labels)


def tally(frame: pd.DataFrame, axes: Axes) -> Tally:
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
    return Tally(coo_array((values, (rows, np.concatenate([group, group]))), shape=shape).tocsr(), seeds, classes)


class Bootstrap:
    """Draws groups and seeds with replacement, both in each replicate; clips of a group stay together.

    Source: the pigeonhole bootstrap of crossed factors (Owen 2007), percentile intervals. The group draws depend on
    (groups, replicates, seed) alone: models that were tested on the same clips are compared on the same draws.
    """

    def __init__(
        self, groups: int, seeds: int, replicates: int = 1000, confidence: float = 0.95, seed: int = 0
    ) -> None:
        self.confidence = confidence
        self.group_weights = _draws(groups, replicates, np.random.default_rng([seed, 0]))
        self.seed_weights = _draws(seeds, replicates, np.random.default_rng([seed, 1])) / seeds

    def metrics(self, counts: Tally) -> dict[str, Array]:
        """Every metric (1 + replicates, seeds). Memory is bounded by working on CHUNK replicates at a time."""
        starts = range(0, len(self.group_weights), CHUNK)
        chunks = [counts.metrics(self.group_weights[start : start + CHUNK]) for start in starts]
        return {metric: np.concatenate([chunk[metric] for chunk in chunks]) for metric in METRICS}

    def views(self, values: Array) -> dict[str, Array]:
        """(1 + replicates, seeds) -> mean over seeds (1 + replicates,) with `crossed`, `groups` or `seeds` redrawn.

        Not-a-number after row 0 where there is nothing to redraw: under two groups (for all but `seeds`) or two seeds.
        """
        views = {
            "crossed": (values * self.seed_weights).sum(axis=1),
            "groups": values.mean(axis=1),
            "seeds": self.seed_weights @ values[0],
        }
        if self.group_weights.shape[1] < 2:
            views["crossed"][1:] = views["groups"][1:] = np.nan
        if self.seed_weights.shape[1] < 2:
            views["seeds"][1:] = np.nan
        return views

    def interval(self, draws: Array) -> tuple[float, float]:
        """One view (1 + replicates,) -> (low, high)."""
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(draws[1:], [tail, 1 - tail]) if len(draws) > 1 else (np.nan, np.nan)
        return float(low), float(high)

    def summary(self, values: Array) -> dict[str, float]:
        """Columns low, high (crossed), groups_low, groups_high, seeds_low, seeds_high, seed_std (ddof=1)."""
        views = self.views(values)
        columns: dict[str, float] = {}
        for name, prefix in (("crossed", ""), ("groups", "groups_"), ("seeds", "seeds_")):
            columns[f"{prefix}low"], columns[f"{prefix}high"] = self.interval(views[name])
        columns["seed_std"] = float(np.std(values[0], ddof=1)) if values.shape[1] > 1 else np.nan
        return columns


def _draws(size: int, replicates: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """How often each of `size` things was drawn: (1 + replicates, size), row 0 once each."""
    weights = np.ones((1 + replicates, size), np.uint16)
    for row in weights[1:]:
        row[:] = np.bincount(rng.integers(size, size=size), minlength=size)
    return weights


def paired_test(difference: Array, permutations: int = 9999, seed: int = 0) -> float:
    """Two-sided sign-flip test that the differences (groups,) are symmetric about zero -> p.

    Whole groups flip, since clips of a group are alike. Exact when at most EXACT_GROUPS groups differ, otherwise random
    flips with p = (1 + as extreme) / (1 + permutations). Not-a-number under two groups.
    """
    if len(difference) < 2:
        return float("nan")
    # A group without a difference adds nothing to the sum whichever way it flips.
    moving = difference[difference != 0]
    if not len(moving):
        return 1.0
    least = abs(moving.sum()) - 1e-9 * np.abs(moving).sum()
    if len(moving) <= EXACT_GROUPS:
        signs = np.array(list(product([-1, 1], repeat=len(moving))))
        return float((np.abs(signs @ moving) >= least).mean())
    rng = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, permutations, CHUNK):
        flips = rng.integers(2, size=(min(CHUNK, permutations - start), len(moving)), dtype=np.int8)
        extreme += int((np.abs((2.0 * flips - 1) @ moving) >= least).sum())
    return (1 + extreme) / (1 + permutations)


def seed_test(difference: Array) -> float:
    """Two-sided paired t-test (Student 1908) that the differences (seeds,) of two ways of training have mean zero -> p.

    A sign-flip test of five seeds can never give less than 1/16. Not-a-number under two seeds.
    """
    if len(difference) < 2:
        return float("nan")
    if np.ptp(difference) < 1e-12:
        return 1.0 if abs(difference[0]) < 1e-12 else 0.0
    return float(stats.ttest_1samp(difference, 0).pvalue)


def holm(p_values: Sequence[float] | Array) -> Array:
    """Holm's (1979) correction of one family of p-values, in the order given; not-a-numbers stay and do not count."""
    p = np.asarray(p_values, np.float64)
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    return corrected
