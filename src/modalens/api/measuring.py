"""Measures of predictions, whatever made these."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from modalens.api import _asked as asked
from modalens.api._asked import Predictions
from modalens.measures.leave_one_out import LeaveOneOut
from modalens.measures.shapley import Shapley
from modalens.stats.metrics import METRICS
from modalens.stats.prediction_files import load_predictions
from modalens.utils import arguments
from modalens.utils.errors import UserError


def leave_one_out(
    predictions: Predictions,
    *,
    metrics: Sequence[str] | None = None,
    replacement: str | Sequence[str] | None = None,
    permutations: int = 9999,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """How far each metric falls when one modality is withheld from a model.

    predictions: a table of predictions, or what `load_predictions` reads; for M modalities it holds the coalition of
    all and the M coalitions of all but one, under each replacement. metrics: accuracy, balanced_accuracy, precision,
    recall, f1 (macro means over classes; shares from 0 to 1) and log_probability (of the true class, in nats); None is
    all that the table allows. replacement: one, several, or None for all. permutations: sign flips of the paired test,
    exact where few groups differ. bootstrap: replicates of the groups behind each interval. confidence:
    of the intervals. seed: of the resampling; the same seed gives the same table.

    Returns one row per model, replacement, modality and metric: full and withheld (the metric, mean over seeds) with
    the ends full_low, full_high, withheld_low, withheld_high of their intervals; drop = full - withheld with low and
    high; groups_low, groups_high, seeds_low, seeds_high (resampled over groups or seeds alone); seed_std; p_value and
    p_holm (Holm-corrected over the rows of a metric); clips, groups, seeds (counts). Not-a-number where one group or
    one seed leaves nothing to resample.

    Raises UserError for a table that breaks the contract or lacks a coalition, an unknown metric or replacement.
    Source: Geraghty et al. 2023 (withheld modalities); Satterthwaite 1946, Wilson 1927, Agresti and Min 2005
    (intervals); Holm 1979.
    """
    resampling = asked.resampling("leave_one_out", bootstrap, confidence, seed)
    permutations = arguments.whole("leave_one_out: permutations", permutations, 1)
    table = load_predictions(predictions, probabilities=False)
    if not (table["replacement"] != "").any():
        full = table["coalition"].iloc[0]
        raise UserError(f"leave_one_out: no modality is withheld: expected coalitions of fewer names than {full!r}")
    measure = LeaveOneOut(
        metrics=asked.metrics("leave_one_out: metrics", metrics, METRICS, table),
        replacement=asked.names("leave_one_out: replacement", replacement),
        permutations=permutations,
        **resampling,
    )
    return measure(table)


def shapley(
    predictions: Predictions,
    *,
    value_functions: Sequence[str] | None = None,
    replacement: str | Sequence[str] | None = None,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """What each modality contributes to a model: exact Shapley values over all 2^M coalitions of M modalities.

    predictions: as for `leave_one_out`, but with every coalition, the empty one too. value_functions: metrics that are
    divided among the modalities, accuracy and log_probability (nats) by default; None leaves out what the table does
    not allow.
    The other options are those of `leave_one_out`.

    Returns one row per model, notion, replacement, value_function and modality: value (in units of the value function)
    with low, high, groups_low, groups_high, seeds_low, seeds_high, seed_std; share = value / (full - none) with
    share_low, share_high, not-a-number unless the intervals of full - none and of full - chance lie above zero and each
    share may lie between 0 and 1; none and full, the value functions of no and of all modalities, which differ by the
    sum of the values; clips, groups, seeds. notion: `used` is one model with modalities replaced; `available` is one
    model for each coalition, trained on it alone, where the table has these.

    Raises UserError as `leave_one_out`. Source: Shapley 1953.
    """
    resampling = asked.resampling("shapley", bootstrap, confidence, seed)
    table = load_predictions(predictions, probabilities=False)
    default = ("accuracy", "log_probability")
    measure = Shapley(
        value_functions=asked.metrics("shapley: value_functions", value_functions, default, table),
        replacement=asked.names("shapley: replacement", replacement),
        **resampling,
    )
    return measure(table)
