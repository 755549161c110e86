"""Robustness to missing modalities: each metric against the share of test clips that lack one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from modalens.measures._base import Measure
from modalens.measures._curves import Curve, checked_levels, curve_rows
from modalens.measures._predictions import Coalitions, chosen
from modalens.stats.metrics import TOP
from modalens.utils.errors import UserError

# Those that are means over clips, of all or of one class each: half the clips withheld is half way for them.
LINEAR = ("accuracy", "balanced_accuracy", "log_probability", *TOP)


class MissingCurve(Measure):
    """What is to be expected where clips lack a modality at random: (1 - share) full + share withheld, exactly.

    Drawing which clips lack it would add noise and tell no more. levels: shares of the clips. metrics: of LINEAR.
    baseline: the model that effective robustness compares with. replacement: one, several, or None for all.
    """

    def __init__(
        self,
        *,
        levels: Sequence[float] = (0, 0.2, 0.4, 0.6, 0.8, 1),
        metrics: Sequence[str] = ("accuracy", "balanced_accuracy", "log_probability"),
        baseline: str = "late_fusion",
        replacement: str | list[str] | None = None,
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        if unknown := sorted(set(metrics) - set(LINEAR)):
            raise UserError(f"missing_curve: metrics: expected some of {', '.join(LINEAR)}, got {unknown[0]!r}")
        self.levels = checked_levels("missing_curve", levels, most=1)
        self.metrics = tuple(metrics)
        self.baseline = baseline
        self.replacement = replacement
        self.resampling: dict[str, Any] = {"replicates": bootstrap, "confidence": confidence, "seed": seed}

    def __call__(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """One row per model, replacement, modality, metric and level, and one for each number of the curve:

        model, replacement, modality, metric,
        quantity: `curve`; `relative` robustness, the mean of the curve; `effective` robustness, the mean of how much
        less it falls than the baseline's (above 0: more robust), where that model was tested on the same clips,
        level: share of the clips that lack the modality; empty for the two numbers,
        value with low, high, groups_low, groups_high, seeds_low, seeds_high, seed_std, detectable,
        clips, groups, seeds: how many were tested.
        """
        models: dict[str, Coalitions] = {}
        for name, frame in predictions.groupby("model", sort=True):
            models[str(name)] = Coalitions(frame, str(name), **self.resampling)
        rows: list[dict[str, Any]] = []
        for name, scores in models.items():
            other = models.get(self.baseline)
            compared = other is not None and name != self.baseline and other.same_test(scores)
            for replacement in chosen(scores.replacements, self.replacement):
                for modality in scores.modalities:
                    shared = compared and other is not None and modality in other.modalities
                    for metric in scores.named(self.metrics):
                        curve = self._curve(scores, modality, replacement, metric)
                        against = self._curve(other, modality, replacement, metric) if shared and other else None
                        key = {"model": name, "replacement": replacement, "modality": modality, "metric": metric}
                        rows += [
                            key | row | scores.size() for row in curve_rows(metric, curve, against, scores.bootstrap)
                        ]
        return pd.DataFrame(rows)

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: both numbers of accuracy, by modality and replacement."""
        numbers = table[(table["metric"] == "accuracy") & (table["quantity"] != "curve")]
        return {
            f"{row['quantity']}/{row['modality']}/{row['replacement']}": row["value"]
            for row in numbers.to_dict("records")
        }

    def _curve(self, scores: Coalitions, modality: str, replacement: str, metric: str) -> Curve:
        kept = [name for name in scores.modalities if name != modality]
        full = scores.metrics(scores.modalities, "")[metric]
        withheld = scores.metrics(kept, replacement)[metric]
        return {share: np.asarray((1 - share) * full + share * withheld) for share in self.levels}
