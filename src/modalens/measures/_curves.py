"""Robustness curves: a metric at rising levels of an imperfection, and MultiBench's two numbers of each curve."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from modalens.stats.bootstrap import Bootstrap, kind_of
from modalens.stats.metrics import Array
from modalens.utils.errors import UserError

Curve = Mapping[float, Array]  # level, ascending from 0 -> the metric (1 + replicates, seeds)


def checked_levels(where: str, levels: Sequence[float], most: float = np.inf) -> tuple[float, ...]:
    """Raises UserError unless they rise from 0, which is the whole test set as it is."""
    numbers = tuple(levels)
    right = all(isinstance(one, int | float) and not isinstance(one, bool) and one <= most for one in numbers)
    if not right or len(numbers) < 2 or numbers[0] != 0 or any(np.diff(numbers) <= 0):
        end = "" if most == np.inf else f" to {most:g} at most"
        raise UserError(f"{where}: levels: expected numbers that rise from 0{end}, got {list(levels)}")
    return tuple(float(one) for one in numbers)


def curve_rows(metric: str, curve: Curve, baseline: Curve | None, bootstrap: Bootstrap) -> Iterator[dict[str, Any]]:
    """One row per level, `quantity` "curve"; then "relative" and, against a baseline, "effective" robustness.

    Source: Liang et al. 2021 (MultiBench, arXiv:2107.07502). Relative robustness is the area under the curve, effective
    robustness how far the curve lies above the baseline's, once that is shifted to begin where it begins. Both are
    divided by the length of the axis, so that they do not depend on how many levels there are: they are the mean of
    the curve, and of its distance. MultiBench adds the distances up, and scales both between the methods compared.
    """
    for level, values in curve.items():
        yield {"quantity": "curve", "level": level, **_estimate(values, metric, bootstrap, difference=False)}
    relative = _mean(curve)
    yield {"quantity": "relative", "level": np.nan, **_estimate(relative, metric, bootstrap, difference=False)}
    if baseline is not None:
        above = _mean({level: (curve[level] - curve[0.0]) - (baseline[level] - baseline[0.0]) for level in curve})
        yield {"quantity": "effective", "level": np.nan, **_estimate(above, metric, bootstrap, difference=True)}


def _mean(curve: Curve) -> Array:
    """Over the axis, by trapezoids."""
    levels = np.array(list(curve))
    area: Array = np.trapezoid(np.stack(list(curve.values())), levels, axis=0)
    return area / (levels[-1] - levels[0])


def _estimate(values: Array, metric: str, bootstrap: Bootstrap, *, difference: bool) -> dict[str, float]:
    return {"value": float(values[0].mean())} | bootstrap.summary(values, kind_of(metric, difference=difference))
