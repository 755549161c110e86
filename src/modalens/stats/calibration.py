"""Temperature scaling: one number per model that makes its probabilities as confident as they are right.

Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The loss after it is still a proper score, and
overconfidence does not move it: what is left is how well the logits tell the classes apart.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalens.stats.targets import MULTILABEL, REGRESSION

Array = NDArray[np.float64]

# Weight, in clips, of the prior that the logits are right as they are. Without it a handful of clips that are all
# classified correctly would ask for infinite confidence. It costs b - 1 - log(b) at the inverse temperature b: convex,
# as the loss is, and weak against overconfidence.
PRIOR = 1.0
LARGEST = 1e4  # of temperature and of its inverse
ITERATIONS = 60  # about 6 are used; bisection alone would need as many
TOLERANCE = 1e-9  # of the inverse temperature, relative


def calibrated(outputs: NDArray[np.floating], labels: NDArray[Any], target: str) -> tuple[Array, Array]:
    """outputs (S, N, C), labels (N,), of tags (N, C) -> temperatures (S,) and, with each in place, mean losses (S,).

    Of tags one temperature for all: each is a class of two. Numbers have none: 1, and the squared error.
    """
    values = np.asarray(outputs, np.float64)
    if target == REGRESSION:
        return np.ones(len(values)), np.square(values[:, :, 0] - labels).mean(1)
    if target == MULTILABEL:
        pairs = np.stack([np.zeros_like(values), values], axis=-1).reshape(len(values), -1, 2)
        return fit_temperature(pairs, labels.ravel().astype(np.int64))
    return fit_temperature(values, labels)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[Array, Array]:
    """logits (S, N, C), labels (N,) -> temperatures (S,) and, with each in place, mean cross-entropies (S,) in nats.

    Newton's method on the inverse temperature, kept inside a bracket, for all S at once; the prior is not part of the
    cross-entropy returned.
    """
    values = np.asarray(logits, np.float64)
    margins = values - np.take_along_axis(
        values, np.broadcast_to(labels[None, :, None], (len(values), len(labels), 1)), 2
    )
    margins -= (top := margins.max(2, keepdims=True))
    pull = PRIOR / len(labels)
    inverse = np.ones(len(values))
    low, high = np.full_like(inverse, 1 / LARGEST), np.full_like(inverse, LARGEST)
    active = np.arange(len(values))
    for _ in range(ITERATIONS):
        at, rows, tops = inverse[active], margins[active], top[active]
        weights = np.exp(at[:, None, None] * rows)
        total = weights.sum(2)
        weights *= rows
        mean = weights.sum(2) / total
        weights *= rows
        variance = weights.sum(2) / total - mean**2
        slope = (mean + tops[:, :, 0]).mean(1) + pull * (1 - 1 / at)
        curvature = variance.mean(1) + pull / at**2
        high[active] = np.where(slope > 0, at, high[active])
        low[active] = np.where(slope > 0, low[active], at)
        step = at - slope / curvature
        inside = (step > low[active]) & (step < high[active])
        inverse[active] = np.where(inside, step, np.sqrt(low[active] * high[active]))
        # A seed's temperature does not depend on which others are fitted beside it: it is left alone once it is found.
        active = active[np.abs(inverse[active] - at) > TOLERANCE * at]
        if not len(active):
            break
    losses = np.log(np.exp(inverse[:, None, None] * margins).sum(2)) + inverse[:, None] * top[:, :, 0]
    return 1 / inverse, losses.mean(1)
