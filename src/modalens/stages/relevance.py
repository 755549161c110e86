"""Predictions of every model of one task -> one tidy CSV of one measure."""

import argparse
from pathlib import Path

import pandas as pd

from modalens.plugins import options, registry
from modalens.stats.prediction_files import load_predictions
from modalens.tracking import records
from modalens.utils import cli, files
from modalens.utils.errors import UserError


def read_predictions(paths: list[Path], *, probabilities: bool = False) -> pd.DataFrame:
    """Files of one task -> their rows, checked; each file is a model of its name where it has no column `model`."""
    table = load_predictions(paths, probabilities=probabilities)
    if table["log_probability"].isna().any():
        raise UserError("predictions: expected a column log_probability, or p_<class> of each class")
    return table


def main(arguments: argparse.Namespace) -> None:
    tasks = {path.parent.name for path in arguments.predictions}
    if len(tasks) != 1:
        raise UserError(f"expected predictions of one task, got those of {', '.join(sorted(tasks))}")
    task = tasks.pop()
    kind = registry.load("measures", arguments.measure)
    settings = options.resolve(kind, arguments.options, f"relevance.measures.{arguments.measure}")
    measure = kind(**settings)
    table: pd.DataFrame = measure(read_predictions(arguments.predictions, probabilities=kind.reads_probabilities))
    table.insert(0, "task", task)
    files.write_text(arguments.output, table.to_csv(index=False))
    runs = []
    for path in sorted(arguments.predictions):
        rows = table[table["model"] == path.stem]
        metrics = measure.headline(rows)
        key = {"task": task, "measure": arguments.measure} | arguments.key | {"model": path.stem}
        runs.append(records.Run(key=key, params=settings, metrics=metrics, artifacts=[str(arguments.output)]))
    records.write(arguments.record, "relevance", runs)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--measure", required=True, help="a file in measures/")
    parser.add_argument("--options", type=cli.mapping, default={}, help="JSON: bootstrap, confidence, seed and its own")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="evaluate/<task>/<model>.parquet")
    parser.add_argument("--output", type=Path, required=True)
    cli.add_common(parser, "key", "record")
