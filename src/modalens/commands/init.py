"""Look at a CSV or a folder of clips, say what is in it, and write a config with comments. Overwrites nothing."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from modalens.commands import _columns, _survey
from modalens.commands._columns import Column
from modalens.config import resolve, rules
from modalens.curation import manifest
from modalens.plugins import introspection, registry
from modalens.terminal.run import printable
from modalens.utils import csv_input, files
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

USUAL = ("labels", "clips", "data", "index", "metadata", "annotations", "list", "train", "manifest")
PROBED = 12  # files of which it is looked what is in them
CLIPS_A_SHARD = 500
FIELDS = ("file", "group")  # of the data set that may be called otherwise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="CSV with a row a clip, or folder with a folder for each class")
    parser.add_argument("--tasks", nargs="+", default=[], help="label columns, else the first that can be one")
    parser.add_argument("--group", default="", help="column of what several clips share, else one that is called so")
    parser.add_argument("--media", type=Path, help="folder that file names count from, else that of the CSV")
    parser.add_argument("--output", type=Path, help="config, else NAME.yaml in config/ or here")
    parser.add_argument("--overwrite", action="store_true", help="replace a config that is there")


@dataclass
class Plan:
    """What is written. modalities: name -> entry of the config. columns: field or task -> column of the CSV."""

    csv: str
    media: str
    tasks: list[str]
    columns: dict[str, str]
    modalities: dict[str, Any]


def main(arguments: argparse.Namespace) -> None:
    source = Path(arguments.source)
    name = study_name(source)
    output = arguments.output or (Path("config") if Path("config").is_dir() else Path()) / f"{name}.yaml"
    listing = output.with_suffix(".csv")
    writes = [output, *([listing] if source.is_dir() else [])]
    if there := [path for path in writes if path.exists() and not arguments.overwrite]:
        raise UserError(f"{there[0]} is there already; name another file with --output, or add --overwrite")
    if source.is_dir():
        table = _columns.rows_of(source, _columns.suffixes())
        if table.empty:
            raise UserError(f"{source}: no file in it that a modality reads ({' '.join(sorted(_columns.suffixes()))})")
        csv, media = str(listing), arguments.media or source
    else:
        table = csv_input.read(arguments.source)
        csv, media = arguments.source, arguments.media or source.parent
    columns = _columns.look(table, media)
    print(f"{arguments.source}: {len(table)} rows, {len(columns)} columns")
    width = min(max(len(column.name) for column in columns), 30)
    for column in columns:
        print(printable(f"  {column.name:{width}}  {column}"))
    plan = planned(csv, media, columns, table, arguments)
    text = written(name, plan, columns, len(table))
    if source.is_dir():
        files.write_text(listing, table.to_csv(index=False, lineterminator="\n"))
    try:
        report(yaml.safe_load(text))
    except UserError:
        if source.is_dir():
            listing.unlink()
        raise
    files.write_text(output, text)
    print(f"\nwritten: {output}\nnext: modalens check {output}, then snakemake --cores 4 --configfile {output}")


def study_name(source: Path) -> str:
    """After the CSV, or its folder where it is called as any other."""
    path = source.resolve()
    named = path.parent if path.stem.lower() in USUAL and not path.is_dir() and path.parent.name else path
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", named.stem).strip("_.-")[:100] or "study"


def planned(csv: str, media: Path, columns: list[Column], table: pd.DataFrame, arguments: argparse.Namespace) -> Plan:
    """Raises UserError where there is no file or no label."""
    by_role: dict[str, list[Column]] = {}
    for column in columns:
        by_role.setdefault(column.role, []).append(column)
    names = [column.name for column in columns]
    asked = [csv_input.column(one, names, csv) for one in arguments.tasks]
    tasks = asked or [column.name for column in by_role.get("label", [])][:1]
    if not tasks:
        raise UserError(f"{csv}: no column that can be a label; name one with --tasks ({suggest('', names)})")
    mapped = {_task(one): one for one in tasks}
    if len(mapped) < len(tasks):
        raise UserError(f"{csv}: two of the tasks {', '.join(tasks)} would have the same name; rename a column")
    file = next((column for column in by_role.get("file", []) if _held_by(column, "media")), None)
    group = arguments.group or next(
        (column.name for column in by_role.get("group", []) if column.name not in tasks), ""
    )
    fields = {"file": file.name if file else "", "group": csv_input.column(group, names, csv) if group else ""}
    renamed = {field: column for field, column in fields.items() if column and column != field}
    modalities = dict(_modalities(columns, file, table, media))
    if not modalities:
        ends = sorted({suffix for column in columns for suffix in column.suffixes})
        files_there = f"; files that end in {', '.join(ends)} are not read" if ends else ""
        raise UserError(f"{csv}: no column names files of a modality that is there, or holds a text{files_there}")
    renamed |= {task: column for task, column in mapped.items() if task != column}
    own = Path(csv).parent if not csv_input.is_url(csv) else None
    return Plan(csv, "" if media == own else media.as_posix(), list(mapped), renamed, modalities)


def _task(column: str) -> str:
    """Tasks name files."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", column).strip("_-") or "task"


def _source(kind: str) -> str:
    return str(introspection.attribute("modalities", kind, "source", "media"))


def _held_by(column: Column, source: str) -> list[str]:
    """Modalities that the files of a column may hold, of those that read from `source`."""
    kinds = _columns.suffixes()
    found = {kind for suffix in column.suffixes or tuple(kinds) for kind in kinds.get(suffix, [])}
    return sorted(kind for kind in found if _source(kind) == source)


