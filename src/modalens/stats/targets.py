"""What a label can be, and what is counted of the predictions of it: a class, a number, or several tags at once.

Every kind is counted by group, so that a resampled test set is a weighted sum; the measures know no kind by name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from modalens.stats.metrics import LOWEST_LOG_PROBABILITY, METRICS, Array, CountAxes, count_confusions

CLASSES, REGRESSION, MULTILABEL = "classes", "regression", "multilabel"
SEPARATOR = "|"  # between the tags of a clip
LARGEST, SMALLEST = 1e150, 1e-150  # number and difference of numbers, whose squares and sums of these float64 holds
ROUNDED = 1e4 * float(np.finfo(np.float64).eps)  # of the largest number: differences below it are rounding


class Counts(Protocol):
    def metrics(self, weights: NDArray[Any]) -> dict[str, Array]:
        """weights (B, groups) -> each metric (B, seeds)."""
        ...

    def per_group(self, metric: str) -> Array:
        """What adds up over clips, over all seeds: (groups,)."""
        ...


@dataclass(frozen=True)
class Target:
    """metrics: all of them; the first is the one that findings are told in. tested: those that add up over clips.
    payoffs: what is divided among the modalities. chance: metric -> what one reaches who knows nothing, where that does
    not depend on the test set."""

    metrics: tuple[str, ...]
    tested: tuple[str, ...]
    payoffs: tuple[str, ...]
    count: Callable[[pd.DataFrame, CountAxes], Counts]


def target_of(frame: pd.DataFrame) -> str:
    """The kind of a table of predictions."""
    return str(frame["target"].iloc[0]) if "target" in frame and len(frame) else CLASSES


def axes_of(frame: pd.DataFrame) -> CountAxes:
    """Groups, seeds, and the classes or tags that are true or named at least once."""
    kind = target_of(frame)
    if kind == CLASSES:
        return CountAxes.from_frame(frame)
    names = [frame[name] for name in ("label", "predicted", "prior_predicted") if name in frame]
    tags = sorted({tag for column in names for text in column.unique() for tag in tags_of(text)})
    groups, seeds = (pd.Index(sorted(frame[name].unique())) for name in ("group", "seed"))
    return CountAxes(groups, seeds, pd.Index(tags if kind == MULTILABEL else []), kind)


def count(frame: pd.DataFrame, axes: CountAxes) -> Counts:
    """Predictions of one condition, any order -> what its metrics are made of."""
    return TARGETS[axes.target].count(frame, axes)


def metrics_of_rows(frame: pd.DataFrame) -> dict[str, float]:
    """Every metric of predictions of one condition, mean over seeds."""
    axes = axes_of(frame)
    found = count(frame, axes).metrics(np.ones((1, len(axes.groups))))
    return {name: float(values.mean()) for name, values in found.items()}


def tags_of(text: str) -> list[str]:
    """`dog|rain` -> ["dog", "rain"]; empty -> []."""
    return [tag for tag in (part.strip() for part in str(text).split(SEPARATOR)) if tag]


# What is counted beside the loss while learning, clip by clip, by its name in a history.
SCORES = {CLASSES: "accuracy", REGRESSION: "r2", MULTILABEL: "tag_accuracy"}
# Of names that are no words.
IN_WORDS = {"r2": "R²", "micro_f1": "micro F1", "macro_f1": "macro F1"}


def in_words(metric: str) -> str:
    return IN_WORDS.get(metric, metric.replace("_", " "))


def main_metric(present: pd.Series) -> str:
    """The first of its kind's metrics, of those in a table."""
    mains = [target.metrics[0] for target in TARGETS.values()]
    return next((name for name in mains if (present == name).any()), mains[0])


def commonest(labels: pd.Series, kind: str) -> str:
    """What one says who knows how labels are spread and nothing of a clip."""
    if kind == REGRESSION:
        return str(pd.to_numeric(labels).mean())
    tags = labels.map(tags_of)
    counts = tags.explode().value_counts()
    return SEPARATOR.join(sorted(str(tag) for tag in counts[counts > len(tags) / 2].index))


def metrics_of(asked: Sequence[str], kind: str, default: str = "metrics") -> tuple[str, ...]:
    """Those of the asked ones that this kind of target has; where they speak of another kind, its own. default: metrics
    or payoffs."""
    own = tuple(name for name in asked if name in TARGETS[kind].metrics)
    return own if set(own) - {"log_probability"} or kind == CLASSES else getattr(TARGETS[kind], default)


@dataclass(frozen=True)
class _Sums:
    """Sparse (seeds * rows, groups), as in metrics.ConfusionCounts."""

    matrix: csr_array
    seeds: int

    def sums(self, weights: NDArray[Any]) -> Array:
        """(B, seeds, rows)."""
        return (self.matrix @ weights.T.astype(np.float64)).T.reshape(len(weights), self.seeds, -1)

    def row(self, place: int | slice) -> Array:
        """(groups,): one row, or several, over all seeds."""
        rows = np.arange(self.matrix.shape[0]).reshape(self.seeds, -1)[:, place]
        return np.asarray(self.matrix[rows.ravel()].sum(axis=0), np.float64).ravel()


