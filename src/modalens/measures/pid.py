"""Partial information decomposition: what two modalities tell of the label twice, alone, and only together."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array

from modalens.measures._base import Measure
from modalens.measures._predictions import Coalitions, chosen
from modalens.stats.coalitions import Coalition, model_of, to_text
from modalens.stats.decomposition import entropy, information, parts
from modalens.stats.metrics import LOWEST_LOG_PROBABILITY, Array
from modalens.stats.prediction_columns import CLASS
from modalens.utils.errors import UserError
from modalens.utils.extras import not_installed
from modalens.utils.suggest import suggest

# Clips for each entry of a table of labels and cells: with fewer, what is left of its bias is as large as the parts.
CLIPS_PER_ENTRY = 3
# Of the study's replicates; intervals are made of their variance, which these tell to 5 %.
MOST_REPLICATES = 200


class Pid(Measure):
    """BROJA (Bertschinger, Rauh, Olbrich, Jost and Ay 2014), in bits, of each pair of modalities.

    What a modality tells alone is estimated by the cells (k-means) of the probabilities that are given with it alone,
    and what two tell together by twice as many cells of the probabilities that are given with both. The bias of small
    tables is taken off by the bootstrap. Of three modalities or more, two at a time; the others are withheld.

    cells: at most, and no fewer than the classes, where the test clips allow as many; the values are empty where there
    are not CLIPS_PER_ENTRY clips to each entry of a table (classes x min(cells, classes)). total: "log_probability" is
    the label's entropy plus the mean log-probability of the true class instead: what the joint model's probabilities
    are worth as they stand. A model that is overconfident has less of that than its modalities tell by their cells, and
    then a synergy below 0. models: by name, those of several modalities by default. replacement: one, several, or None
    for all that were evaluated.
    """

    reads_probabilities = True
    unit = "bits"

    def __init__(
        self,
        *,
        models: list[str] | None = None,
        cells: int = 8,
        total: str = "cells",
        replacement: str | list[str] | None = None,
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        if cells < 2:
            raise UserError(f"pid: cells: expected 2 or more, got {cells}")
        if total not in ("cells", "log_probability"):
            raise UserError(f"pid: total: expected cells or log_probability, got {total!r}")
        self.models = models
        self.cells = cells
        self.total = total
        self.replacement = replacement
        self.seed = seed
        replicates = min(bootstrap, MOST_REPLICATES)
        self.resampling: dict[str, Any] = {"replicates": replicates, "confidence": confidence, "seed": seed}

    def __call__(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """One row per model, notion, replacement (empty for `available`), pair of modalities and part:

        model, notion, replacement, modality, other,
        part: redundant (either tells it), unique (`modality` alone), unique_other (`other` alone), synergy (only
        together), total (their sum); and what the cells of one modality tell: alone, alone_other,
        value in bits with low, high, groups_low, groups_high, seeds_low, seeds_high, seed_std, detectable,
        cells, clips, groups, seeds: how many there were.

        notion: `used`, all from the one model, the other modalities replaced; `available`, each modality's cells from a
        model trained on it alone, where there is one, and the total from the model itself (of three modalities or more,
        from a model trained on the pair). Raises UserError for a table without columns p_<class>.
        """
        names = [name for name in map(str, predictions) if name.startswith(CLASS)]
        if not names:
            raise UserError("pid: expected columns p_<class>, the probability of each class; the predictions have none")
        models: dict[str, Coalitions] = {}
        for name, frame in predictions.groupby("model", sort=True):
            # A model of bare decisions has no probabilities.
            if frame[names].notna().all(axis=None):
                models[str(name)] = Coalitions(frame, str(name), **self.resampling)
        if unknown := sorted(set(self.models or ()) - set(models)):
            raise UserError(f"pid: models: no model {unknown[0]!r} with probabilities; {suggest(unknown[0], models)}")
        rows: list[dict[str, Any]] = []
        for scores in models.values():
            if self.models is not None and scores.model not in self.models:
                continue
            for key, pair, sources in self._sources(scores, models):
                rows += self._rows({"model": scores.model, **key}, pair, sources, names)
        columns = ["model", "notion", "replacement", "modality", "other", "part", "value", "low", "high"]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: each part in bits, by notion, pair and replacement."""
        found = {}
        for row in table[table["value"].notna()].to_dict("records"):
            pair = f"{row['modality']}.{row['other']}"
            found["/".join(filter(None, (row["notion"], pair, row["part"], row["replacement"])))] = row["value"]
        return found

    def _sources(
        self, scores: Coalitions, models: dict[str, Coalitions]
    ) -> Iterator[tuple[dict[str, str], Coalition, list["_Source"]]]:
        """Key of the rows, the pair, and where the first modality, the second and both are to be read."""
        for pair in combinations(scores.modalities, 2):
            wanted = [(pair[0],), (pair[1],), pair]
            for replacement in chosen(scores.replacements, self.replacement):
                key = {"notion": "used", "replacement": replacement}
                yield key, pair, [_Source(scores, kept, replacement) for kept in wanted]
            takes = {name: other.modalities for name, other in models.items() if other.same_test(scores)}
            found = [model_of(kept, takes) for kept in wanted]
            if scores.modalities == pair:
                found[2] = scores.model
            if None not in found:
                sources = [_Source(models[str(name)], kept, "") for name, kept in zip(found, wanted, strict=True)]
                yield {"notion": "available", "replacement": ""}, pair, sources

    def _rows(
        self, key: dict[str, str], pair: Coalition, sources: list["_Source"], names: list[str]
    ) -> list[dict[str, Any]]:
        scores = sources[2].scores
        classes = len(scores.axes.classes)
        cells = min(max(self.cells, classes), scores.clips // (CLIPS_PER_ENTRY * classes))
        bits = self._parts(sources, names, cells) if cells >= min(self.cells, classes) else None
        rows = []
        for part in ("redundant", "unique", "unique_other", "synergy", "total", "alone", "alone_other"):
            values = np.full((1, 1), np.nan) if bits is None else bits[part]
            row = key | {"modality": pair[0], "other": pair[1], "part": part, "value": float(values[0].mean())}
            row |= scores.bootstrap.summary(values, "real")
            rows.append(row | {"cells": cells if bits is not None else 0} | scores.size())
        return rows

    def _parts(self, sources: list["_Source"], names: list[str], cells: int) -> dict[str, Array]:
        """Each part (1 + replicates, seeds), the bias of all taken off."""
        first, second, both = sources
        tables = [source.tables(names, cells, self.seed) for source in (first, second)]
        if self.total == "cells":
            most = both.scores.clips // (CLIPS_PER_ENTRY * len(both.scores.axes.classes))
            total = information(both.tables(names, min(2 * cells, most), self.seed))
        else:
            total = both.told() + entropy(tables[0].sum(axis=-1))
        found = parts(tables[0], tables[1], total)
        bits = {
            "redundant": found["redundant"],
            "unique": found["unique_first"],
            "unique_other": found["unique_second"],
            "synergy": found["synergy"],
            "total": total,
            "alone": information(tables[0]),
            "alone_other": information(tables[1]),
        }
        return {name: values - _bias(values) for name, values in bits.items()}


def _bias(values: Array) -> Array:
    """(1 + replicates, seeds) -> (seeds,): replicates are as far from the sample as it is from the truth (Efron 1979).

    A table of few clips looks informative by chance alone; a resampled one looks so twice.
    """
    return values[1:].mean(axis=0) - values[0] if len(values) > 1 else np.zeros(values.shape[1])


class _Source:
    """One model's predictions with a coalition, as tables of the bootstrap's replicates."""

    def __init__(self, scores: Coalitions, kept: Coalition, replacement: str) -> None:
        self.scores = scores
        axes = scores.axes
        frame = scores.rows(kept, replacement)
        self.frames = [frame[frame["seed"] == seed].sort_values("clip_id") for seed in axes.seeds]
        self.where = f"{scores.model}, {to_text(kept)}"

    def tables(self, names: list[str], cells: int, seed: int) -> Array:
        """p(label, cell) of each replicate and seed: (1 + replicates, seeds, labels, cells)."""
        try:
            from sklearn.cluster import KMeans
        except ModuleNotFoundError as error:  # the only measure of predictions that needs it
            raise not_installed(error, "the measure pid", "report") from error
        found = []
        for frame in self.frames:
            probabilities = frame[names].to_numpy(np.float64)
            apart = len(np.unique(probabilities.round(6), axis=0))
            kmeans = KMeans(min(cells, apart), n_init=4, random_state=seed)
            found.append(self._weighted(frame, kmeans.fit_predict(probabilities), cells))
        return np.stack(found, axis=1)

    def told(self) -> Array:
        """Mean log2-probability of the true class, (1 + replicates, seeds)."""
        groups = self.scores.axes.groups
        sums = np.zeros((len(groups), len(self.frames)))
        for place, frame in enumerate(self.frames):
            values = np.maximum(frame["log_probability"].to_numpy(np.float64), LOWEST_LOG_PROBABILITY)
            np.add.at(sums[:, place], groups.get_indexer(pd.Index(frame["group"])), values / np.log(2))
        weights = self.scores.bootstrap.group_weights.astype(np.float64)
        sizes = self._sizes()
        return (weights @ sums) / (weights @ sizes)[:, None]

    def _sizes(self) -> Array:
        """Clips of each group."""
        groups = self.scores.axes.groups
        return np.bincount(groups.get_indexer(pd.Index(self.frames[0]["group"])), minlength=len(groups)).astype(float)

    def _weighted(self, frame: pd.DataFrame, cell: Any, cells: int) -> Array:
        axes = self.scores.axes
        label, group = (
            axes.classes.get_indexer(pd.Index(frame["label"])),
            axes.groups.get_indexer(pd.Index(frame["group"])),
        )
        shape = (len(axes.classes) * cells, len(axes.groups))
        counts = coo_array((np.ones(len(frame)), (label * cells + cell, group)), shape=shape).tocsr()
        weights = self.scores.bootstrap.group_weights.astype(np.float64)
        sums = (counts @ weights.T).T.reshape(len(weights), len(axes.classes), cells)
        return sums / sums.sum(axis=(1, 2), keepdims=True)
