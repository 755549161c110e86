"""Compare studies, models or tables of predictions, clip by clip: a table here, one to open and a page beside it."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.config.yaml_file import load
from modalens.reporting.comparison_page import page
from modalens.reporting.study_results import Study
from modalens.stats.paired import aligned, compare, identical, judge
from modalens.stats.prediction_columns import CLASS
from modalens.stats.prediction_files import load_predictions
from modalens.stats.targets import CLASSES, target_of
from modalens.terminal import tables
from modalens.terminal.run import printable
from modalens.utils import csv_tables, files, parquet
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest
from modalens.utils.words import counted

READ = ["clip_id", "group", "seed", "replacement", "coalition", "label", "predicted", "log_probability"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", nargs="+", help="folder of a study, FOLDER:MODEL of it, or a Parquet or CSV table of predictions"
    )
    parser.add_argument("--task", help="of the studies, else each that all of them have")
    parser.add_argument("--replacement", help="what takes a withheld modality's place, else that of the first report")
    parser.add_argument("--bootstrap", type=int, default=2000, help="resamples behind each interval")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--output", type=Path, default=Path("comparison"), help="folder for comparison.html and .csv")


@dataclass(frozen=True)
class Source:
    """What was named: a study, or a file of predictions; model: of it, "" for the one that its report is about."""

    name: str
    path: Path
    model: str = ""
    study: Study | None = None


def main(arguments: argparse.Namespace) -> None:
    sources = [_source(text) for text in arguments.sources]
    settings = {"replicates": arguments.bootstrap, "confidence": arguments.confidence}
    found, notes = [], []
    tasks = _tasks(sources, arguments.task)
    of_classes = [task for task in tasks if not any(_of_another_target(source, task) for source in sources)]
    if left := sorted(set(tasks) - set(of_classes)):
        text = (
            f"compare: {', '.join(left)}: expected classes, got numbers or tags (only a study's leaderboard has those)"
        )
        if not of_classes:
            raise UserError(text)
        print(f"{text}; left out")
    for task in of_classes:
        operands = _named([pair for source in sources for pair in _read(source, task)])
        if len(operands) < 2:
            raise UserError(f"compare: expected two models or more, got {', '.join(operands)}")
        _check_classes(operands)
        same, left_out = aligned(operands)
        table = compare(same, arguments.replacement or _replacement(sources, same), **settings)
        table.insert(0, "task", task)
        found.append(table)
        notes.append([*left_out, *identical(same)])
    whole = judge(pd.concat(found, ignore_index=True))
    said = [f"{table['task'].iloc[0]}: {line}" for table, lines in zip(found, notes, strict=True) for line in lines]
    replaced = " (in place of an earlier one)" if (arguments.output / "comparison.html").exists() else ""
    files.write_text(
        arguments.output / "comparison.csv", csv_tables.readable(whole).to_csv(index=False, lineterminator="\n")
    )
    files.write_text(
        arguments.output / "comparison.html",
        page(whole, [line.removeprefix(": ") for line in said], arguments.confidence),
    )
    # Last: `modalens compare ... | head` is to leave the whole page, too.
    for (_, table), left_out in zip(whole.groupby("task", sort=False), notes, strict=True):
        _show(table, left_out)
    print(f"\npage: {arguments.output / 'comparison.html'}{replaced}")
    print(f"table: {arguments.output / 'comparison.csv'}{replaced}")


def _source(text: str) -> Source:
    path, model = Path(text), ""
    if not path.exists() and ":" in text:
        before, _, model = text.rpartition(":")
        path = Path(before)
    if not path.exists():
        raise UserError(
            f"compare: not found: {path} (expected a study's folder, FOLDER:MODEL or a table of predictions)"
        )
    name = path.resolve().name
    if path.is_dir() and not (path / "config.yaml").is_file():
        raise UserError(f"compare: {path} holds no config.yaml: expected the folder of a study, such as results/demo")
    study = Study(path, load(path / "config.yaml")) if path.is_dir() else None
    if study and model and model not in study.models:
        raise UserError(f"compare: {path} has no model {model!r}; {suggest(model, study.models)}")
    return Source(name if study else path.stem, path, model, study)


def _tasks(sources: list[Source], asked: str | None) -> list[str]:
    """Those that all studies have; of tables alone one, whose name nobody knows."""
    studies = {str(source.path): source.study for source in sources if source.study}
    if not studies:
        return [asked or ""]
    first, *others = studies.values()
    shared = [task for task in first.tasks if all(task in study.tasks for study in others)]
    known = "; ".join(f"{path} has {', '.join(study.tasks)}" for path, study in studies.items())
    if asked and asked not in shared:
        raise UserError(f"compare: --task: not every study has {asked!r}: {known}")
    if not shared:
        raise UserError(f"compare: the studies have no task in common: {known}")
    if not asked and len(shared) > 1 and not all(source.study for source in sources):
        raise UserError(f"compare: name the table's task with --task; the studies have {', '.join(shared)}")
    return [asked] if asked else shared


def _of_another_target(source: Source, task: str) -> bool:
    if source.study is not None:
        path = source.path / "evaluate" / task / f"{source.model or source.study.headline(task)}.parquet"
        return path.is_file() and "target" in parquet.columns(path)
    return target_of(load_predictions(source.path)) != CLASSES


def _read(source: Source, task: str) -> Iterator[tuple[str, pd.DataFrame]]:
    if source.study is None:
        table = load_predictions(source.path)
        models = list(table["model"].unique())
        if source.model and source.model not in models:
            raise UserError(f"compare: {source.path} has no model {source.model!r}; {suggest(source.model, models)}")
        for model in [source.model] if source.model else models:
            part = table[table["model"] == model]
            yield (source.name if model == source.name else f"{source.name}:{model}"), part
        return
    model = source.model or source.study.headline(task)
    path = source.path / "evaluate" / task / f"{model}.parquet"
    if not path.is_file():
        raise UserError(f"compare: not found: {path} (run the study first)")
    classes = [name for name in parquet.columns(path) if name.startswith(CLASS)]
    yield f"{source.name}:{model}", parquet.read(path, [*READ, *classes])


def _named(pairs: list[tuple[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Names of their own: what is called like another one has its number."""
    found: dict[str, pd.DataFrame] = {}
    for name, table in pairs:
        same = sum(other == name or other.startswith(f"{name} (") for other in found)
        found[f"{name} ({same + 1})" if same else name] = table
    return found


