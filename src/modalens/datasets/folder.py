"""Your own clips: a CSV with one row a clip, and a folder of media files."""

from difflib import get_close_matches
from math import isfinite
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pandas as pd

from modalens import sources
from modalens.cli import UserError
from modalens.datasets import _table

FIELDS = ("file", "clip_id", "start", "end", "group", "split", "text")
SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(("validation", "val", "valid", "dev"), "validation")


class Folder:
    """csv: path or http(s) URL. media: folder that the file names count from (the CSV's own by default).
    columns: {field or task: column} where the CSV calls a field by another name.

    Fields: file (wanted), clip_id (else the file's name, and the start), start and end (seconds, m:s or h:m:s),
    group (source video or speaker; else the file), split (train, validation, test or empty), text; and one column a
    task. An empty label means that the clip has none for that task.
    """

    def __init__(
        self,
        tasks: list[str],
        *,
        csv: str,
        media: str | None = None,
        columns: dict[str, str] | None = None,
    ) -> None:
        self.tasks, self.csv = tasks, str(csv)
        self.columns = columns or {}
        for name in self.columns:
            if name not in FIELDS and name not in tasks:
                near = get_close_matches(name, [*FIELDS, *tasks], n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join([*FIELDS, *tasks])}"
                raise UserError(f"dataset folder: columns has no field {name!r}; {hint}")
        self.remote = _table.is_url(self.csv)
        if self.remote and media is None:
            raise UserError(f"dataset folder: media is wanted, {self.csv} has no folder of its own here")
        self.media = Path(media) if media is not None else Path(self.csv).parent

    def manifest(self) -> pd.DataFrame:
        """One row a row of the CSV. A media file that is not there is no error here: `fetch` finds that out."""
        present, rows = _table.read(self.csv)
        columns = self._columns(present)
        table = []
        for line, row in rows:
            fields = {name: row.get(column, "") for name, column in columns.items()}
            try:
                table.append(self._row(fields, "group" in columns))
            except _BadCell as error:
                raise UserError(f"{self.csv}, line {line}: {error}") from error
        return _unique(pd.DataFrame(table), self.csv)

    def answers(self) -> dict[str, dict[str, Any]]:
        return {}

    def inputs(self) -> list[Path]:
        return [] if self.remote else [Path(self.csv)]

    fetch = staticmethod(sources.fetch)

    def _columns(self, present: list[str]) -> dict[str, str]:
        """Field or task -> the CSV's column. A field that nobody named and that is not there is left out."""
        wanted = {name: self.columns.get(name, name) for name in (*FIELDS, *self.tasks)}
        optional = {name for name in FIELDS if name != "file" and name not in self.columns}
        return {
            name: _table.column(column, present, self.csv)
            for name, column in wanted.items()
            if column in present or name not in optional
        }

    def _row(self, fields: dict[str, str], grouped: bool) -> dict[str, str]:
        file = fields["file"]
        if not file:
            raise _BadCell("no file is named")
        if self.remote and escapes(file):
            raise _BadCell(f"{file!r} leads out of the media folder, which a list from the web may not do")
        if grouped and not fields["group"]:
            raise _BadCell("the group is empty; without it a split may cut a source video in two")
        start, end = _seconds(fields.get("start", ""), "start"), _seconds(fields.get("end", ""), "end")
        if end is not None and end <= (start or 0):
            raise _BadCell(f"end {fields['end']} is not after start {fields.get('start') or 0}")
        split = fields.get("split", "")
        if split and split.lower() not in SPLITS:
            raise _BadCell(f"split {split!r} is none of {', '.join(SPLITS)}")
        return {
            "clip_id": fields.get("clip_id")
            or PurePosixPath(file).stem + ("" if start is None else f"_{_text(start)}"),
            "source": file if sources.is_address(file) else (self.media / file).as_posix(),
            "start_s": _text(start),
            "end_s": _text(end),
            "group": fields["group"] if grouped else file,
            "split": SPLITS[split.lower()] if split else "",
            "text": fields.get("text", ""),
            **{task: fields[task] for task in self.tasks},
        }


class _BadCell(Exception):
    """What is wrong with one row; the caller knows its line."""


def _unique(table: pd.DataFrame, location: str) -> pd.DataFrame:
    again = table[table["clip_id"].duplicated()]
    if len(again):
        clip_id = again["clip_id"].iloc[0]
        first, second = table.loc[table["clip_id"] == clip_id, "source"].iloc[:2]
        raise UserError(
            f"{location}: {len(again)} clip ids occur again, first {clip_id!r} ({first} and {second}); "
            "add a column clip_id"
        )
    return table


def escapes(file: str) -> bool:
    """Read as either system's path: the list does not say which one wrote it."""
    return any(
        path.is_absolute() or path.anchor or ".." in path.parts for path in (PurePosixPath(file), PureWindowsPath(file))
    )


def _seconds(text: str, name: str) -> float | None:
    """'12.5', '1:02' or '0:01:02.5' -> seconds; None for an empty cell."""
    if not text:
        return None
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or any(number < 0 or not isfinite(number) for number in numbers):
        raise _BadCell(f"{name} {text!r} is no time; seconds, m:s or h:m:s is wanted")
    return sum(number * 60**power for power, number in enumerate(reversed(numbers)))


def _text(seconds: float | None) -> str:
    return "" if seconds is None else format(seconds, ".12g")
