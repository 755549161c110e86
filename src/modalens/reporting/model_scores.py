"""What one model reached on one task's test set: its predictions -> counts of right and wrong."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from modalens.stats.coalitions import from_text, to_text
from modalens.stats.metrics import RANK, TOP, Array
from modalens.stats.prediction_columns import PRIOR_PREDICTED
from modalens.stats.targets import CLASSES, TARGETS, axes_of, commonest, count, target_of
from modalens.utils import parquet
from modalens.utils.errors import UserError

IMBALANCE = 0.1  # so much more than its equal share has the commonest class, where accuracy hides the others


@dataclass(frozen=True)
class ModelScores:
    """One model on one task's test set. confusion: (replacement, coalition) -> (seeds, classes, classes), of classes
    only. top: likewise, top-k accuracy by its name (seeds,), where there are more classes. target: of stats.targets."""

    modalities: tuple[str, ...]
    classes: list[str]
    clips: int
    groups: int
    # The main metric of always naming the commonest class of the training set (of the test set, where that is not
    # known), the mean number or the tags that most clips have.
    chance: float
    confusion: dict[tuple[str, str], Array]
    seeds: int
    target: str = CLASSES
    top: dict[tuple[str, str], dict[str, Array]] = field(default_factory=dict)

    @property
    def full(self) -> Array:
        return self.confusion["", to_text(self.modalities)]

    @property
    def imbalanced(self) -> bool:
        """One class is so common in the test set that accuracy hides the others."""
        if self.target != CLASSES:
            return False
        counts = self.full[0].sum(axis=1)
        return bool(counts.max() / counts.sum() > 1 / np.count_nonzero(counts) + IMBALANCE)

    @property
    def rarest(self) -> tuple[str, int]:
        """The class with the fewest test clips, of those that have any, and how many. Of classes only."""
        counts = self.full[0].sum(axis=1)
        place = int(np.where(counts > 0, counts, np.inf).argmin())
        return self.classes[place], int(counts[place])


def read_scores(path: Path, replacements: list[str]) -> ModelScores:
    columns = ["clip_id", "group", "seed", "replacement", "coalition", "label", "predicted"]
    columns += [name for name in (PRIOR_PREDICTED, "target", RANK) if name in parquet.columns(path)]
    frame = parquet.read(path, columns, [("replacement", "in", ["", *replacements])])
    full = frame[frame["replacement"] == ""]
    if full.empty:
        raise UserError(f"{path} holds no prediction on the full input; run evaluate again")
    takes = from_text(str(full["coalition"].iloc[0]))
    sizes = (full["clip_id"].nunique(), full["group"].nunique())
    if (kind := target_of(full)) != CLASSES:
        return ModelScores(takes, [], *sizes, _chance(full, kind), {}, full["seed"].nunique(), kind)
    classes = sorted({*frame["label"].unique(), *frame["predicted"].unique()})
    seeds = sorted(frame["seed"].unique())
    index = pd.Index(classes)
    cell = np.ravel_multi_index(
        (
            np.asarray(pd.Index(seeds).get_indexer(pd.Index(frame["seed"]))),
            np.asarray(index.get_indexer(pd.Index(frame["label"]))),
            np.asarray(index.get_indexer(pd.Index(frame["predicted"]))),
        ),
        (len(seeds), len(classes), len(classes)),
    )
    confusion = {}
    for (replacement, kept), rows in frame.reset_index(drop=True).groupby(["replacement", "coalition"]):
        counts = np.bincount(cell[rows.index], minlength=len(seeds) * len(classes) ** 2).astype(np.float64)
        confusion[str(replacement), str(kept)] = counts.reshape(len(seeds), len(classes), len(classes))
    prior = full.get(PRIOR_PREDICTED, full["label"].mode().iloc[0])
    chance = float((full["label"] == prior).mean())
    top = _top(frame) if RANK in frame else {}
    return ModelScores(takes, classes, *sizes, chance, confusion, len(seeds), top=top)


def _top(frame: pd.DataFrame) -> dict[tuple[str, str], dict[str, Array]]:
    """(replacement, coalition) -> top-k accuracy (seeds,)."""
    wanted = {name: most for name, most in TOP.items() if most < frame["label"].nunique()}
    within = pd.DataFrame({name: frame[RANK] <= most for name, most in wanted.items()}, frame.index)
    found: dict[tuple[str, str], dict[str, Array]] = {}
    shares = within.groupby([frame["replacement"], frame["coalition"], frame["seed"]]).mean()
    for (replacement, kept), part in shares.groupby(level=[0, 1]):
        found[str(replacement), str(kept)] = {name: part[name].to_numpy() for name in wanted}
    return found


def _chance(full: pd.DataFrame, kind: str) -> float:
    """Of numbers or tags."""
    prior = full.get(PRIOR_PREDICTED, commonest(full["label"], kind))
    guess = full.assign(predicted=prior, log_probability=np.nan)
    axes = axes_of(guess)
    found = count(guess, axes).metrics(np.ones((1, len(axes.groups))))
    return float(found[TARGETS[kind].metrics[0]].mean())
