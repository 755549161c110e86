"""Look at a CSV or a folder of clips, say what is in it, and write a config with comments. Overwrites nothing."""

import argparse
import re
import shlex
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from modalens.commands import _columns, _draft, _survey
from modalens.commands._columns import Column
from modalens.commands._draft import Plan
from modalens.config import resolve
from modalens.curation import manifest
from modalens.plugins import introspection
from modalens.terminal.run import printable
from modalens.utils import csv_input, files
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest
from modalens.utils.words import counted

USUAL = ("labels", "clips", "data", "index", "metadata", "annotations", "list", "train", "manifest")
LISTS = (".csv", ".tsv")
PROBED = 12  # files of which it is looked what is in them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="CSV with a row a clip, or folder with a folder for each class")
    parser.add_argument("--tasks", nargs="+", default=[], help="label columns, else the first that can be one")
    parser.add_argument("--group", default="", help="column of what several clips share, else one that is called so")
    parser.add_argument("--media", type=Path, help="folder that file names count from, else that of the CSV")
    parser.add_argument("--output", type=Path, help="config, else NAME.yaml in config/ or here")
    parser.add_argument("--overwrite", action="store_true", help="replace a config that is there")


def main(arguments: argparse.Namespace) -> None:
    source = Path(arguments.source)
    output = arguments.output or (Path("config") if Path("config").is_dir() else Path()) / f"{study_name(source)}.yaml"
    name = as_name(output.stem)
    listing = output.with_suffix(".csv")
    writes = [output, *([listing] if source.is_dir() else [])]
    if there := [path for path in writes if path.exists() and not arguments.overwrite]:
        raise UserError(f"{there[0]} is there already; name another file with --output, or add --overwrite")
    if source.is_dir():
        table = _columns.rows_of(source, _columns.suffixes())
        if table.empty:
            raise UserError(f"{source}: no file in it that a modality reads ({' '.join(sorted(_columns.suffixes()))})")
        csv, media = str(listing), arguments.media or source
        lists = [path for path in sorted(source.iterdir()) if path.suffix.lower() in LISTS and path.is_file()]
        lists.sort(key=lambda path: path.stem.lower() not in USUAL)
        if not arguments.tasks:
            _expect_classes(source, table, lists)
    else:
        table = csv_input.read(arguments.source)
        csv, media, lists = arguments.source, arguments.media or source.parent, []
    columns = _columns.look(table, media)
    print(f"{arguments.source}: {counted(len(table), 'row')}, {counted(len(columns), 'column')}")
    width = min(max(len(column.name) for column in columns), 30)
    for column in columns:
        print(printable(f"  {column.name:{width}}  {column}"))
    plan = planned(csv, media, columns, table, arguments)
    text = _draft.written(name, plan, columns, len(table))
    if source.is_dir():
        files.write_text(listing, table.to_csv(index=False, lineterminator="\n"))
    try:
        survey = surveyed(yaml.safe_load(text))
    except UserError:
        if source.is_dir():
            listing.unlink()
        raise
    files.write_text(output, text)
    print()
    survey.warnings += [f"{path} is not read: modalens init {shlex.quote(str(path))} reads it" for path in lists]
    survey.show()
    print(f"\nwritten: {output}\nnext: {_next(output, survey)}")


def _expect_classes(folder: Path, table: pd.DataFrame, lists: list[Path]) -> None:
    """Raises UserError where the folders in a folder are no classes. lists: in it, which may say more."""
    found = [name for name in table["label"].unique() if name]
    if len(found) > 1:
        return
    lone = (table["label"] == "").any()
    where = f"{'no other folder than' if lone else 'all of them in'} {found[0]}/" if found else "in no folder of it"
    remedy = "lay them in folders called as their class, or write a CSV with the columns file and label"
    if lists:
        remedy = f"modalens init {shlex.quote(str(lists[0]))} reads the list that lies in it"
    raise UserError(f"{folder}: expected a folder for each class, got {counted(len(table), 'file')}, {where}; {remedy}")


def _next(output: Path, survey: _survey.Survey) -> str:
    if survey.mistakes:
        return f"mend what is said above, then modalens check {output}; such a study would not run"
    return f"modalens check {output}, then snakemake --cores 4 --configfile {output}"


def study_name(source: Path) -> str:
    """After the CSV, or its folder where it is called as any other."""
    path = source.resolve()
    named = path.parent if path.stem.lower() in USUAL and not path.is_dir() and path.parent.name else path
    return as_name(named.stem)


