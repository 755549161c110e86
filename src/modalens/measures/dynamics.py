"""Learning dynamics: how soon, and how well, a model learns each modality."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from modalens.measures._base import Measure
from modalens.stats.metrics import Array
from modalens.stats.significance import seed_interval
from modalens.utils.errors import UserError

ACCURACY, GRADIENT = "validation_accuracy", "gradient_norm"
CHANCE, CLIPS = "validation_chance", "validation_clips"
# What a quantity can be: an interval over few seeds, symmetric about their mean, reaches beyond.
LIMITS = {
    **dict.fromkeys(("accuracy", "best", "chance"), (0.0, 1.0)),
    **dict.fromkeys(("gradient_norm", "convergence_step"), (0.0, np.inf)),
    "convergence_epoch": (1.0, np.inf),
}
WHOLE = ""  # in place of a modality: the model with all of them


class Dynamics(Measure):
    """Validation accuracy of the model, and of each modality alone inside it, the training mean in place of the others;
    the size of the gradient of its sub-network; and when each converges. All over seeds, with Student's t.

    Modalities are there where the study recorded them: `training: {dynamics: true}`. Source: BalanceMLA's figure 1,
    which names an epoch of convergence of each unimodal model but no rule; ours is the first epoch that reaches `share`
    of the best one's accuracy. bootstrap: of the study; nothing is resampled here.
    """

    needs = "history"

    def __init__(self, *, share: float = 0.95, bootstrap: int = 1000, confidence: float = 0.95) -> None:
        if not 0 < share <= 1:
            raise UserError(f"dynamics: share: expected a number above 0 and up to 1, got {share}")
        del bootstrap
        self.share, self.confidence = share, confidence

    def __call__(self, histories: pd.DataFrame) -> pd.DataFrame:
        """One row per model, modality (empty: all of them) and quantity:

        model, modality, other, quantity:
            `accuracy`, `gradient_norm`: at each `epoch`, over the seeds that still learned in it;
            `best`: accuracy of the best epoch; `chance`: that of naming the commonest class, where it was recorded;
            `convergence_epoch`, `convergence_step`: the first epoch with `share` of the best accuracy, and the
            optimizer steps up to its end; empty where guessing could reach `best` at the best of as many epochs;
            `convergence_difference`: in epochs, of `modality` and `other`, seed by seed; above 0: `modality` is later,
        epoch, value, low, high (over seeds), seeds.
        """
        rows: list[dict[str, Any]] = []
        for model, history in histories.groupby("model", sort=True):
            rows += [{"model": str(model), **row} for row in self._model(history)]
        columns = ["model", "modality", "other", "quantity", "epoch", "value", "low", "high", "seeds"]
        return pd.DataFrame(rows, columns=columns)

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: best accuracy and epoch of convergence of each modality."""
        wanted = table[table["quantity"].isin(["best", "convergence_epoch"]) & table["value"].notna()]
        return {
            "/".join(filter(None, (row["quantity"], row["modality"]))): row["value"]
            for row in wanted.fillna({"modality": WHOLE}).to_dict("records")
        }

    def _model(self, history: pd.DataFrame) -> Iterator[dict[str, Any]]:
        found = {WHOLE: ACCURACY} | {
            name.removeprefix(f"{ACCURACY}."): name
            for name in map(str, history)
            if name.startswith(f"{ACCURACY}.") and history[name].notna().any()
        }
        recorded = {CHANCE, CLIPS} <= set(history) and history[[CHANCE, CLIPS]].notna().all(axis=None)
        chance = _per_seed(history, CHANCE, "max") if recorded else None
        epochs: dict[str, Array] = {}
        for modality, column in found.items():
            yield from self._curve(history, modality, "accuracy", column)
            if modality and f"{GRADIENT}.{modality}" in history:
                yield from self._curve(history, modality, "gradient_norm", f"{GRADIENT}.{modality}")
            best = _per_seed(history, column, "max")
            yield self._row(modality, "best", best)
            at = [self._converged(part, column) for _, part in history.groupby("seed", sort=True)]
            epochs[modality], steps = (np.array([row[name] for row in at], float) for name in ("epoch", "steps"))
            # A curve that stays at chance has a best epoch, too.
            if chance is not None and best.mean() <= self._by_luck(history):
                epochs[modality], steps = np.full_like(epochs[modality], np.nan), np.full_like(steps, np.nan)
            yield self._row(modality, "convergence_epoch", epochs[modality])
            yield self._row(modality, "convergence_step", steps)
        if chance is not None:
            yield self._row(WHOLE, "chance", chance)
        for one, other in combinations(sorted(set(epochs) - {WHOLE}), 2):
            yield self._row(one, "convergence_difference", epochs[one] - epochs[other], other=other)

    def _by_luck(self, history: pd.DataFrame) -> float:
        """Accuracy that naming the commonest class by luck does not pass at the best of as many epochs.

        Of one seed, since all seeds see the same validation clips; Bonferroni over the epochs of the longest.
        """
        count, chance = (float(history[name].max()) for name in (CLIPS, CHANCE))
        return float(binom.isf((1 - self.confidence) / history["epoch"].nunique(), count, chance)) / count

    def _curve(self, history: pd.DataFrame, modality: str, quantity: str, column: str) -> Iterator[dict[str, Any]]:
        for epoch, rows in history.groupby("epoch", sort=True):
            yield self._row(modality, quantity, rows[column].to_numpy(float), epoch=int(float(str(epoch))))

    def _converged(self, rows: pd.DataFrame, column: str) -> pd.Series:
        """Of one seed."""
        ordered = rows.sort_values("epoch")
        reached = (ordered[column] >= self.share * ordered[column].max()).to_numpy()
        return ordered.iloc[int(reached.argmax())]

    def _row(self, modality: str, quantity: str, values: Array, **more: Any) -> dict[str, Any]:
        low, high = seed_interval(values, self.confidence)
        least, most = LIMITS.get(quantity, (-np.inf, np.inf))
        low, high = max(low, least), min(high, most)
        row = {"modality": modality, "other": "", "quantity": quantity, "epoch": np.nan}
        return row | {"value": float(values.mean()), "low": low, "high": high, "seeds": len(values)} | more


def _per_seed(history: pd.DataFrame, column: str, how: str) -> Array:
    return history.groupby("seed", sort=True)[column].agg(how).to_numpy(float)
