"""Predictions, training histories or models -> one tidy CSV of one measure for each task.

All tasks are one process, which else would mostly load pandas or PyTorch; a table whose inputs, options and code are
the same is kept.
"""

import argparse
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.measures import Measure, build
from modalens.plugins import blame
from modalens.stats.prediction_files import load_predictions
from modalens.stats.targets import REGRESSION, target_of
from modalens.tracking import records
from modalens.utils import checksums, cli, files
from modalens.utils.csv_tables import read_table
from modalens.utils.errors import UserError

log = logging.getLogger(__name__)

TASK = "{task}"

# What a measure needs -> the argument that gives it, and how far up from its path the task and the model are named.
SOURCES = {
    "predictions": ("predictions", 1, 0),
    "history": ("histories", 3, 2),
    "model": ("models", 1, 0),
    "input": ("models", 1, 0),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--measure", required=True, help="a file in measures/")
    parser.add_argument("--options", type=cli.mapping, default={}, help="JSON: bootstrap, confidence, seed and its own")
    parser.add_argument("--predictions", type=Path, nargs="+", help="evaluate/<task>/<model>.parquet")
    parser.add_argument(
        "--histories", type=Path, nargs="+", help="train/<task>/<model>/<seed>/history.csv, for a measure of these"
    )
    parser.add_argument("--models", type=Path, nargs="+", help="train/<task>/<model>, for a measure of models")
    parser.add_argument("--seeds", type=int, nargs="+", help="of the models")
    parser.add_argument("--splits", help="splits/<task>, for a measure of models; {task} in it is the task's name")
    parser.add_argument("--modalities", type=cli.pair, nargs="*", default=[], help="MODALITY=FOLDER of {shard}.h5")
    parser.add_argument("--replacements", type=cli.pair, nargs="*", default=[], help="MODALITY=FILE of replacements")
    parser.add_argument("--decoded", type=cli.pair, nargs="*", default=[], help="MODALITY=FOLDER, for one at the input")
    parser.add_argument("--entries", type=cli.mapping, default={}, help="`modalities` of the config, JSON")
    parser.add_argument("--output", required=True, help="CSV; {task} in its name and the record's is the task's name")
    parser.add_argument("--made", default="", help="digest of the code: a table with the same one may be kept")
    cli.add_common(parser, "key", "device", "threads", "record")


def main(arguments: argparse.Namespace) -> None:
    measure, settings = build(arguments.measure, arguments.options, f"relevance.measures.{arguments.measure}")
    flag, task_at, model_at = SOURCES[measure.needs]
    paths = sorted(getattr(arguments, flag) or [])
    if not paths:
        raise UserError(f"relevance.measures.{arguments.measure} needs --{flag}")
    # Of "train/seen/late_fusion/0/history.csv" the names from the last one up; a file's without its suffix.
    tasks: dict[str, list[Path]] = {}
    for path in paths:
        tasks.setdefault(_name(path, task_at), []).append(path)
    named = [arguments.output, arguments.record, *([arguments.splits] if flag == "models" else [])]
    if len(tasks) > 1 and not all(TASK in str(one) for one in named):
        raise UserError(f"expected {flag} of one task, got those of {', '.join(sorted(tasks))}")
    for task, own in tasks.items():
        output, record = (_of_task(one, task) for one in (arguments.output, arguments.record))
        made = _made(own, task, settings, arguments)
        # One that was damaged or edited since is made again.
        if made and output.is_file() and records.holds(record, made) and records.fits(record, output.read_bytes()):
            log.info("%s: nothing that it is made from has changed: kept", task)
            # It is as new as what the other tasks' tables are made from.
            output.touch()
            record.touch()
            continue
        table = _table(measure, own, task, arguments)
        table.insert(0, "task", task)
        files.write_text(output, table.to_csv(index=False))
        names = list(dict.fromkeys(_name(path, model_at) for path in own))
        key = {"task": task, "measure": arguments.measure} | arguments.key
        runs = [_run(measure, table, key | {"model": name}, settings, output) for name in names]
        records.write(record, "relevance", runs, made, output)


def _of_task(path: str | Path, task: str) -> Path:
    return Path(str(path).replace(TASK, task))


def _table(measure: Measure, paths: list[Path], task: str, arguments: argparse.Namespace) -> pd.DataFrame:
    table = measure(_given(measure, paths, task, arguments))
    if not isinstance(table, pd.DataFrame) or "model" not in table:
        columns = table.columns if isinstance(table, pd.DataFrame) else []
        none = "a table without columns" if isinstance(table, pd.DataFrame) else type(table).__name__
        got = f"the columns {', '.join(map(str, columns))}" if len(columns) else none
        raise UserError(
            f"{blame.where('measures', arguments.measure)}: expected a table with a column `model`, got {got}"
        )
    return table


def _run(
    measure: Measure, table: pd.DataFrame, key: dict[str, Any], settings: dict[str, Any], output: Path
) -> records.Run:
    rows = table[table["model"] == key["model"]]
    metrics = measure.headline(rows) if len(rows) else {}
    return records.Run(key=key, params=settings, metrics=metrics, artifacts=[str(output)])


def _made(paths: list[Path], task: str, settings: dict[str, Any], arguments: argparse.Namespace) -> str:
    """Digest of all that a table is made from; "" where the caller does not say by which code. What models look at
    counts by its files' sizes and times: it may be large."""
    if not arguments.made:
        return ""
    read, looked_at = paths, [*arguments.modalities, *arguments.decoded]
    if arguments.models:
        read = [folder / str(seed) / "model.pt" for folder in paths for seed in arguments.seeds or []]
        read += sorted(_of_task(arguments.splits or "", task).glob("*.csv"))
    states = [path.stat() for _, folder in looked_at for path in sorted(folder.glob("*.h5"))]
    states += [path.stat() for _, path in arguments.replacements]
    return files.digest(
        arguments.made,
        settings,
        [str(path) for path in read],
        [checksums.stored(path) or _content(path) for path in read],
        [[state.st_size, state.st_mtime_ns] for state in states],
        [arguments.seeds, arguments.entries, arguments.device],
    )


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _given(measure: Measure, paths: list[Path], task: str, arguments: argparse.Namespace) -> Any:
    if measure.needs in ("model", "input"):
        return read_models(paths, task, arguments, at_input=measure.needs == "input")
    if measure.needs == "history":
        return read_histories(paths)
    return read_predictions(paths, probabilities=measure.reads_probabilities)


def _name(path: Path, up: int) -> str:
    return path.parents[up - 1].name if up else path.name.removesuffix(".parquet")


def read_predictions(paths: list[Path], *, probabilities: bool = False) -> pd.DataFrame:
    """Files of one task -> their rows, checked; each file is a model of its name where it has no column `model`."""
    table = load_predictions(paths, probabilities=probabilities)
    if target_of(table) != REGRESSION and table["log_probability"].isna().any():
        raise UserError("predictions: expected a column log_probability, or p_<class> of each class")
    return table


def read_histories(paths: list[Path]) -> pd.DataFrame:
    """model, seed and the numbers of each history.csv, a row an epoch."""
    tables = []
    for path in paths:
        rows = read_table(path, ["epoch"]).apply(pd.to_numeric, errors="coerce")
        rows.insert(0, "model", path.parents[1].name)
        rows.insert(1, "seed", int(path.parent.name))
        tables.append(rows)
    return pd.concat(tables, ignore_index=True)


def read_models(
    folders: list[Path], task: str, arguments: argparse.Namespace, *, at_input: bool = False
) -> Sequence[Any]:
    """Each a measures.StudiedModel."""
    from modalens.evaluation.studied import FromFiles, StudyFiles  # imports PyTorch, which other measures do without
    from modalens.utils.device import set_deterministic

    set_deterministic(arguments.threads)
    for name in ("seeds", "splits"):
        if not getattr(arguments, name):
            raise UserError(f"relevance.measures.{arguments.measure} needs --{name}")
    splits = _of_task(arguments.splits, task)
    study = StudyFiles(splits, dict(arguments.modalities), dict(arguments.replacements))
    models = [FromFiles(folder.name, folder, arguments.seeds, study, arguments.device) for folder in folders]
    if not at_input:
        return models
    from modalens.evaluation.input_level import AtInput, decodings

    given = decodings(arguments.entries, dict(arguments.decoded), arguments.device)
    return [AtInput(model, given) for model in models]
