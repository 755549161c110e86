"""Contribution against input length: models alike but for how much of their sequence each modality has."""

from collections.abc import Iterator, Mapping
from math import gcd
from typing import Any

import pandas as pd

from modalens.measures._base import Measure
from modalens.measures._predictions import Coalitions, chosen
from modalens.stats.bootstrap import kind_of
from modalens.stats.coalitions import coalitions, shapley_values
from modalens.stats.metrics import check_metrics
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest


class LengthContribution(Measure):
    """What a model reaches with other ratios of its modalities' lengths, and what each then contributes.

    Source: BalanceMLA, figure 1 and the text below it: where a model is best at a ratio x : y, the contributions of its
    modalities are said to be about x : y. That can be read only where the gain over equal lengths is more than chance,
    so the gain stands here with its interval, and the Shapley values of each model beside it.

    lengths: {model of the study: {modality: steps}}; one of them has equal lengths, with which the others are compared.
    metrics: of stats.metrics.METRICS. replacement: one, several, or None for all that were evaluated.
    """

    compares_models = True

    def __init__(
        self,
        *,
        lengths: dict[str, dict[str, int]] | None = None,
        metrics: tuple[str, ...] = ("accuracy", "log_probability"),
        replacement: str | list[str] | None = None,
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        check_metrics("length_contribution: metrics", metrics)
        self.lengths = _checked(lengths or {})
        self.equal = next(name for name, steps in self.lengths.items() if len(set(steps.values())) == 1)
        self.metrics = tuple(metrics)
        self.replacement = replacement
        self.resampling: dict[str, Any] = {"replicates": bootstrap, "confidence": confidence, "seed": seed}

    def __call__(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """One row per model of `lengths`, metric and quantity:

        model, lengths ("audio 8, video 4"), ratio ("2:1", in the order of the modalities' names), metric,
        quantity: `performance` of the model; `gain` over the model of equal lengths, paired; `shapley`, of `modality`
        by `replacement` (empty for the others),
        modality, replacement, value with low, high, groups_low, groups_high, seeds_low, seeds_high, seed_std,
        detectable; clips, groups, seeds: how many were tested.
        """
        models: dict[str, Coalitions] = {}
        for name in self.lengths:
            frame = predictions[predictions["model"] == name]
            if frame.empty:
                known = sorted(predictions["model"].unique())
                raise UserError(f"length_contribution: lengths: no model {name!r}; {suggest(name, known)}")
            models[name] = Coalitions(frame, name, **self.resampling)
            if set(models[name].modalities) != set(self.lengths[name]):
                got = ", ".join(models[name].modalities)
                raise UserError(f"length_contribution: lengths.{name}: expected a length of each of {got}")
        rows: list[dict[str, Any]] = []
        for name in sorted(models):
            for metric in models[name].named(self.metrics):
                key = {"model": name, **_words(self.lengths[name]), "metric": metric}
                rows += [
                    key | row | models[name].size() for row in self._rows(models[name], models[self.equal], metric)
                ]
        return pd.DataFrame(rows)

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: its gain in accuracy over equal lengths."""
        rows = table[(table["metric"] == "accuracy") & (table["quantity"] == "gain")]
        return {"gain": float(rows["value"].iloc[0])} if len(rows) else {}

    def _rows(self, scores: Coalitions, equal: Coalitions, metric: str) -> Iterator[dict[str, Any]]:
        full, bootstrap = scores.metrics(scores.modalities, "")[metric], scores.bootstrap

        def row(quantity: str, values: Any, *, difference: bool, modality: str = "", replacement: str = "") -> Any:
            found: dict[str, Any] = {"quantity": quantity, "modality": modality, "replacement": replacement}
            found["value"] = float(values[0].mean())
            return found | bootstrap.summary(values, kind_of(metric, difference=difference))

        yield row("performance", full, difference=False)
        if scores is not equal and scores.same_test(equal):
            yield row("gain", full - equal.metrics(equal.modalities, "")[metric], difference=True)
        for replacement in chosen(scores.replacements, self.replacement):
            game = {kept: scores.metrics(kept, replacement)[metric] for kept in coalitions(scores.modalities)}
            for modality, values in shapley_values(game).items():
                yield row("shapley", values, difference=True, modality=modality, replacement=replacement)


def _checked(lengths: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Raises UserError unless two models or more have lengths of the same modalities, one of them equal ones."""
    where = "length_contribution: lengths"
    for name, steps in lengths.items():
        whole = isinstance(steps, Mapping) and all(
            isinstance(count, int) and not isinstance(count, bool) and count > 0 for count in steps.values()
        )
        if not whole or len(steps) < 2:
            raise UserError(f"{where}.{name}: expected {{modality: steps}} of two modalities or more, got {steps!r}")
    if len(lengths) < 2 or len({tuple(sorted(steps)) for steps in lengths.values()}) > 1:
        raise UserError(
            f"{where}: expected two models or more of the same modalities, got {', '.join(lengths) or 'none'}"
        )
    if not any(len(set(steps.values())) == 1 for steps in lengths.values()):
        raise UserError(f"{where}: expected a model of equal lengths, with which the others are compared")
    return {name: dict(sorted(steps.items())) for name, steps in lengths.items()}


def _words(steps: Mapping[str, int]) -> dict[str, str]:
    divisor = gcd(*steps.values())
    ratio = ":".join(str(count // divisor) for count in steps.values())
    return {"lengths": ", ".join(f"{name} {count}" for name, count in steps.items()), "ratio": ratio}
