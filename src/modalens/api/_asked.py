"""Arguments of the public functions, as the measures take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from modalens.stats.metrics import check_each_once, check_metrics
from modalens.stats.prediction_files import Table
from modalens.stats.targets import TARGETS, metrics_of, target_of
from modalens.utils import arguments
from modalens.utils.errors import UserError

Predictions = Table | Iterable[Table]


def metrics(where: str, asked: Sequence[str] | None, default: Sequence[str], table: pd.DataFrame) -> list[str]:
    """Raises UserError for what is no metric, and for log-probabilities of a table of bare decisions."""
    decisions, kind = bool(table["log_probability"].isna().any()), target_of(table)
    names = arguments.texts(where, metrics_of(default, kind) if asked is None else asked)
    check_metrics(where, names, TARGETS[kind].metrics)
    if not decisions:
        return names
    if asked is not None and "log_probability" in names:
        raise UserError(f"{where}: the predictions have neither log_probability nor p_<class>")
    return [name for name in names if name != "log_probability"]


def names(where: str, replacement: str | Sequence[str] | None) -> str | list[str] | None:
    if replacement is None or isinstance(replacement, str):
        return replacement
    several = arguments.texts(where, replacement)
    check_each_once(where, several, "replacement")
    return several


def resampling(where: str, bootstrap: int, confidence: float, seed: int) -> dict[str, Any]:
    return {
        "bootstrap": arguments.whole(f"{where}: bootstrap", bootstrap, 1),
        "confidence": arguments.share(f"{where}: confidence", confidence),
        "seed": arguments.whole(f"{where}: seed", seed, 0),
    }
