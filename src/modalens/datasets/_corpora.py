"""Corpora whose folders and file names say what is in them: their files, and what is wrong with what is there."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from modalens.datasets._base import unique
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest
from modalens.utils.words import counted, half_letter

log = logging.getLogger("modalens")

FIELDS = ("clip_id", "source", "start_s", "end_s", "group", "split", "text")
Named = tuple[Path, "re.Match[str]"]


def files(root: Path, suffixes: tuple[str, ...], where: str) -> list[Path]:
    """Every file below a folder with one of the suffixes (lower case), sorted. Raises UserError where there is none,
    and for a name that no table can hold."""
    if not root.is_dir():
        raise UserError(f"{where}: root {root} is no folder; paths count from {Path.cwd()}")
    found = []
    for folder, below, names in os.walk(root, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".")]
        # macOS's archives hold a ghost `._name` of each file.
        found += [Path(folder, name) for name in names if name.lower().endswith(suffixes) and not name.startswith(".")]
    if not found:
        raise UserError(f"{where}: no {' or '.join(suffixes)} file lies below {root}; expected the corpus as unpacked")
    if odd := next((path for path in map(str, found) if half_letter(path)), ""):
        raise UserError(f"{where}: expected names of files in UTF-8, got {odd!r}; rename it")
    return sorted(found)


def named(root: Path, suffixes: tuple[str, ...], name: "re.Pattern[str]", example: str, where: str) -> Iterator[Named]:
    """Files below a folder, and what their names, without suffix, say. Others are counted in the log, never silent."""
    found = files(root, suffixes, where)
    pairs = [(path, match) for path in found if (match := name.fullmatch(path.stem))]
    others = len(found) - len(pairs)
    if not pairs:
        raise UserError(f"{where}: no file below {root} is named like {example}; the first is {found[0]}")
    if others:
        odd = next(path for path in found if not name.fullmatch(path.stem))
        said = counted(others, "file is", "files are")
        log.warning("%s: %s not named like %s and left out, first %s", where, said, example, odd)
    return iter(pairs)


def check_tasks(tasks: Sequence[str], known: Iterable[str], where: str) -> None:
    """Raises UserError for a task that a corpus does not label."""
    for task in tasks:
        if task not in known:
            raise UserError(f"{where} has no task {task!r}; {suggest(task, list(known))}")


def check_choice(value: str, known: Sequence[str], where: str) -> None:
    if value not in known:
        raise UserError(f"{where}: expected one of {', '.join(known)}, got {value!r}; {suggest(value, known)}")


def meaning(code: str, known: Mapping[str, str] | Sequence[str], what: str, path: Path | str) -> str:
    """What a code of a file's name stands for: itself, if `known` is a list. Raises UserError for one not known."""
    if code not in known:
        few = [*known][:12]
        raise UserError(f"{path}: {what} {code!r} is none of {', '.join(few)}{' …' if len(known) > len(few) else ''}")
    return known[code] if isinstance(known, Mapping) else code


def check_whole(found: Iterable[str], expected: Iterable[str], what: str, where: str, partial: bool) -> None:
    """Raises UserError where a speaker or a word is missing, unless the config says that a part is meant."""
    if not partial:
        part = "unpack the rest, or write `partial: true` in the config if a part is meant"
        check_there(found, expected, what, where, part)


def check_there(found: Iterable[str], expected: Iterable[str], what: str, where: str, remedy: str) -> None:
    """Raises UserError where a speaker or a word that the config asks for is missing."""
    wanted, there = list(expected), set(found)
    missing = [str(name) for name in wanted if name not in there]
    if missing:
        few = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        raise UserError(f"{where}: {what} missing: {few} ({len(missing)} of {len(wanted)}); {remedy}")


def check_count(found: int, published: int, what: str, where: str, partial: bool) -> None:
    """Raises UserError where there are not as many clips as were published, unless the config says that it is meant.
    what: one of them, "sentence of s1"."""
    if found != published and not partial:
        noun, blank, rest = what.partition(" ")
        raise UserError(
            f"{where}: {counted(found, noun)}{blank}{rest}, {published:,} were published; unpack the corpus anew, or "
            "write `partial: true` in the config if a part is meant"
        )


def table(rows: Sequence[Mapping[str, str]], tasks: Sequence[str], where: str) -> pd.DataFrame:
    """Rows -> a manifest; what a row does not say is "". Raises UserError where two files, or two rows of lists, are
    the same clip; `place` is where in a list a row stands."""
    found = pd.DataFrame(rows).reindex(columns=[*FIELDS, *tasks], fill_value="").astype("str")
    places = pd.Series([row.get("place", row["source"]) for row in rows], found.index, "str")
    return unique(found, where, _one_of_two, places)


def _one_of_two(first: str, second: str) -> str:
    if Path(first).parent == Path(second).parent:
        return "take one of the two out"
    return "name the folder of one of the two copies as root"
