"""Interaction of two modalities: redundant below zero, additive at zero, synergistic above."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from modalens.measures._base import Measure
from modalens.measures._predictions import Coalitions, chosen
from modalens.stats.coalitions import coalitions, interaction_values
from modalens.stats.targets import main_metric


class Interaction(Measure):
    """Shapley interaction index (Grabisch and Roubens 1999) of each pair, exact over the 2^M coalitions.

    Equal Shapley values tell redundant modalities from synergistic ones as little as a sum tells its parts; this does.
    value_functions: metrics of stats.targets. replacement: one, several, or None for all that were evaluated.
    """

    targets_measured = ("classes", "regression", "multilabel")

    def __init__(
        self,
        *,
        value_functions: tuple[str, ...] = ("accuracy", "balanced_accuracy", "log_probability"),
        replacement: str | list[str] | None = None,
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        self.value_functions = tuple(value_functions)
        self.replacement = replacement
        self.resampling: dict[str, Any] = {"replicates": bootstrap, "confidence": confidence, "seed": seed}

    def __call__(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """One row per model, replacement, value function and pair of modalities; none for a model of one modality:

        model, replacement, value_function, modality, other,
        value with low, high, groups_low, groups_high, seeds_low, seeds_high, seed_std, detectable; of two modalities
        v(both) - v(one) - v(other) + v(none),
        clips, groups, seeds: how many were tested.
        """
        models = predictions.groupby("model", sort=True)
        return self.of([Coalitions(frame, str(model), **self.resampling) for model, frame in models])

    def of(self, models: Sequence[Coalitions]) -> pd.DataFrame:
        rows: list[dict[str, Any]] = []
        for scores in models:
            for replacement in chosen(scores.replacements, self.replacement):
                game = {one: scores.metrics(one, replacement) for one in coalitions(scores.modalities)}
                for name in scores.named(self.value_functions, "payoffs"):
                    values = interaction_values({one: metrics[name] for one, metrics in game.items()})
                    for pair in combinations(scores.modalities, 2):
                        row: dict[str, Any] = {"model": scores.model, "replacement": replacement}
                        row |= {"value_function": name, "modality": pair[0], "other": pair[1]}
                        row["value"] = float(values[pair][0].mean())
                        # A sum of four rates reaches from -2 to 2.
                        row |= scores.bootstrap.summary(values[pair], "real")
                        rows.append(row | scores.size())
        columns = ["model", "replacement", "value_function", "modality", "other", "value", "low", "high"]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: the interaction in accuracy of each pair, by replacement."""
        found = {}
        for row in table[table["value_function"] == main_metric(table["value_function"])].to_dict("records"):
            for end, column in {"": "value", "/low": "low", "/high": "high"}.items():
                found[f"interaction/{row['modality']}.{row['other']}{end}/{row['replacement']}"] = row[column]
        return found
