"""Your own clips: a CSV with one row a clip, and a folder of media files."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from math import isfinite, nan
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pandas as pd

from modalens.datasets._base import Dataset, unique
from modalens.media import fetching, local_file, sources
from modalens.utils import csv_chunks, csv_input
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

log = logging.getLogger("modalens")

FIELDS = ("file", "clip_id", "start", "end", "group", "split", "text")
SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(("validation", "val", "valid", "dev"), "validation")
ODD_PATH = r"(?:^|/)\.?(?:/|$)|[\\:]"


class Folder(Dataset):
    """csv: path or http(s) URL. media: folder that the file names count from (the CSV's own by default).
    columns: {field or task: column} where the CSV calls a field by another name.

    Fields: file (not where no modality is in a media file; empty where a clip has none), clip_id (else the file's name
    without its suffix, or its whole path where files of several folders share a name, and the start), start and end
    (seconds, m:s or h:m:s), group (source video or speaker; else the file that is opened, however its path is spelt;
    else the clip), split (train, validation, test or empty), text; and one column a task. An empty label means that the
    clip has none for that task. Columns that modalities read may name files, which count from the same folder; |
    stands between several.
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
                raise UserError(f"dataset folder: columns has no field {name!r}; {suggest(name, [*FIELDS, *tasks])}")
        self.remote = csv_input.is_url(self.csv)
        if self.remote and media is None:
            raise UserError(f"dataset folder: media is wanted, {self.csv} has no folder of its own here")
        self.media = Path(media) if media is not None else Path(self.csv).parent

    def manifest(self) -> pd.DataFrame:
        """One row a row of the CSV. A media file that is not there is no error here: `fetch` finds that out."""
        table = csv_input.read(self.csv)
        present = list(table.columns)
        columns = self._columns(present)
        table = pd.DataFrame({name: table.iloc[:, present.index(column)] for name, column in columns.items()})
        for name in ("file", *self.reads.files):
            if name in table:
                _note_backslashes(table[name], self.csv)
        stem = _stems(table) if "file" in table else _stem
        found = [self._rows(good, stem) for part in csv_chunks.parts(table) for good in self._sound(part)]
        return unique(pd.concat(found, ignore_index=True), self.csv, lambda *_: "add a column clip_id")

    def answers(self) -> dict[str, dict[str, Any]]:
        return {}

    def inputs(self) -> list[Path]:
        return [] if self.remote else [Path(self.csv)]

    fetch = staticmethod(fetching.fetch)

    def _columns(self, present: list[str]) -> dict[str, str]:
        """Field or task -> the CSV's column. A field that nobody named and that is not there is left out."""
        wanted = {name: self.columns.get(name, name) for name in (*FIELDS, *self.tasks)}
        optional = set(FIELDS) - set(self.columns) - set(self.tasks)
        if self.reads.media == "none" and "file" not in present:
            optional -= {"clip_id"}
        else:
            optional -= {"file"}
        return {
            name: csv_input.column(column, present, self.csv)
            for name, column in wanted.items()
            if column in present or name not in optional
        }

    def _sound(self, part: pd.DataFrame) -> Iterator[pd.DataFrame]:
        blank = pd.Series("", index=part.index, dtype="str")
        file, start, end, split = (part.get(name, blank) for name in ("file", "start", "end", "split"))
        nameless = (file == "") & ((part.get("clip_id", blank) == "") | (self.reads.media == "required"))
        group = part.get("group", pd.Series("-", index=part.index, dtype="str"))
        first, last = (csv_chunks.each(cells, _seconds, float) for cells in (start, end))
        leads_out = {name: self._leads_out(part[name]) for name in ("file", *self.reads.files) if name in part}
        faults: list[csv_chunks.Fault] = [
            (
                nameless,
                lambda _: "no file is named" if self.reads.media == "required" else "neither clip_id nor file is named",
            ),
            *((mask, partial(_led_out, name)) for name, mask in leads_out.items()),
            (
                group == "",
                lambda _: (
                    "the group is empty, and clips of one group could land in two splits; name what the clip shares "
                    "with others, or give it a group of its own"
                ),
            ),
            (first < 0, lambda row: f"start {row['start']!r} is no time; seconds, m:s or h:m:s is wanted"),
            (last < 0, lambda row: f"end {row['end']!r} is no time; seconds, m:s or h:m:s is wanted"),
            (last <= first.fillna(0), lambda row: f"end {row['end']} is not after start {row.get('start') or 0}"),
            (
                ~csv_chunks.each(split, lambda name: not name or name.lower() in SPLITS, bool),
                lambda row: f"split {row['split']!r} is none of {', '.join(SPLITS)}",
            ),
        ]
        return csv_chunks.sound(part, lambda line: f"{self.csv}, line {line}", faults)

    def _rows(self, part: pd.DataFrame, stem: Callable[[str], str]) -> pd.DataFrame:
        """Rows that are sound -> rows of the manifest."""
        blank = pd.Series("", index=part.index, dtype="str")
        start, end = (csv_chunks.each(part.get(name, blank), _written) for name in ("start", "end"))
        split = csv_chunks.each(part.get("split", blank), lambda name: SPLITS.get(name.lower(), ""))
        clip_id = part.get("clip_id", blank)
        if (clip_id == "").any():
            stems = pd.Series([stem(file) for file in part["file"].tolist()], index=part.index, dtype="str")
            clip_id = clip_id.where(clip_id != "", stems + ("_" + start).where(start != "", ""))
        file = part.get("file", blank)
        source = self._source(file)
        opened = self._opened(file, source)
        fields = {
            "clip_id": clip_id,
            "source": blank if self.reads.media == "none" else source,
            "start_s": start,
            "end_s": end,
            "group": part["group"] if "group" in part else opened.where(file != "", clip_id),
            "split": split,
            "text": part.get("text", blank),
        }
        fields |= {task: part[task] for task in self.tasks}
        return pd.DataFrame(fields | {name: self._located(part[name]) for name in self.reads.files})

    def _source(self, file: "pd.Series[str]") -> "pd.Series[str]":
        # A Path writes these otherwise than they are: `./a`, `a//b`, `/a`; and addresses are left alone.
        odd = file.str.contains(ODD_PATH)
        plain = (self.media / "x").as_posix().removesuffix("x") + file
        return plain.where(~odd, csv_chunks.each(file.where(odd, ""), self._path)).where(file != "", "")

    def _located(self, cells: "pd.Series[str]") -> "pd.Series[str]":
        """Paths of the files that cells name, where they lie."""
        several = cells.str.contains(local_file.SEPARATOR, regex=False)
        found = csv_chunks.each(cells.where(several, ""), self._paths)
        return self._source(cells.where(~several, "")).where(~several, found)

    def _paths(self, cell: str) -> str:
        return local_file.SEPARATOR.join(map(self._path, cell.split(local_file.SEPARATOR))) if cell else ""

    def _leads_out(self, cells: "pd.Series[str]") -> "pd.Series[bool]":
        """Of each cell, whether a path leads out of the folder, for lists from the web."""
        suspect = cells.str.contains(r"\.\.|[:/\\]") & self.remote
        return csv_chunks.each(
            cells.where(suspect, ""), lambda cell: any(map(escapes, cell.split(local_file.SEPARATOR))), bool
        )

    def _opened(self, file: "pd.Series[str]", source: "pd.Series[str]") -> "pd.Series[str]":
        """What tells files apart that the list spells in several ways: `v.mp4`, `./v.mp4`, a link to it."""
        links = _Links(self.media)
        return pd.Series([links.target(*names) for names in zip(file, source, strict=True)], file.index, "str")

    def _path(self, file: str) -> str:
        return file if sources.is_address(file) else (self.media / file).as_posix()


def _led_out(name: str, row: Any) -> str:
    return f"{row[name]!r} leads out of the media folder, which a list from the web may not do"


class _Links:
    """Where files really lie. One look at each folder, not at each file: a list may have millions."""

    def __init__(self, media: Path) -> None:
        self._media = os.path.realpath(media)
        self._folders: dict[str, tuple[str, frozenset[str]]] = {}

    def target(self, file: str, source: str) -> str:
        """The path from the media folder where it lies in there, as the group has a name that people read."""
        if sources.is_address(file):
            return file
        folder, _, name = source.rpartition("/")
        folder = folder or ("/" if source.startswith("/") else ".")
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder), _links_in(folder)
        place, links = self._folders[folder]
        odd = name in ("", ".", "..") or name in links
        path = os.path.realpath(source) if odd else os.path.join(place, name)
        if path.startswith(self._media + os.sep):
            return path[len(self._media) + 1 :]
        return path if file.startswith("/") else os.path.relpath(path, self._media)


