"""One page of predictions, whatever made these."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.api import _asked as asked
from modalens.api._asked import Predictions
from modalens.api.measuring import leave_one_out, shapley
from modalens.measures.coalition_values import CoalitionValues
from modalens.measures.interaction import Interaction
from modalens.stats.prediction_files import load_predictions
from modalens.utils import arguments, files
from modalens.utils.errors import UserError
from modalens.utils.extras import not_installed
from modalens.utils.suggest import suggest


def report(
    predictions: Predictions | Mapping[str, Predictions],
    output: str | Path,
    *,
    title: str = "How much does each modality matter?",
    model: str = "",
    replacement: str = "",
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Path:
    """One HTML page that opens anywhere: the findings in words, the measures as figures and tables, a leaderboard.

    predictions: what `load_predictions` reads, with every coalition of each model; or {task: such predictions} for
    several tasks. output: the page's file. model: the one that the findings are about; by default the first, by name,
    of several modalities. replacement: the one that they are about; by default the first by name. Models are compared
    on a leaderboard where they were tested on the same clips and seeds. The other options are those of `shapley`.

    Returns the path of the page. Raises UserError as `shapley`, and where the extra `report` is not installed.
    """
    try:
        from modalens.reporting.from_predictions import page_of
    except ModuleNotFoundError as error:
        raise not_installed(error, "report", "report") from error
    settings = {"title": title, "model": model, "replacement": replacement}
    for key, value in settings.items():
        arguments.text(f"report: {key}", value)
    output = Path(arguments.path("report: output", output))
    if output.is_dir():
        raise UserError(f"report: output: {output} is a directory; name a file")
    tasks = predictions if isinstance(predictions, Mapping) else {"task": predictions}
    for task in tasks:
        arguments.text("report: task", str(task))
    tables = {str(task): load_predictions(table, probabilities=False) for task, table in tasks.items()}
    for task, table in tables.items():
        for column, wanted in (("model", model), ("replacement", replacement)):
            if wanted and wanted not in set(table[column]):
                there = sorted(set(table[column]) - {""})
                raise UserError(f"report: {column}: no {wanted!r} in {task!r}; {suggest(wanted, there)}")
    resampling = asked.resampling("report", bootstrap, confidence, seed)
    measured = {task: _all_measures(table, resampling) for task, table in tables.items()}
    files.write_text(output, page_of(tables, measured, settings, resampling))
    return output


def _all_measures(table: pd.DataFrame, resampling: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """What the page is made of."""
    names = ("accuracy", "balanced_accuracy", "log_probability")
    metrics = tuple(asked.metrics("report", None, names, table))
    return {
        "leave_one_out": leave_one_out(table, **resampling),
        "shapley": shapley(table, **resampling),
        "coalition_values": CoalitionValues(metrics=metrics, **resampling)(table),
        "interaction": Interaction(value_functions=metrics, **resampling)(table),
    }
