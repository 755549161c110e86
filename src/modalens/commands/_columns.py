"""A CSV as people have it -> what each of its columns is good for: file, label, group, text, number."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from modalens.datasets.folder import FIELDS
from modalens.media.array_file import MISSING
from modalens.media.sources import is_address
from modalens.plugins import registry
from modalens.utils.errors import UserError
from modalens.utils.words import counted, half_letter

SHOWN = 8  # suffixes
LOOKED_AT = 200  # cells of a column, to tell what it holds
MOST_CLASSES = 1000
NUMBERS = 0.9  # so many cells of a column of numbers are some
NUMERALS = 20  # so many different numbers may well be classes: digits, grades
WORDS = 3  # on average, of a text
SOURCES = (
    "group", "speaker", "talker", "subject", "person", "participant", "patient", "actor", "author", "user", "session",
    "recording", "video_id", "source", "movie", "scene", "site",
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """role: field (one that the data set `folder` knows by name), file, group, number, label, text, id, other, empty.

    suffixes: of the files it names, the commonest first. distinct: different cells; filled: those that are not empty.
    numeric: whether the cells are numbers, but for a few.
    """

    name: str
    role: str
    filled: int
    distinct: int
    suffixes: tuple[str, ...] = ()
    numeric: bool = False

    def __str__(self) -> str:
        ends = [*self.suffixes[:SHOWN], *(["..."] if len(self.suffixes) > SHOWN else [])]
        what = {
            "file": f"names files ({', '.join(ends) or 'addresses'})",
            "label": f"{self.distinct} classes: a task",
            "group": f"{counted(self.distinct, 'source')}: clips of one stay in one split",
            "text": "text",
            "number": "numbers",
            "id": "another one in each row",
            "field": "read by its name",
            "empty": "empty",
        }
        return what.get(self.role, "the same in each row" if self.distinct == 1 else f"{self.distinct} different cells")


def suffixes() -> dict[str, list[str]]:
    """Suffix of a file -> modalities that it may hold."""
    found: dict[str, list[str]] = {}
    for kind in registry.names("modalities"):
        for suffix in registry.load("modalities", kind).suffixes:
            found.setdefault(suffix, []).append(kind)
    return found


def look(table: pd.DataFrame, folder: Path) -> list[Column]:
    """table: text, one row a clip. folder: that names of files count from."""
    known = set(suffixes())
    return [_column(str(name), table.iloc[:, place], folder, known) for place, name in enumerate(table.columns)]


def _column(name: str, cells: "pd.Series[str]", folder: Path, known: set[str]) -> Column:
    filled = cells[cells != ""]
    distinct, some = filled.nunique(), filled.drop_duplicates().head(LOOKED_AT)
    if not len(filled):
        return Column(name, "empty", 0, 0)
    ends = tuple(some.map(_suffix).value_counts().index)
    named = sum(is_address(cell) or _suffix(cell) in known or _is_file(folder, cell) for cell in some)
    if named > len(some) / 2:
        return Column(name, "file", len(filled), distinct, tuple(end for end in ends if end))
    values = some[~some.str.lower().isin(MISSING)]
    numeric = bool(len(values)) and bool(pd.to_numeric(values, errors="coerce").notna().mean() > NUMBERS)
    return Column(name, _role(name, filled, some, distinct, numeric), len(filled), distinct, numeric=numeric)


def _role(name: str, filled: "pd.Series[str]", some: "pd.Series[str]", distinct: int, numeric: bool) -> str:
    if name in FIELDS:
        return "field"
    if name.lower() in SOURCES and distinct < len(filled):
        return "group"
    if distinct > NUMERALS and numeric:
        return "number"
    if 2 <= distinct <= min(MOST_CLASSES, len(filled) / 3):
        return "label"
    if some.map(lambda cell: len(cell.split())).mean() >= WORDS:
        return "text"
    return "id" if distinct == len(filled) else "other"


def _suffix(cell: str) -> str:
    return PurePosixPath(cell.partition("?")[0]).suffix.lower()


def _is_file(folder: Path, cell: str) -> bool:
    try:
        return (folder / cell).is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False


def rows_of(folder: Path, known: Iterable[str]) -> pd.DataFrame:
    """Files of a folder and all below it -> file, label: the folder that it lies in, "" at the top.

    Raises UserError for a name that no list can hold.
    """
    known = set(known)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in known and path.is_file())
    names = [path.relative_to(folder) for path in paths]
    if odd := next((name for name in map(str, names) if half_letter(name)), ""):
        raise UserError(f"{folder}: expected names of files in UTF-8, got {odd!r}; rename it")
    return pd.DataFrame(
        {
            "file": [name.as_posix() for name in names],
            "label": [name.parts[0] if len(name.parts) > 1 else "" for name in names],
        },
        dtype="str",
    )
