"""Per-sample relevance: which test clips need which modality."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from modalens.measures._base import Measure
from modalens.measures._predictions import Coalitions, chosen
from modalens.stats.coalitions import Coalition, coalitions, shapley_values
from modalens.stats.metrics import LOWEST_LOG_PROBABILITY, Array
from modalens.utils.csv_tables import neutral
from modalens.utils.errors import UserError


class SampleRelevance(Measure):
    """Of every test clip and modality: the drop and the Shapley value in log-probability of the true class, and the
    valuation of Wei, Feng, Wang and Hu 2024 (arXiv 2309.06255): the Shapley value where a coalition S is worth |S| if
    the class is named with it, and nothing if not.

    A clip is one clip: its only uncertainty here is between seeds (Student's t). models: by name, those of several
    modalities by default. replacement: one, several, or None for all that were evaluated.
    """

    def __init__(
        self,
        *,
        models: list[str] | None = None,
        replacement: str | list[str] | None = None,
        bootstrap: int = 1000,
        confidence: float = 0.95,
    ) -> None:
        """bootstrap: of the study; nothing is resampled here."""
        del bootstrap
        self.models, self.replacement, self.confidence = models, replacement, confidence

    def __call__(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """One row per model, replacement, clip and modality:

        model, replacement, clip_id, group, label, modality (text that a spreadsheet would take for a formula has a '
        before it),
        predicted: by most of the seeds with all modalities; correct, correct_without, correct_alone: share of the seeds
        that name the class with all modalities, without this one, with this one alone; changes: share of the seeds
        whose prediction changes without it,
        drop: log-probability of the class with all modalities less that without this one, mean over seeds; shapley: the
        Shapley value of the log-probability; each with _low and _high, the interval over seeds (nats),
        valuation: of Wei et al., mean over seeds,
        verdict: `needed` where the whole interval of the drop is above zero, `harmful` where it is below, else `cannot
        tell`. Of clips that do not need it, (1 - confidence) / 2 are still called so by chance.
        seeds: how many there were.
        """
        known = sorted(predictions["model"].unique())
        if unknown := sorted(set(self.models or ()) - set(known)):
            raise UserError(f"sample_relevance: models: expected some of {', '.join(known)}, got {unknown[0]!r}")
        tables = []
        for model, frame in predictions.groupby("model", sort=True):
            if self.models is None or model in self.models:
                scores = Coalitions(frame, str(model), replicates=0)
                if len(scores.modalities) > 1:
                    tables += [self._table(scores, name) for name in chosen(scores.replacements, self.replacement)]
        if not tables:
            return pd.DataFrame(columns=["model", "replacement", "clip_id", "modality", "drop", "verdict"])
        table = pd.concat(tables, ignore_index=True)
        return table.assign(**{name: table[name].map(neutral) for name in ("clip_id", "group", "label", "predicted")})

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: the share of the clips that need each modality."""
        found = {}
        for row in table[["modality", "replacement"]].drop_duplicates().to_dict("records"):
            same = (table["modality"] == row["modality"]) & (table["replacement"] == row["replacement"])
            found[f"needed/{row['modality']}/{row['replacement']}"] = float((table["verdict"][same] == "needed").mean())
        return found

    def _table(self, scores: Coalitions, replacement: str) -> pd.DataFrame:
        told = {kept: _Told(scores, kept, replacement) for kept in coalitions(scores.modalities)}
        whole = told[scores.modalities]
        shapley = shapley_values({kept: one.log_probability for kept, one in told.items()})
        valuation = shapley_values({kept: len(kept) * one.right for kept, one in told.items()})
        tables = []
        for name in scores.modalities:
            without = told[tuple(other for other in scores.modalities if other != name)]
            drop = whole.log_probability - without.log_probability
            columns: dict[str, Any] = {
                "model": scores.model,
                "replacement": replacement,
                **whole.clips,
                "modality": name,
                "predicted": whole.most_named(),
                "correct": whole.right.mean(1),
                "correct_without": without.right.mean(1),
                "correct_alone": told[(name,)].right.mean(1),
                "changes": (whole.predicted != without.predicted).mean(1),
            }
            for title, values in (("drop", drop), ("shapley", shapley[name])):
                low, high = self._interval(values)
                columns |= {title: values.mean(1), f"{title}_low": low, f"{title}_high": high}
            columns["valuation"] = valuation[name].mean(1)
            columns["verdict"] = np.select(
                [columns["drop_low"] > 0, columns["drop_high"] < 0], ["needed", "harmful"], "cannot tell"
            )
            tables.append(pd.DataFrame(columns | {"seeds": drop.shape[1]}))
        table = pd.concat(tables, ignore_index=True)
        return table.sort_values(["clip_id", "modality"], ignore_index=True)

    def _interval(self, values: Array) -> tuple[Array, Array]:
        """(N, seeds) -> the ends of each clip's, not-a-number with a single seed."""
        seeds = values.shape[1]
        if seeds < 2:
            return np.full(len(values), np.nan), np.full(len(values), np.nan)
        half = stats.t.ppf(0.5 + self.confidence / 2, seeds - 1) * values.std(1, ddof=1) / np.sqrt(seeds)
        return values.mean(1) - half, values.mean(1) + half


class _Told:
    """What was said with one coalition: arrays (clips, seeds), clips sorted by id."""

    def __init__(self, scores: Coalitions, kept: Coalition, replacement: str) -> None:
        frame = scores.rows(kept, replacement).sort_values(["clip_id", "seed"])
        shape = (scores.clips, len(scores.axes.seeds))
        first = frame.drop_duplicates("clip_id")
        self.clips = {name: first[name].to_numpy() for name in ("clip_id", "group", "label")}
        self.predicted = frame["predicted"].to_numpy().reshape(shape)
        self.right = (self.predicted == self.clips["label"][:, None]).astype(float)
        values = np.maximum(frame["log_probability"].to_numpy(np.float64), LOWEST_LOG_PROBABILITY)
        self.log_probability = values.reshape(shape)

    def most_named(self) -> list[str]:
        """By clip, the class that most seeds name; of equals the first by name."""
        named = []
        for row in self.predicted:
            names, counts = np.unique(row.astype(str), return_counts=True)
            named.append(str(names[counts.argmax()]))
        return named