def _links_in(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except (OSError, ValueError):  # not there, or no name that a file can have: `fetch` finds that out
        return frozenset()


def _note_backslashes(file: "pd.Series[str]", location: str) -> None:
    odd = file[file.str.contains("\\", regex=False)]
    if len(odd) and os.sep != "\\":
        log.warning(
            "%s, line %d: %r holds a backslash, in %d rows: on this system that is part of a name and separates no "
            "folders; write / instead if the list is from Windows", location, odd.index[0], odd.iloc[0], len(odd),
        )  # fmt: skip


def _stems(table: pd.DataFrame) -> Callable[[str], str]:
    """How a clip without an id is called: after its file's name, or its path where other folders have that name too.

    All of a list alike: ids must not hang on which file comes first.
    """
    files = table["file"].drop_duplicates().tolist()
    distinct = {str(PurePosixPath(file)) if re.search(ODD_PATH, file) else file for file in files}
    return _stem if len({_stem(file) for file in distinct}) == len(distinct) else _long_stem


def _long_stem(file: str) -> str:
    path = PurePosixPath(file)
    return str(path.with_name(_stem(file))) if path.name else file


def escapes(file: str) -> bool:
    """Read as either system's path: the list does not say which one wrote it."""
    return any(
        path.is_absolute() or path.anchor or ".." in path.parts for path in (PurePosixPath(file), PureWindowsPath(file))
    )


def _stem(file: str) -> str:
    name = file[file.rfind("/") + 1 :]
    dot = name.rfind(".")
    # A Path takes ten times as long; it knows what `.a`, `a.` and `a/.` are called.
    return name[:dot] if 0 < dot < len(name) - 1 else PurePosixPath(file).stem


def _seconds(text: str) -> float:
    """'12.5', '1:02' or '0:01:02.5' -> seconds; not a number for an empty cell, -1 for what is no time."""
    if not text:
        return nan
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return -1.0
    if len(numbers) > 3 or any(number < 0 or not isfinite(number) for number in numbers):
        return -1.0
    return sum(number * 60**power for power, number in enumerate(reversed(numbers)))


def _written(text: str) -> str:
    return format(_seconds(text), ".12g") if text else ""
