"""What a test set can show at best, before anything is trained."""

import numpy as np
from scipy import stats

from modalens.stats.bootstrap import POWER
from modalens.stats.significance import FEWEST_GROUPS


def smallest_drop(groups: int, confidence: float = 0.95, power: float = POWER) -> float:
    """The smallest drop of accuracy that so many independent test clips, or groups, show with `power`, at best; a
    smaller one is shown by luck.

    At best: all predictions that change become wrong, and the seeds agree. Then the number that change is binomial, and
    the interval of `stats.bootstrap` excludes zero from some number on; the drop is the rate that reaches this number
    with probability `power`. 1 where even a drop of everything would not show, as of fewer groups than a paired test
    needs (significance.FEWEST_GROUPS). Real studies need more: `detectable` of
    the measures says how much, once there are predictions.
    """
    if groups < FEWEST_GROUPS:
        return 1.0
    drops = np.arange(groups + 1) / groups
    # As Bootstrap.interval has it: the variance of a mean, and half a pair each way (Agresti and Min 2005).
    errors = np.sqrt(drops * (1 - drops) / (groups - 1) + 1 / (groups + 2) ** 2)
    shown = np.flatnonzero(drops > stats.t.ppf(0.5 + confidence / 2, groups - 1) * errors)
    if not len(shown):
        return 1.0
    # Clopper and Pearson (1934): the rate at which a binomial variable reaches a number with a given probability.
    return float(stats.beta.ppf(power, shown[0], groups - shown[0] + 1))


def least_drop(groups: int, confidence: float = 0.95) -> float:
    """No drop of a score from 0 to 1 below this is shown by so many test clips, or groups, whatever is predicted.

    Half a pair each way stands beside what was seen (`stats.bootstrap`, after Agresti and Min 2005), so that the
    interval of a difference is never narrower. It says what cannot be shown, and promises nothing of what can: of tags,
    where a clip loses a part of its score, that hangs on the predictions. 1 of fewer groups than a paired test needs.
    """
    if groups < FEWEST_GROUPS:
        return 1.0
    return float(stats.norm.ppf(0.5 + confidence / 2) / (groups + 2))


def smallest_drop_of_r2(groups: int, confidence: float = 0.95, power: float = POWER) -> float:
    """The smallest fall of R² to zero that so many independent test clips, or groups, show with `power`.

    Of labels and errors from normal distributions, where the modality that is withheld explains all that is explained:
    the difference of a clip's two squared errors has mean d and variance 4 d - 2 d², in units of the labels' variance,
    and d is k standard errors of it, k the sum of both quantiles. Of few clips the power is higher. 1 where even that
    would not show.
    """
    if groups < FEWEST_GROUPS:
        return 1.0
    quantiles = stats.t.ppf(0.5 + confidence / 2, groups - 1) + stats.t.ppf(power, groups - 1)
    return float(min(4 * quantiles**2 / (groups + 2 * quantiles**2), 1.0))