def _modalities(
    columns: list[Column], file: Column | None, table: pd.DataFrame, media: Path
) -> Iterator[tuple[str, Any]]:
    """Those that the columns speak for and that an encoder reads as they are."""
    if file:
        streams = probed([media / cell for cell in table[file.name].drop_duplicates().head(PROBED)])
        for kind in filter(_ready, _held_by(file, "media")):
            if streams is None or streams.get(kind, True):
                yield kind, _entry(kind, "")
    for column in columns:
        if column.role == "file" and column is not file:
            for kind in list(filter(_ready, _held_by(column, "file")))[:1]:
                yield kind, _entry(kind, column.name)
    text = next((column.name for column in columns if column.role == "text"), "")
    for kind in list(filter(_ready, _of_source("column")))[:1] if text else []:
        yield kind, _entry(kind, text)


def _of_source(source: str) -> list[str]:
    return [kind for kind in registry.names("modalities") if _source(kind) == source]


def _ready(kind: str) -> bool:
    """Without an option that only a person knows, and with an encoder."""
    return bool(encoders(kind)) and not any(
        option.required for option in introspection.options("modalities", kind).values()
    )


def probed(paths: list[Path]) -> dict[str, bool] | None:
    """Kind of stream -> whether any of some files has it. None where none of them can be opened, or PyAV is missing."""
    try:
        from modalens.media.failure_causes import ClipError
        from modalens.media.probe import probe
    except ModuleNotFoundError:
        return None
    found: dict[str, bool] = {}
    for path in paths:
        try:
            for kind, text in probe(path).items():
                if isinstance(text, str):
                    found[kind] = found.get(kind, False) or bool(text)
        except (ClipError, OSError, ValueError):
            continue
    return found or None


def encoders(kind: str) -> list[str]:
    """Those that read a modality: the schema's own choice first, then those that need no weights."""
    form = introspection.attribute("modalities", kind, "form")
    usual = rules.schema()["properties"]["modalities"]["default"].get(kind)
    fit = [one for one in registry.names("encoders") if introspection.attribute("encoders", one, "input") == form]
    return sorted(fit, key=lambda one: (one != usual, "weights" in introspection.options("encoders", one), one))


def _entry(kind: str, column: str) -> Any:
    encoder = encoders(kind)[0]
    return {"encoder": encoder, "column": column} if column and column != kind else encoder


def written(name: str, plan: Plan, columns: list[Column], rows: int) -> str:
    """The config with comments: every value as YAML writes it, whatever a column is called."""
    others = [
        column.name
        for column in columns
        if column.role == "label" and column.name not in {*plan.tasks, *plan.columns.values()}
    ]
    of_a_number = {column.name for column in columns if column.role == "number"}
    of_numbers = [task for task in plan.tasks if plan.columns.get(task, task) in of_a_number]
    numbers = sorted(of_a_number - {plan.columns.get(task, task) for task in plan.tasks})
    dataset: dict[str, Any] = {"name": "folder", "csv": plan.csv} | ({"media": plan.media} if plan.media else {})
    dataset |= {"columns": plan.columns} if plan.columns else {}
    lines = [
        "# Written by `modalens init`. `modalens check` says what it comes to; config/README.md explains every key.",
        f"name: {_flow(name)}",
        "",
        "dataset:",
        *(f"  {key}: {_flow(value)}" for key, value in dataset.items()),
        "",
        "# Label columns, all over the same clips.",
        f"tasks: {_flow(plan.tasks)}",
        *([f"targets: {_flow(dict.fromkeys(of_numbers, 'regression'))}"] if of_numbers else []),
        *([f"# These could be tasks too: {_flow(others)}"] if others else []),
        *([f"# And these, of numbers, with targets: {{NAME: regression}}: {_flow(numbers)}"] if numbers else []),
    ]
    grouped = "group" in plan.columns or any(column.name == "group" for column in columns)
    if not grouped:
        lines += [
            "# No column says which clips share a source, so that each file is its own. If some do, name it, or a",
            "# model can recognise the source in place of the label. dataset: {columns: {group: COLUMN}}",
        ]
    lines += ["", "# About one per 500 clips.", f"shards: {max(1, round(rows / CLIPS_A_SHARD))}", "", "modalities:"]
    for modality, entry in plan.modalities.items():
        more = [one for one in encoders(modality) if one != (entry if isinstance(entry, str) else entry["encoder"])]
        lines.append(f"  {modality}: {_flow(entry)}" + (f"  # or {', '.join(more)}" if more else ""))
        if "weights" in introspection.options("encoders", entry if isinstance(entry, str) else entry["encoder"]):
            lines.append("  # Its weights are fetched once. To see the flow without: options: {weights: untrained}.")
    cells = [column.name for column in columns if column.role in ("number", "other")]
    for kind in filter(encoders, _of_source("columns")) if cells else ():
        # No modality by itself: a column may hold the answer.
        entry = _flow({"encoder": encoders(kind)[0], "columns": cells})
        lines.append(f"  # {kind}: {entry}  # without what tells the label")
    return "\n".join(printable(line) for line in lines) + "\n"


def _flow(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=False).removesuffix("...\n").strip()
    )


def report(config: dict[str, Any]) -> None:
    """What the study comes to. Raises UserError for a list that cannot be read."""
    study = resolve.resolve(config)
    clips = manifest.of_study(study, study["tasks"])
    print()
    _survey.of_study(clips, study).show()
