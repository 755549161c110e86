"""Published lists, CSV or JSON -> numbered rows, or one line that says which row is damaged.

A list is read as it is meant wherever nothing is lost: other separators, line ends and encodings, a header where the
owner has none, comments that are gone. A row that cannot be told stops the study: a wrong manifest is worse than none.
"""

import csv
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.utils import csv_chunks, csv_input
from modalens.utils.errors import UserError
from modalens.utils.words import counted, half_letter

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "validate", "val", "valid"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
# What a spreadsheet writes in place of a text that it took for a formula, such as an id that begins with "-".
SPREADSHEET = re.compile(r"#(NAME\?|REF!|VALUE!|N/A|NULL!|NUM!|DIV/0!)")
BLOCK = 2**20  # letters that are cut into lines at a time: all lines would take more memory than the content
Columns = dict[str, tuple[str, ...]]


def sources(lists: Any, where: str) -> list[tuple[str, str]]:
    """Config's `csv` (a path or URL, a list of them, or {split: either}) -> (split or "", location) of each list."""
    if isinstance(lists, dict):
        unknown = [name for name in lists if name not in SPLITS]
        if unknown:
            raise UserError(f"{where}: {unknown[0]!r} is no split; train, validation and test are")
        return [(SPLITS[name], location) for name, part in lists.items() for _, location in sources(part, where)]
    several = lists if isinstance(lists, list) else [lists]
    if not several or not all(isinstance(location, str) and location for location in several):
        raise UserError(f"{where}: a path or URL, a list of them or a mapping from split to them is wanted")
    return [("", location) for location in several]


def local(lists: Any, where: str) -> list[Path]:
    """The lists that are files here."""
    return [Path(location) for _, location in sources(lists, where) if not csv_input.is_url(location)]


def text(location: str) -> str:
    """Content with plain line ends. Raises UserError for what is no list at all."""
    try:
        content = csv_input.download(location) if csv_input.is_url(location) else Path(location).read_bytes()
    except OSError as error:
        raise UserError(f"{location} cannot be read ({error.strerror}); paths count from {Path.cwd()}") from error
    found = csv_input.decoded(content, location).replace("\r\n", "\n").replace("\r", "\n")
    start = found.lstrip()[:200].lower()
    if not start:
        raise UserError(f"{location} is empty")
    if start.startswith("<"):
        raise UserError(f"{location}, line 1: a web page, not the list itself; save the raw file")
    if start.startswith("version https://git-lfs"):
        raise UserError(
            f"{location}, line 1: a Git LFS pointer, not the list itself; run `git lfs pull` where it is from"
        )
    return found


