"""Bootstrap intervals over groups and seeds."""

import numpy as np

from modalens.stats.metrics import CHUNK, METRICS, Array, ConfusionCounts, _draws


class Bootstrap:
    """Draws groups and seeds with replacement, both in each replicate; clips of a group stay together.

    Source: the pigeonhole bootstrap of crossed factors (Owen 2007), percentile intervals. The group draws depend on
    (groups, replicates, seed) alone: models that were tested on the same clips are compared on the same draws.
    """

    def __init__(
        self, groups: int, seeds: int, replicates: int = 1000, confidence: float = 0.95, seed: int = 0
    ) -> None:
        self.confidence = confidence
        self.group_weights = _draws(groups, replicates, np.random.default_rng([seed, 0]))
        self.seed_weights = _draws(seeds, replicates, np.random.default_rng([seed, 1])) / seeds

    def metrics(self, counts: ConfusionCounts) -> dict[str, Array]:
        """Every metric (1 + replicates, seeds). Memory is bounded by working on CHUNK replicates at a time."""
        starts = range(0, len(self.group_weights), CHUNK)
        chunks = [counts.metrics(self.group_weights[start : start + CHUNK]) for start in starts]
        return {metric: np.concatenate([chunk[metric] for chunk in chunks]) for metric in METRICS}

    def views(self, values: Array) -> dict[str, Array]:
        """(1 + replicates, seeds) -> mean over seeds (1 + replicates,) with `crossed`, `groups` or `seeds` redrawn.

        Not-a-number after row 0 where there is nothing to redraw: under two groups (for all but `seeds`) or two seeds.
        """
        views = {
            "crossed": (values * self.seed_weights).sum(axis=1),
            "groups": values.mean(axis=1),
            "seeds": self.seed_weights @ values[0],
        }
        if self.group_weights.shape[1] < 2:
            views["crossed"][1:] = views["groups"][1:] = np.nan
        if self.seed_weights.shape[1] < 2:
            views["seeds"][1:] = np.nan
        return views

    def interval(self, draws: Array) -> tuple[float, float]:
        """One view (1 + replicates,) -> (low, high)."""
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(draws[1:], [tail, 1 - tail]) if len(draws) > 1 else (np.nan, np.nan)
        return float(low), float(high)

    def summary(self, values: Array) -> dict[str, float]:
        """Columns low, high (crossed), groups_low, groups_high, seeds_low, seeds_high, seed_std (ddof=1)."""
        views = self.views(values)
        columns: dict[str, float] = {}
        for name, prefix in (("crossed", ""), ("groups", "groups_"), ("seeds", "seeds_")):
            columns[f"{prefix}low"], columns[f"{prefix}high"] = self.interval(views[name])
        columns["seed_std"] = float(np.std(values[0], ddof=1)) if values.shape[1] > 1 else np.nan
        return columns