class SquareSums(_Sums):
    """Rows: clips, y, y squared, squared error; y less a constant, for rounding. Metrics as scikit-learn's."""

    def metrics(self, weights: NDArray[Any]) -> dict[str, Array]:
        clips, total, squares, errors = np.moveaxis(self.sums(weights), 2, 0)
        spread = squares - np.divide(total**2, clips, out=np.zeros_like(total), where=clips > 0)
        varies = spread > 1e-12 * np.maximum(squares, 1e-300)
        lost = np.divide(errors, spread, out=np.where(errors > 0, 1.0, 0.0), where=varies)
        mean = np.divide(errors, clips, out=np.zeros_like(errors), where=clips > 0)
        return {"r2": 1 - lost, "negative_mse": -mean}

    def per_group(self, metric: str) -> Array:
        del metric
        return -self.row(3)


class TagSums(_Sums):
    """Rows: of each tag the right, the wrongly named and the missed ones; then clips and log-probability."""

    def metrics(self, weights: NDArray[Any]) -> dict[str, Array]:
        sums = self.sums(weights)
        *_, clips, told = np.moveaxis(sums, 2, 0)
        right, named, missed = np.moveaxis(sums[..., :-2].reshape(*sums.shape[:2], 3, -1), 2, 0)
        wrong = named + missed
        decisions = clips * right.shape[-1]
        return {
            "micro_f1": _share(2 * right.sum(-1), (2 * right + wrong).sum(-1)),
            "macro_f1": _share(2 * right, 2 * right + wrong).mean(-1),
            "tag_accuracy": _share(decisions - wrong.sum(-1), decisions),
            "log_probability": _share(told, clips),
        }

    def per_group(self, metric: str) -> Array:
        if metric == "log_probability":
            return self.row(-1)
        tags = (self.matrix.shape[0] // self.seeds - 2) // 3
        return tags * self.row(-2) - self.row(slice(tags, 3 * tags))


def _share(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)


def lost_spread(values: NDArray[np.float64]) -> str:
    """Why the variance of finite numbers cannot be computed, though they differ; "" where it can."""
    differ, largest = float(np.ptp(values)), float(np.abs(values).max())
    if 0 < differ < SMALLEST:
        return f"expected numbers that differ by {SMALLEST:g} or more, got {differ:.2g} at most; multiply them"
    if 0 < differ < ROUNDED * largest:
        return f"the numbers differ by {differ:.2g} at most, which rounding of {largest:.2g} hides; subtract a constant"
    return ""


def count_squares(frame: pd.DataFrame, axes: CountAxes) -> SquareSums:
    """label and predicted are numbers."""
    truth, said = (pd.to_numeric(frame[name]).to_numpy(np.float64) for name in ("label", "predicted"))
    centred = truth - truth.mean()
    values = np.stack([np.ones_like(truth), centred, centred**2, (truth - said) ** 2])
    return SquareSums(_matrix(values, frame, axes), len(axes.seeds))


def count_tags(frame: pd.DataFrame, axes: CountAxes) -> TagSums:
    """label and predicted are tags joined by SEPARATOR."""
    truth, said = (_indicators(frame[name], axes.classes) for name in ("label", "predicted"))
    told = np.maximum(frame["log_probability"].to_numpy(np.float64), LOWEST_LOG_PROBABILITY * len(axes.classes))
    parts = [truth & said, ~truth & said, truth & ~said]
    values = np.concatenate([*(part.T for part in parts), np.ones((1, len(frame))), told[None]], dtype=np.float64)
    return TagSums(_matrix(values, frame, axes), len(axes.seeds))


def _indicators(column: pd.Series, tags: pd.Index) -> NDArray[np.bool_]:
    """(N, tags)."""
    codes, texts = pd.factorize(column)
    known = np.zeros((len(texts), len(tags)), bool)
    for place, text in enumerate(texts):
        known[place, tags.get_indexer(pd.Index(tags_of(text), dtype=object))] = True
    return known[codes]


def _matrix(values: Array, frame: pd.DataFrame, axes: CountAxes) -> csr_array:
    """values (rows, clips) -> (seeds * rows, groups)."""
    rows = len(values)
    group = axes.groups.get_indexer(pd.Index(frame["group"]))
    first = np.multiply(axes.seeds.get_indexer(pd.Index(frame["seed"])), rows)
    place = (first + np.arange(rows)[:, None]).ravel()
    shape = (len(axes.seeds) * rows, len(axes.groups))
    return coo_array((values.ravel(), (place, np.tile(group, rows))), shape=shape).tocsr()


TARGETS = {
    CLASSES: Target(METRICS, ("accuracy", "log_probability"), ("accuracy", "log_probability"), count_confusions),
    REGRESSION: Target(("r2", "negative_mse"), ("negative_mse",), ("r2", "negative_mse"), count_squares),
    MULTILABEL: Target(
        ("micro_f1", "macro_f1", "tag_accuracy", "log_probability"),
        ("tag_accuracy", "log_probability"),
        ("micro_f1", "macro_f1", "tag_accuracy"),
        count_tags,
    ),
}