def _check_classes(operands: dict[str, pd.DataFrame]) -> None:
    """As far as tables say which classes a model can name."""
    classes = {name: _classes(table) for name, table in operands.items()}
    known = {name: names for name, names in classes.items() if names}
    if len({tuple(names) for names in known.values()}) > 1:
        first, *others = known
        other = next(name for name in others if known[name] != known[first])
        only = sorted(set(known[first]) ^ set(known[other]))
        shown = ", ".join(map(repr, only[:5])) + (" …" if len(only) > 5 else "")
        raise UserError(
            f"compare: the classes differ: {first} names {len(known[first])} and {other} {len(known[other])}, "
            f"{shown} {'is' if len(only) == 1 else 'are'} not in both"
        )


def _classes(table: pd.DataFrame) -> list[str]:
    return sorted(name.removeprefix(CLASS) for name in map(str, table.columns) if name.startswith(CLASS))


def _replacement(sources: list[Source], same: dict[str, pd.DataFrame]) -> str:
    """The report's, or the first that all tables have; "" where they share none."""
    shared = set.intersection(*(set(table["replacement"].unique()) for table in same.values())) - {""}
    wanted = next((source.study.replacement for source in sources if source.study), "")
    return wanted if wanted in shared else min(shared, default="")


def _show(table: pd.DataFrame, notes: list[str]) -> None:
    first = table.iloc[0]
    task = f"{first['task']}: " if first["task"] else ""
    size = f"{counted(first['clips'], 'clip')} of {counted(first['groups'], 'group')}"
    size += f", {counted(first['seeds'], 'seed')}"
    print(printable(f"{task}{size}, against {first['name']}"))
    for quantity, part in table.groupby("quantity", sort=False):
        print(f"  {quantity}")
        rows = [_cells(row) for row in part.to_dict("records")]
        print(*map(printable, tables.aligned(rows, "    ")), sep="\n")
    for line in notes:
        print(printable(f"- {line}"))


def _cells(row: dict[Any, Any]) -> list[str]:
    cells = [row["name"], f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"]
    if row["verdict"] == "reference":
        return cells
    cells.append(f"{row['difference']:+.3f} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]")
    if row["verdict"] == "untested":
        return cells
    return [*cells, f"p {row['p_holm']:.3g}", row["verdict"]]
