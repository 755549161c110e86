"""Paired tests over groups and over seeds, and Holm's correction."""

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from modalens.stats.metrics import CHUNK, EXACT_GROUPS, Array
from modalens.utils.errors import UserError

# A sign-flip test of fewer groups never gives a p below 2 / 2**5 = 0.06, whatever they say.
FEWEST_GROUPS = 6


def holm(p_values: Sequence[float] | Array) -> Array:
    """Holm's (1979) correction of one family of p-values, in the order given; not-a-numbers stay and do not count."""
    p = np.asarray(p_values, np.float64)
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    return corrected


def corrected(table: pd.DataFrame, by: str = "", p: str = "p_value") -> pd.DataFrame:
    """The table with `p_holm` over all its rows, or over those that are equal in the column `by`."""
    families = table.groupby(by)[p] if by else table.groupby(np.zeros(len(table)))[p]
    return table.assign(p_holm=families.transform(lambda family: holm(family.to_numpy(np.float64))))


def seed_test(difference: Array) -> float:
    """Two-sided paired t-test (Student 1908) that the differences (seeds,) of two ways of training have mean zero -> p.

    A sign-flip test of five seeds can never give less than 1/16. Not-a-number under two seeds.
    """
    if len(difference) < 2:
        return float("nan")
    if np.ptp(difference) < 1e-12:
        return 1.0 if abs(difference[0]) < 1e-12 else 0.0
    return float(stats.ttest_1samp(difference, 0).pvalue)


def paired_test(difference: Array, permutations: int = 9999, seed: int = 0) -> float:
    """Two-sided sign-flip test that the differences (groups,) are symmetric about zero -> p.

    Whole groups flip, since clips of a group are alike. Exact when at most EXACT_GROUPS groups differ, otherwise random
    flips with p = (1 + as extreme) / (1 + permutations). Not-a-number under two groups. Raises UserError.
    """
    if permutations < 1:
        raise UserError(f"permutations: expected at least 1, got {permutations}")
    if len(difference) < 2:
        return float("nan")
    # A group without a difference adds nothing to the sum whichever way it flips.
    moving = difference[difference != 0]
    if not len(moving):
        return 1.0
    least = abs(moving.sum()) - 1e-9 * np.abs(moving).sum()
    if len(moving) <= EXACT_GROUPS:
        signs = _all_signs(len(moving))
        return float((np.abs(signs @ moving) >= least).mean())
    rng = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, permutations, CHUNK):
        flips = rng.integers(2, size=(min(CHUNK, permutations - start), len(moving)), dtype=np.int8)
        extreme += int((np.abs((2.0 * flips - 1) @ moving) >= least).sum())
    return (1 + extreme) / (1 + permutations)


@cache
def _all_signs(count: int) -> Array:
    return np.array(list(product([-1.0, 1.0], repeat=count)))


def both_tests(by_group: Array, by_seed: Array, permutations: int = 9999, seed: int = 0) -> dict[str, float]:
    """p_groups, p_seeds, and p, the larger one: a difference that would be there for other clips and for other seeds.

    by_group: sum of the differences of each group's clips over all seeds (groups,). by_seed: mean difference of each
    seed (seeds,). Either alone is not enough: with many clips the luck of five seeds is a clear difference, with many
    seeds that of few clips. Under two groups or two seeds the other test stands alone.
    """
    over_groups, over_seeds = paired_test(by_group, permutations, seed), seed_test(by_seed)
    return {"p_groups": over_groups, "p_seeds": over_seeds, "p": float(np.fmax(over_groups, over_seeds))}


def seed_interval(values: Array, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean over seeds (seeds,); not-a-number under two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = float(stats.t.ppf(0.5 + confidence / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half
