"""Intervals over groups and seeds: the groups' variance by bootstrap, the seeds' by their own, with Student's t."""

from typing import Literal

import numpy as np
from scipy import special

from modalens.stats.metrics import CHUNK, Array
from modalens.stats.significance import FEWEST_GROUPS
from modalens.stats.targets import Counts
from modalens.utils.errors import UserError

# A rate lies from 0 to 1; a difference of rates from -1 to 1; a loss below 0, most of it from few clips; what is
# explained (R2) below 1, and what it lacks is a loss; a real number (a difference of losses) anywhere.
Kind = Literal["rate", "difference", "loss", "explained", "real"]
UNBOUNDED = ("log_probability", "r2", "negative_mse")
LARGEST = 50.0  # of a logarithm, which would overflow
POWER = 0.8  # of the smallest difference that a test set is said to be able to show


def kind_of(metric: str, *, difference: bool) -> Kind:
    if metric in UNBOUNDED:
        return "real" if difference else "explained" if metric == "r2" else "loss"
    return "difference" if difference else "rate"


class Bootstrap:
    """Draws groups with replacement; clips of a group stay together, seeds are all there in each replicate.

    Why not both drawn (Owen 2007, pigeonhole bootstrap) and percentiles: of three to ten seeds the percentile interval
    covers 75 to 90 % instead of 95 %. Here the variance of the mean over seeds is the groups' (bootstrap) plus the
    seeds' (s^2 / S), with Satterthwaite's (1946) degrees of freedom. The group draws depend on (groups, replicates,
    seed) alone: models that were tested on the same clips are compared on the same draws.
    """

    def __init__(
        self, groups: int, seeds: int, replicates: int = 1000, confidence: float = 0.95, seed: int = 0
    ) -> None:
        if not 0 < confidence < 1:
            raise UserError(f"confidence: expected a number between 0 and 1, got {confidence}")
        if replicates < 0 or replicates == 1:
            raise UserError(f"bootstrap: expected 2 replicates or more, or 0 for no intervals, got {replicates}")
        self.confidence = confidence
        self.groups, self.seeds = groups, seeds
        self.group_weights = _draws(groups, replicates, np.random.default_rng([seed, 0]))

    def metrics(self, counts: Counts) -> dict[str, Array]:
        """Every metric (1 + replicates, seeds). Memory is bounded by working on CHUNK replicates at a time."""
        starts = range(0, len(self.group_weights), CHUNK)
        chunks = [counts.metrics(self.group_weights[start : start + CHUNK]) for start in starts]
        return {metric: np.concatenate([chunk[metric] for chunk in chunks]) for metric in chunks[0]}

    def interval(self, values: Array, kind: Kind) -> tuple[float, float]:
        """Of the mean over seeds of (1 + replicates, seeds), groups and seeds both taken as drawn from many."""
        low, high, _ = self._interval(values, kind, groups=True, seeds=self.seeds > 1)
        return low, high

    def summary(self, values: Array, kind: Kind) -> dict[str, float]:
        """low, high: over groups and seeds; groups_low, groups_high and seeds_low, seeds_high: over one of them.

        seed_std: standard deviation between seeds (ddof=1). detectable: the smallest difference from zero that such a
        test would find with POWER. Not-a-number where there are not two groups or not two seeds, of detectable under
        FEWEST_GROUPS groups, whose test finds nothing however large.
        """
        columns: dict[str, float] = {}
        columns["low"], columns["high"], error = self._interval(values, kind, groups=True, seeds=self.seeds > 1)
        columns["groups_low"], columns["groups_high"], _ = self._interval(values, kind, groups=True, seeds=False)
        columns["seeds_low"], columns["seeds_high"], _ = self._interval(values, kind, groups=False, seeds=True)
        columns["seed_std"] = float(np.std(values[0], ddof=1)) if self.seeds > 1 else np.nan
        sure = special.ndtri(0.5 + self.confidence / 2)
        found = float((sure + special.ndtri(POWER)) * error)
        columns["detectable"] = found if self.groups >= FEWEST_GROUPS else np.nan
        return columns

    def _interval(self, values: Array, kind: Kind, *, groups: bool, seeds: bool) -> tuple[float, float, float]:
        """(low, high, standard error)."""
        if (groups and self.groups < 2) or (seeds and self.seeds < 2) or len(values) < 3:
            return np.nan, np.nan, np.nan
        estimate = float(values[0].mean())
        parts = []  # (variance, degrees of freedom)
        if groups:
            # The bootstrap of a mean of G has G - 1 parts of G of its variance.
            variance = values[1:].mean(axis=1).var(ddof=1) * self.groups / (self.groups - 1)
            if kind == "difference":
                # Half a pair each way beside what was seen (Agresti and Min 2005): no change in few groups is no proof
                # that there is none.
                variance += 1 / (self.groups + 2) ** 2
            parts.append((float(variance), self.groups - 1))
        if seeds:
            parts.append((float(values[0].var(ddof=1)) / self.seeds, self.seeds - 1))
        variance = sum(part for part, _ in parts)
        below = sum(part**2 / freedom for part, freedom in parts)
        freedom = variance**2 / below if below > 0 else parts[0][1]
        t = float(special.stdtrit(freedom, 0.5 + self.confidence / 2))
        error = float(np.sqrt(variance))
        if kind == "rate":
            return (*self._wilson(min(max(estimate, 0.0), 1.0), float(variance), t), error)
        whole = 1.0 if kind == "explained" else 0.0
        if kind in ("loss", "explained") and (lost := estimate - whole) < 0:
            # Of its logarithm: clips that are seldom and cost much are missing from a small test set.
            factor = float(np.exp(min(-t * error / lost, LARGEST)))
            return whole + lost * factor, whole + lost / factor, error
        low, high = estimate - t * error, estimate + t * error
        return (max(low, -1.0), min(high, 1.0), error) if kind == "difference" else (low, high, error)

    def _wilson(self, rate: float, variance: float, t: float) -> tuple[float, float]:
        """Wilson's (1927) interval on the number of independent trials that would have this variance.

        Where nothing varies (all right, or all wrong) each group counts as one.
        """
        spread = rate * (1 - rate)
        count = spread / variance if spread > 0 and variance > 0 else self.groups
        centre = (rate + t**2 / (2 * count)) / (1 + t**2 / count)
        half = t / (1 + t**2 / count) * np.sqrt(spread / count + t**2 / (4 * count**2))
        return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


def _draws(size: int, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `size` is drawn: (1 + replicates, size), row 0 once each."""
    weights = np.ones((1 + replicates, size), np.uint16)
    for replicate in range(1, replicates + 1):
        weights[replicate] = np.bincount(rng.integers(size, size=size), minlength=size)
    return weights
