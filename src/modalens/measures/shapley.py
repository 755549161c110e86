"""Modality Shapley values: a fair division of what a model gains over knowing nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from modalens.measures._base import Measure
from modalens.measures._predictions import Coalitions, chosen
from modalens.stats.bootstrap import Bootstrap, kind_of
from modalens.stats.coalitions import Coalition, coalitions, model_of, shapley_values
from modalens.stats.metrics import Array
from modalens.stats.targets import main_metric

ROUNDING = 1e-9
NO_SHARE = dict.fromkeys(("share", "share_low", "share_high"), float("nan"))


class Shapley(Measure):
    """Exact over the 2^M coalitions, in two notions that are kept apart.

    `used`: the value_function of a coalition is that of the one trained model with all other modalities replaced.
    `available`: it is that of a model trained on just these modalities (the experts), and the empty coalition's that of
    who knows only how common each class is. Given where a model for every coalition was trained on the same seeds.

    value_functions: metrics of stats.targets. replacement: one, several, or None for all that were evaluated.
    """

    targets_measured = ("classes", "regression", "multilabel")

    def __init__(
        self,
        *,
        value_functions: Sequence[str] = ("accuracy", "log_probability"),
        replacement: str | list[str] | None = None,
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        self.value_functions = tuple(value_functions)
        self.replacement = replacement
        self.resampling: dict[str, Any] = {"replicates": bootstrap, "confidence": confidence, "seed": seed}

    def __call__(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """One row per model, notion, replacement (empty for `available`), value_function and modality:

        model, notion, replacement, value_function, modality,
        value (log_probability in nats); low, high its interval over groups and seeds drawn together; groups_low,
        groups_high and seeds_low, seeds_high over one of them; seed_std its standard deviation between seeds,
        share = value / sum of values, share_low, share_high: empty unless the interval of the sum, and that of what
        the model gains over chance, lie above zero: what was not learned is not divided; empty for all modalities,
        too, where the interval of one share lies below 0 or above 1: of a joint model that is worse than one modality,
        none, full: value_functions of no and of all modalities; the values sum to full - none,
        clips, groups, seeds: how many were tested.
        """
        models = predictions.groupby("model", sort=True)
        return self.of([Coalitions(frame, str(model), **self.resampling) for model, frame in models])

    def of(self, models: Sequence[Coalitions]) -> pd.DataFrame:
        named = {scores.model: scores for scores in models}
        rows: list[dict[str, Any]] = []
        for scores in models:
            subsets = coalitions(scores.modalities)
            for replacement in chosen(scores.replacements, self.replacement):
                game = {subset: scores.metrics(subset, replacement) for subset in subsets}
                rows += self._rows({"notion": "used", "replacement": replacement}, scores, game)
            trained = self._trained(scores, named)
            if trained is not None:
                rows += self._rows({"notion": "available", "replacement": ""}, scores, trained)
        return pd.DataFrame(rows)

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: the value in accuracy of each modality, by notion and replacement."""
        found = {}
        for row in table[table["value_function"] == main_metric(table["value_function"])].to_dict("records"):
            for end, column in {"": "value", "low": "low", "high": "high"}.items():
                found["/".join(filter(None, (row["notion"], row["modality"], end, row["replacement"])))] = row[column]
        return found

    def _trained(self, scores: Coalitions, models: dict[str, Coalitions]) -> dict[Coalition, dict[str, Array]] | None:
        takes = {name: other.modalities for name, other in models.items() if other.same_test(scores)}
        game = {(): scores.chance(), scores.modalities: scores.metrics(scores.modalities, "")}
        for subset in coalitions(scores.modalities)[1:-1]:
            name = model_of(subset, takes)
            if name is None:
                return None
            game[subset] = models[name].metrics(subset, "")
        return game

    def _rows(
        self, key: dict[str, str], scores: Coalitions, game: Mapping[Coalition, dict[str, Array]]
    ) -> list[dict[str, Any]]:
        rows, chance = [], scores.chance()
        for value_function in scores.named(self.value_functions, "payoffs"):
            values = shapley_values({subset: metrics[value_function] for subset, metrics in game.items()})
            none, full = game[()][value_function], game[scores.modalities][value_function]
            gained, own = full - chance[value_function], []
            for modality, value in values.items():
                row: dict[str, Any] = {
                    "model": scores.model,
                    **key,
                    "value_function": value_function,
                    "modality": modality,
                }
                row["value"] = float(value[0].mean())
                row |= scores.bootstrap.summary(value, kind_of(value_function, difference=True))
                row |= _share(value, full - none, gained, scores.bootstrap, value_function)
                row |= {"none": float(none[0].mean()), "full": float(full[0].mean())}
                own.append(row | scores.size())
            if any(row["share_high"] < -ROUNDING or row["share_low"] > 1 + ROUNDING for row in own):
                own = [row | NO_SHARE for row in own]
            rows += own
        return rows


def _share(value: Array, total: Array, gained: Array, bootstrap: Bootstrap, value_function: str) -> dict[str, float]:
    """gained: over chance. A network that is misled by what stands in differs from itself, and may know nothing."""
    kind = kind_of(value_function, difference=True)
    # A share of nothing means nothing; without an interval nobody knows whether there is something to share.
    if not all(bootstrap.interval(whole, kind)[0] > 0 for whole in (total, gained)):
        return NO_SHARE
    whole = float(total[0].mean())
    share = float(value[0].mean()) / whole
    # The ratio's first-order part (delta method): seeds and groups vary in it as in any mean.
    ends = bootstrap.interval(value - share * total, kind)
    share_low, share_high = sorted(share + end / whole for end in ends)
    return {"share": share, "share_low": share_low, "share_high": share_high}