def as_name(text: str) -> str:
    """A study's name is a folder of results."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")[:100] or "study"


def planned(csv: str, media: Path, columns: list[Column], table: pd.DataFrame, arguments: argparse.Namespace) -> Plan:
    """Raises UserError where there is no file or no label."""
    where = arguments.source
    by_role: dict[str, list[Column]] = {}
    for column in columns:
        by_role.setdefault(column.role, []).append(column)
    names = [column.name for column in columns]
    asked = [csv_input.column(one, names, where) for one in arguments.tasks]
    tasks = asked or [column.name for column in by_role.get("label", [])][:1]
    if not tasks:
        some = suggest("", [column.name for column in columns if column.filled])
        raise UserError(f"{where}: no column that can be a label; name one with --tasks ({some})")
    mapped = {_task(one): one for one in tasks}
    if len(mapped) < len(tasks):
        raise UserError(f"{where}: two of the tasks {', '.join(tasks)} would have the same name; rename a column")
    file = next((column for column in by_role.get("file", []) if _held_by(column, "media")), None)
    group = arguments.group or next(
        (column.name for column in by_role.get("group", []) if column.name not in tasks), ""
    )
    fields = {"file": file.name if file else "", "group": csv_input.column(group, names, where) if group else ""}
    renamed = {field: column for field, column in fields.items() if column and column != field}
    usable = [column for column in columns if column.name not in {*tasks, group}]
    modalities, more = _first_and_more(_modalities(usable, file, table, media))
    if not modalities:
        ends = sorted({suffix for column in columns for suffix in column.suffixes})
        files_there = f"; files that end in {', '.join(ends)} are not read" if ends else ""
        raise UserError(f"{where}: no column names files of a modality that is there, or holds a text{files_there}")
    renamed |= {task: column for task, column in mapped.items() if task != column}
    renamed |= _names(columns, len(table), where) if not file and "file" not in names else {}
    own = Path(csv).parent if not csv_input.is_url(csv) else None
    return Plan(csv, "" if media == own else media.as_posix(), list(mapped), renamed, modalities, more)


def _names(columns: list[Column], rows: int, csv: str) -> dict[str, str]:
    """Which column names the clips, where no media file does. Raises UserError if none differs in each row."""
    apart = [column for column in columns if column.distinct == column.filled == rows]
    kinds = (
        lambda one: one.name == "clip_id",
        lambda one: one.name.lower() in manifest.HEADINGS,
        lambda one: re.search(r"(^|[_ -])id$", one.name, re.IGNORECASE),
        lambda one: one.role in ("id", "file"),
    )
    found = next((one.name for fits in kinds for one in apart if fits(one)), "")
    if not found:
        raise UserError(f"{csv}: no column names each clip: add a column clip_id, with another name in each row")
    return {} if found == "clip_id" else {"clip_id": found}


def _task(column: str) -> str:
    """Tasks name files."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", column).strip("_-") or "task"


def _first_and_more(found: Iterable[tuple[str, str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(kind, column, entry) -> the first of each kind, under its name, and the others, named after their columns."""
    first: dict[str, Any] = {}
    more: dict[str, Any] = {}
    for kind, column, entry in found:
        if kind not in first:
            first[kind] = entry
        else:
            name = _modality(column, {*first, *more})
            more[name] = _draft.entry_of(kind, column, name)
    return first, more


def _modality(column: str, taken: set[str]) -> str:
    """A name for a further modality of a kind that is there."""
    name = re.sub(r"[^a-z0-9_]+", "_", column.lower()).strip("_") or "more"
    name = name if name[0].isalpha() else f"more_{name}"
    return next(one for one in chain([name], (f"{name}_{number}" for number in count(2))) if one not in taken)


def _held_by(column: Column, source: str) -> list[str]:
    """Modalities that the files of a column may hold, of those that read from `source`."""
    kinds = _columns.suffixes()
    found = {kind for suffix in column.suffixes or tuple(kinds) for kind in kinds.get(suffix, [])}
    return sorted(kind for kind in found if _draft.source_of(kind) == source)


def _modalities(
    columns: list[Column], file: Column | None, table: pd.DataFrame, media: Path
) -> Iterator[tuple[str, str, Any]]:
    """(kind, column, entry) of those that the columns speak for and that an encoder reads as they are."""
    if file:
        streams = probed([media / cell for cell in table[file.name].drop_duplicates().head(PROBED)])
        for kind in filter(_ready, _held_by(file, "media")):
            if streams is None or streams.get(kind, True):
                yield kind, "", _draft.entry_of(kind, "")
    for column in columns:
        if column.role == "file" and column is not file:
            for kind in list(filter(_ready, _held_by(column, "file")))[:1]:
                yield kind, column.name, _draft.entry_of(kind, column.name)
    for text in [column.name for column in columns if column.role == "text"]:
        for kind in list(filter(_ready, _draft.of_source("column")))[:1]:
            yield kind, text, _draft.entry_of(kind, text)


def _ready(kind: str) -> bool:
    """Without an option that only a person knows, and with an encoder."""
    return bool(_draft.encoders(kind)) and not any(
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


def surveyed(config: dict[str, Any]) -> _survey.Survey:
    """What the study comes to. Raises UserError for a list that cannot be read."""
    study = resolve.resolve(config)
    return _survey.of_study(manifest.of_study(study, study["tasks"]), study)
