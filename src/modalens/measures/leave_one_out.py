"""Leave one modality out: how far each metric falls when one modality of a trained model is replaced."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from modalens.measures._base import Measure
from modalens.measures._predictions import Coalitions, chosen
from modalens.stats.bootstrap import kind_of
from modalens.stats.metrics import METRICS
from modalens.stats.significance import both_tests, corrected
from modalens.stats.targets import TARGETS, main_metric


class LeaveOneOut(Measure):
    """Source: the relevancy study's withheld modalities (its Tables 1-3), for any number of modalities.

    metrics: of stats.targets; all where the asked ones are of another kind of target. replacement: one, several, or
    None for all that were evaluated. bootstrap:
    replicates. permutations: sign flips of the paired test.
    """

    targets_measured = ("classes", "regression", "multilabel")

    def __init__(
        self,
        *,
        metrics: Sequence[str] = METRICS,
        replacement: str | list[str] | None = None,
        permutations: int = 9999,
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        self.metrics = tuple(metrics)
        self.replacement = replacement
        self.permutations = permutations
        self.seed = seed
        self.resampling: dict[str, Any] = {"replicates": bootstrap, "confidence": confidence, "seed": seed}

    def __call__(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """One row per model, replacement, withheld modality and metric:

        model, replacement, modality, metric,
        full, full_low, full_high, withheld, withheld_low, withheld_high: the metric and its crossed interval,
        chance: of who knows nothing of a clip, see Coalitions.chance; above_low, above_high: of full - chance,
        drop = full - withheld; low, high its interval over groups and seeds drawn together; groups_low, groups_high and
        seeds_low, seeds_high over one of them; seed_std its standard deviation between seeds,
        detectable: the smallest drop that this test set and these seeds would have shown (power 0.8),
        p_value: the larger one of a sign-flip test over groups and a paired t-test over seeds, so that a drop counts
        only if other clips and other seeds would show it (of what adds up over clips: accuracy,
        log_probability, negative_mse, tag_accuracy),
        p_holm: corrected over all rows of the table with the same metric; the report corrects over all tasks,
        clips, groups, seeds: how many were tested.
        """
        models = predictions.groupby("model", sort=True)
        return self.of([Coalitions(frame, str(model), **self.resampling) for model, frame in models])

    def of(self, models: Sequence[Coalitions]) -> pd.DataFrame:
        table = pd.DataFrame([row for scores in models for row in self._model(scores)])
        if len(table):
            columns = list(table.columns)
            columns.insert(columns.index("p_value") + 1, "p_holm")
            table = corrected(table, "metric")[columns]
        return table

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: full accuracy, and its drop for each modality and replacement; the same of balanced
        accuracy."""
        found: dict[str, float] = {}
        told = table["metric"].isin([main_metric(table["metric"]), "balanced_accuracy"])
        for row in table[told].to_dict("records"):
            found[row["metric"]] = row["full"]
            for end, column in {"": "drop", "/low": "low", "/high": "high"}.items():
                found[f"drop/{row['modality']}{end}/of {row['metric']}/{row['replacement']}"] = row[column]
        return found

    def _model(self, scores: Coalitions) -> list[dict[str, Any]]:
        chance = scores.chance()
        full, full_tally = scores.metrics(scores.modalities, ""), scores.tally(scores.modalities, "")
        bootstrap, rows = scores.bootstrap, []
        for replacement in chosen(scores.replacements, self.replacement):
            for modality in scores.modalities:
                kept = [name for name in scores.modalities if name != modality]
                withheld, withheld_tally = scores.metrics(kept, replacement), scores.tally(kept, replacement)
                for metric in scores.named(self.metrics):
                    row: dict[str, Any] = {"model": scores.model, "replacement": replacement}
                    row |= {"modality": modality, "metric": metric}
                    for name, values in (("full", full[metric]), ("withheld", withheld[metric])):
                        row[name] = float(values[0].mean())
                        ends = bootstrap.interval(values, kind_of(metric, difference=False))
                        row[f"{name}_low"], row[f"{name}_high"] = ends
                    row["chance"] = float(chance[metric][0].mean())
                    above = full[metric] - chance[metric]
                    row["above_low"], row["above_high"] = bootstrap.interval(above, kind_of(metric, difference=True))
                    row["drop"] = row["full"] - row["withheld"]
                    change = full[metric] - withheld[metric]
                    row |= bootstrap.summary(change, kind_of(metric, difference=True))
                    row["p_value"] = float("nan")
                    if metric in TARGETS[scores.target].tested:
                        difference = full_tally.per_group(metric) - withheld_tally.per_group(metric)
                        row["p_value"] = both_tests(difference, change[0], self.permutations, self.seed)["p"]
                    rows.append(row | scores.size())
        return rows
