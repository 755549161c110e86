"""What a model reaches with each coalition of modalities, and what it loses against all of them."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from modalens.measures._base import Measure
from modalens.measures._predictions import Coalitions, chosen
from modalens.stats.bootstrap import kind_of
from modalens.stats.coalitions import coalitions, to_text
from modalens.stats.metrics import TOP
from modalens.stats.targets import main_metric


class CoalitionValues(Measure):
    """Whether some modalities suffice cannot be told from leaving one out, but where there are two: here each coalition
    is compared with all of them.

    metrics: as for leave_one_out. replacement: one, several, or None for all that were evaluated.
    """

    targets_measured = ("classes", "regression", "multilabel")

    def __init__(
        self,
        *,
        metrics: tuple[str, ...] = ("accuracy", "balanced_accuracy", "log_probability", *TOP),
        replacement: str | list[str] | None = None,
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        self.metrics = tuple(metrics)
        self.replacement = replacement
        self.resampling: dict[str, Any] = {"replicates": bootstrap, "confidence": confidence, "seed": seed}

    def __call__(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """One row per model, replacement, coalition and metric:

        model, replacement, coalition, metric,
        value, value_low, value_high: of the metric with only these modalities, interval over groups and seeds,
        lost = full - value with low, high, groups_low, groups_high, seeds_low, seeds_high, seed_std, detectable,
        clips, groups, seeds: how many were tested.
        """
        models = predictions.groupby("model", sort=True)
        return self.of([Coalitions(frame, str(model), **self.resampling) for model, frame in models])

    def of(self, models: Sequence[Coalitions]) -> pd.DataFrame:
        rows: list[dict[str, Any]] = []
        for scores in models:
            full = scores.metrics(scores.modalities, "")
            for replacement in chosen(scores.replacements, self.replacement):
                for coalition in coalitions(scores.modalities):
                    values = scores.metrics(coalition, replacement)
                    for metric in scores.named(self.metrics):
                        row: dict[str, Any] = {"model": scores.model, "replacement": replacement}
                        row |= {"coalition": to_text(coalition), "metric": metric}
                        row["value"] = float(values[metric][0].mean())
                        ends = scores.bootstrap.interval(values[metric], kind_of(metric, difference=False))
                        row["value_low"], row["value_high"] = ends
                        lost = full[metric] - values[metric]
                        row["lost"] = float(lost[0].mean())
                        row |= scores.bootstrap.summary(lost, kind_of(metric, difference=True))
                        rows.append(row | scores.size())
        return pd.DataFrame(rows)

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: the accuracy with each coalition, by replacement."""
        found = {}
        for row in table[table["metric"] == main_metric(table["metric"])].to_dict("records"):
            name = row["coalition"].replace(",", ".") or "none"
            found[f"with/{name}/{row['replacement']}"] = row["value"]
        return found
