"""What the measures of predictions share: one model's value_function for each set of kept modalities, resampled."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from modalens.stats.bootstrap import Bootstrap
from modalens.stats.coalitions import from_text, to_text
from modalens.stats.metrics import RANK, Array, count_confusions, named
from modalens.stats.prediction_columns import PRIOR_LOG_PROBABILITY, PRIOR_PREDICTED
from modalens.stats.targets import CLASSES, Counts, axes_of, commonest, count, metrics_of
from modalens.utils.errors import UserError


class Coalitions:
    """One model's predictions, asked by (coalition, replacement of the others).

    frame: as in stats.prediction_columns.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        model: str,
        bootstrap: Bootstrap | None = None,
        **options: Any,
    ) -> None:
        self.model = model
        full = frame[frame["replacement"] == ""]
        if len(full["coalition"].unique()) != 1:
            raise UserError(f"predictions: {model!r} must have all its modalities in one coalition, replacement ''")
        self.axes = axes_of(frame)
        self.target = self.axes.target
        self.clips = full["clip_id"].nunique()
        self.modalities = from_text(full["coalition"].iloc[0])
        self.replacements = sorted(set(frame["replacement"].unique()) - {""})
        self.bootstrap = bootstrap or Bootstrap(len(self.axes.groups), len(self.axes.seeds), **options)
        rows = ["replacement", "coalition"]
        self._frames = {(str(key[0]), from_text(str(key[1]))): part for key, part in frame.groupby(rows)}
        self._metrics: dict[tuple[str, tuple[str, ...]], dict[str, Array]] = {}
        whole = self.clips * len(self.axes.seeds)
        for (replacement, kept), part in self._frames.items():
            if len(part) != whole or part.duplicated(["clip_id", "seed"]).any():
                named = to_text(kept) or "nothing"
                raise UserError(f"{model!r}, {replacement!r} keeping {named}: not one row per clip and seed")

    def tally(self, kept: Sequence[str], replacement: str) -> Counts:
        return count(self.rows(kept, replacement), self.axes)

    def metrics(self, kept: Sequence[str], replacement: str) -> dict[str, Array]:
        """Each metric (1 + replicates, seeds)."""
        key = ("" if tuple(kept) == self.modalities else replacement, tuple(kept))
        if key not in self._metrics:
            self._metrics[key] = self.bootstrap.metrics(self.tally(kept, replacement))
        return self._metrics[key]

    def chance(self) -> dict[str, Array]:
        """Metrics of who knows how common each class was in training, and nothing of the clip.

        It always names the commonest class and gives each class its share as probability. Read off the test labels that
        would be too good: among 60 clips of 3 classes the commonest has .40. Where the table has no columns `prior_`,
        there is no other way. Of a number it is the training mean; of tags, those that half of the clips have.
        """
        frame = self.rows(self.modalities, "")
        if self.target != CLASSES:
            said = frame[PRIOR_PREDICTED] if PRIOR_PREDICTED in frame else commonest(frame["label"], self.target)
            sure = frame[PRIOR_LOG_PROBABILITY] if PRIOR_LOG_PROBABILITY in frame else float("nan")
            return self.bootstrap.metrics(count(frame.assign(predicted=said, log_probability=sure), self.axes))
        if {PRIOR_PREDICTED, PRIOR_LOG_PROBABILITY} <= set(frame):
            told = {"predicted": frame[PRIOR_PREDICTED], "log_probability": frame[PRIOR_LOG_PROBABILITY]}
            return self.bootstrap.metrics(count_confusions(_ranked(frame.assign(**told)), self.axes))
        shares = frame["label"].value_counts(normalize=True).sort_index()
        log_probability = np.log(frame["label"].map(shares).astype(float))
        guess = frame.assign(predicted=str(shares.idxmax()), log_probability=log_probability)
        return self.bootstrap.metrics(count_confusions(_ranked(guess), self.axes))

    def named(self, asked: Sequence[str], default: str = "metrics") -> tuple[str, ...]:
        """Of the asked metrics those that this model's predictions give; see targets.metrics_of."""
        return named(metrics_of(asked, self.target, default), self.metrics(self.modalities, ""))

    def size(self) -> dict[str, int]:
        return {"clips": self.clips, "groups": len(self.axes.groups), "seeds": len(self.axes.seeds)}

    def same_test(self, other: "Coalitions") -> bool:
        """Whether another model was tested on the same groups by the same seeds."""
        return self.axes.groups.equals(other.axes.groups) and self.axes.seeds.equals(other.axes.seeds)

    def rows(self, kept: Sequence[str], replacement: str) -> pd.DataFrame:
        """Of the table, one row a clip and seed. Raises UserError for what was not evaluated."""
        key = ("" if tuple(kept) == self.modalities else replacement, tuple(kept))
        if key not in self._frames:
            named = to_text(kept) or "nothing"
            where = f"coalition {named} under replacement {replacement!r}"
            raise UserError(f"predictions: {self.model!r} was not evaluated with {where}")
        return self._frames[key]


def _ranked(guess: pd.DataFrame) -> pd.DataFrame:
    """The rank of each clip's class for who says the same of every clip: by the share that a class is given.

    Classes that no test clip has cannot be told from the table and are not counted.
    """
    if RANK not in guess:
        return guess
    shares = guess.groupby("label")["log_probability"].first()
    return guess.assign(**{RANK: guess["label"].map(shares.rank(method="first", ascending=False))})


def chosen(replacements: list[str], wanted: str | list[str] | None) -> list[str]:
    """The replacements to measure: all when None. Raises UserError for one that was not evaluated."""
    if wanted is None:
        return replacements
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = sorted(set(names) - set(replacements))
    if unknown:
        raise UserError(f"replacement {unknown[0]!r} was not evaluated; there are {', '.join(replacements) or 'none'}")
    return names