class Sheet:
    """A CSV of known columns, with a header or without. content: what `text` made of the file.

    columns: {name: other names of it}, in the owner's order; lower case. optional: those that may be missing at the
    end of a row. spread: joins the cells that lost quotes made of the last column; none are expected where it is "".
    """

    def __init__(
        self, location: str, content: str, columns: Columns, optional: tuple[str, ...] = (), spread: str = ""
    ) -> None:
        self.location, self._columns, self._optional, self._spread = location, columns, optional, spread
        self._content = content
        final = content[content.rfind("\n") + 1 :].rstrip()
        # Without a line end the last cell may have lost its own end, unless a closing quote shows that it has not.
        self.cut = final != "" and not final.endswith('"')
        self.last = content.rstrip().count("\n") + 1
        self.comments: list[tuple[int, str]] = []
        self._first = 0
        header = None
        for header in _lines(content):
            if not _skipped(header):
                break
            self._first += 1
            if header:
                self.comments.append((self._first, header))
        else:
            raise UserError(f"{location} has no row")
        self._separator = _separator(header)
        self._names = self._header(header)
        if self._names:
            self._first += 1
        else:
            last = self.comments[-1][1].lstrip('"# ') if self.comments else ""
            self._names = self._header(last) or list(columns)

    def parts(self) -> Iterator[pd.DataFrame]:
        """Tables of `columns`, the index is the line number; an optional cell that is not there is ""."""
        required = [name for name in self._columns if name not in self._optional]
        for raw in csv_chunks.gathered(self._cells(), range(len(self._names))):
            part = csv_chunks.stripped(raw)
            blank = pd.Series("", index=part.index, dtype="str")
            part = pd.DataFrame(
                {name: part[self._names.index(name)] if name in self._names else blank for name in self._columns}
            )
            faults = [(part[name] == "", lambda _, name=name: f"{name} is empty") for name in required]
            yield from csv_chunks.sound(part, self.place, faults)

    def rows(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """(line number, cells in the order of `columns`), as `parts` has them."""
        for part in self.parts():
            yield from zip(part.index.tolist(), part.itertuples(index=False, name=None), strict=True)

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        """(line number, as many cells as the list has columns); few rows are blank."""
        rows = islice(_lines(self._content), self._first, None)
        reader = csv.reader(rows, delimiter=self._separator, skipinitialspace=True, strict=True)
        line, width = self._first + 1, len(self._names)
        try:
            for cells in reader:
                after = self._first + reader.line_num + 1
                if after - line > 1:
                    raise csv.Error("a quote is not closed")
                if len(cells) == width:
                    yield line, cells
                elif any(cell.strip() for cell in cells):
                    yield line, self._fitted(cells, line)
                line = after
        except csv.Error as error:
            several = self._first + reader.line_num > line or "end of data" in str(error)
            what = "a quote is not closed" if several else "a quote stands within a cell"
            raise UserError(f"{self.place(line)}: {what}{self._end(line)}") from error

    def place(self, line: int) -> str:
        return f"{self.location}, line {line}"

    def spreadsheet_errors(self) -> int:
        return sum(SPREADSHEET.match(line.lstrip('" ')) is not None for line in _lines(self._content))

    def refuse_cut(self) -> None:
        """For lists whose last cell, cut short, would still pass for one."""
        if self.cut:
            raise UserError(
                f"{self.place(self.last)}: the file ends within a line, so that its last cell may be cut off; "
                "fetch the list anew, or end that line if it is whole"
            )

    def _header(self, line: str) -> list[str]:
        """Names of the cells where the line is a header, in our words; else none."""
        cells = [cell.strip("\"#' ").lower() for cell in line.split(self._separator)]
        while cells and not cells[-1]:
            cells.pop()
        known = {other: name for name, others in self._columns.items() for other in (name, *others)}
        names = [known.get(cell, cell) for cell in cells]
        found = [name for name in names if name in self._columns]
        required = [name for name in self._columns if name not in self._optional]
        if len(found) < max(2, len(required) // 2):
            return []
        missing = [name for name in required if name not in found]
        if missing:
            raise UserError(
                f"{self.location} has no column {missing[0]!r}; there are: {', '.join(filter(None, cells))}"
            )
        if len(set(found)) < len(found):
            raise UserError(f"{self.location} has a column twice: {', '.join(cells)}")
        return names

    def _fitted(self, cells: list[str], line: int) -> list[str]:
        width = len(self._names)
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
        if len(cells) > width and self._spread and self._names[-1] == list(self._columns)[-1]:
            cells[width - 1 :] = [self._spread.join(cell.strip() for cell in cells[width - 1 :])]
        fewest = width - sum(name in self._optional for name in self._names)
        if not fewest <= len(cells) <= width:
            raise UserError(
                f"{self.place(line)}: {counted(len(cells), 'cell')} where {fewest} are wanted{self._end(line)}"
            )
        return cells + [""] * (width - len(cells))

    def _end(self, line: int) -> str:
        return "; the file is cut off there, fetch it anew" if line == self.last else ""


class Entries:
    """Clips of a JSON file: they have a number, not a line."""

    def __init__(self, location: str) -> None:
        self.location = location

    def place(self, number: int) -> str:
        return f"{self.location}, clip {number}"

    def spreadsheet_errors(self) -> int:
        return 0


def is_json(content: str) -> bool:
    return content.lstrip()[:1] in ("[", "{")


def parse_json(location: str, content: str) -> Any:
    try:
        found = json.loads(content)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{location}, line {error.lineno}, column {error.colno}: no readable JSON ({error.msg}); fetch it anew"
        ) from error
    if half := half_letter(json.dumps(found if "\\u" in content else "", ensure_ascii=False)):
        raise UserError(f"{location}: {half!r} is half a letter, no text holds it; fetch the list anew")
    return found


def check_rows(location: str, rows: int, published: tuple[int, ...], partial: bool) -> None:
    """A list without the number of rows that its owner published is a part of it, by accident or on purpose."""
    if rows not in published and not partial:
        wanted = " or ".join(f"{number:,}" for number in published)
        raise UserError(
            f"{location}: {counted(rows, 'row')}, the published list has {wanted}; fetch it anew, "
            "or write `partial: true` in the config if a part is meant"
        )


def _lines(content: str) -> Iterator[str]:
    """Without blanks at their ends."""
    start = 0
    while start <= len(content):
        end = content.find("\n", start + BLOCK)
        end = len(content) if end < 0 else end
        yield from map(str.rstrip, content[start:end].split("\n"))
        start = end + 1


def _skipped(line: str) -> bool:
    start = line.lstrip('" ')
    return not start or (start.startswith("#") and not SPREADSHEET.match(start))


def _separator(line: str) -> str:
    """The first that stands outside a quoted cell."""
    found = re.search(r"[,;\t]", re.sub(r'^\s*"[^"]*"', "", line))
    return found.group() if found else ","
