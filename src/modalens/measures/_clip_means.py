"""Means over clips of one number a clip and seed, with their intervals over groups and seeds."""

from typing import Any

import numpy as np
import pandas as pd

from modalens.measures._studied import Array
from modalens.stats.bootstrap import Bootstrap, Kind
from modalens.stats.significance import FEWEST_GROUPS


class ClipMeans:
    """groups: of each of N clips. options: of the Bootstrap."""

    def __init__(self, groups: pd.Series, **options: Any) -> None:
        self._codes, names = pd.factorize(groups, sort=True)
        self._groups = len(names)
        self._options = options
        self._bootstraps: dict[int, Bootstrap] = {}

    def resampled(self, values: Array, inside: Array | None = None) -> tuple[Array, Bootstrap] | None:
        """values: (N, seeds). inside: (N, seeds), bool, the clips that count. -> (1 + replicates, seeds), of the seeds
        that have such clips, and what drew it; None where there is none. A replicate that drew none of them is left
        out."""
        counted = np.ones(values.shape, bool) if inside is None else inside
        there = counted.any(axis=0)
        if not there.any():
            return None
        values, counted = values[:, there], counted[:, there]
        bootstrap = self._bootstrap(int(there.sum()))
        sums, counts = (np.zeros((self._groups, values.shape[1])) for _ in range(2))
        np.add.at(sums, self._codes, np.where(counted, values, 0))
        np.add.at(counts, self._codes, counted)
        weights = bootstrap.group_weights.astype(np.float64)
        with np.errstate(invalid="ignore"):
            means = (weights @ sums) / (weights @ counts)
        return means[~np.isnan(means).any(axis=1)], bootstrap

    def summary(self, values: Array, inside: Array | None = None, kind: Kind = "real") -> dict[str, float]:
        """value with low, high, groups_low, groups_high, seeds_low, seeds_high, seed_std, detectable; clips (of at
        least one seed), groups and seeds that had such clips. {} where there is none."""
        found = self.resampled(values, inside)
        if found is None:
            return {}
        means, bootstrap = found
        counted = np.ones(values.shape, bool) if inside is None else inside
        clips = counted.any(axis=1)
        row = {"value": float(means[0].mean())} | bootstrap.summary(means, kind)
        groups = len(np.unique(self._codes[clips]))
        if groups < 2:
            row |= dict.fromkeys(("low", "high", "groups_low", "groups_high"), np.nan)
        if groups < FEWEST_GROUPS:
            row["detectable"] = np.nan
        return row | {"clips": int(clips.sum()), "groups": groups, "seeds": means.shape[1]}

    def _bootstrap(self, seeds: int) -> Bootstrap:
        if seeds not in self._bootstraps:
            self._bootstraps[seeds] = Bootstrap(self._groups, seeds, **self._options)
        return self._bootstraps[seeds]
