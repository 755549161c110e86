"""What a shard keeps when its job runs again: a row stays as long as all that it was made from is the same.

A row's key is a digest of that: for a decoded clip its file's SHA-256, the window, the settings and the code; for what
is made from the decoded clip, its key and what it is made with. So one clip added to a shard costs one clip's work.
Decoded clips are large and mostly temporary: a clip is not decoded again where all that is made from it is there.
"""

import contextlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from modalens.utils import files, hdf5
from modalens.utils.errors import UserError
from modalens.utils.shelf import Shelf

Rows = dict[str, dict[str, str]]


def keys(path: Path) -> dict[str, str]:
    """{clip_id: key} of the rows that bear one; none where the file is absent or damaged: it is made anew then."""
    # KeyError: an HDF5 file that is none of ours.
    with contextlib.suppress(UserError, KeyError):
        return {clip_id: key for clip_id, key in hdf5.keys(path).items() if key}
    return {}


def derived_key(key: str, made: str) -> str:
    """Key of what is made from a decoded clip. made: a digest of the settings and the code that make it."""
    return files.digest(key, made) if key else ""


def is_cached_downstream(clip_id: str, key: str, consumers: dict[str, dict[str, str]]) -> bool:
    """Whether all that is made from a decoded clip is there. consumers: {made: keys of the file}, at least one."""
    wanted = {made: derived_key(key, made) for made in consumers}
    return bool(key and consumers) and all(rows.get(clip_id) == wanted[made] for made, rows in consumers.items())


def downstream(consumers: list[tuple[str, Path]], wanted: Mapping[str, str], cache: Path | None) -> Rows:
    """{made: {clip_id: key}} of the rows of all that is made from decoded clips, {clip_id: key}, which are there: in
    the study, or among what studies share."""
    found = {}
    for made, path in consumers:
        derived = {clip_id: derived_key(key, made) for clip_id, key in wanted.items()}
        found[made] = keys(path)
        for _, rows in Shelf(cache, made, path.stem).rows(derived):
            found[made] = {**found[made], **rows}
    return found


def partition_cached(
    source: Path,
    output: Path,
    attributes: dict[str, Any],
    made: str,
    known: Collection[str] | None = None,
    cache: Path | None = None,
) -> tuple[dict[Path, dict[str, str]], dict[str, str]]:
    """Rows that are there, by file, and rows to be made from those of `source`: {clip_id: key}.

    attributes: those that `output` is to have; rows made with other ones do not stay. known: clips of which all else is
    known that goes with a row of `output`. cache: folder of what studies share, looked at after it. Raises UserError:
    clips that have a row nowhere.
    """
    rows, left = hdf5.keys(source), hdf5.elsewhere(source)
    wanted = {clip_id: derived_key(key, made) for clip_id, key in {**rows, **left}.items()}
    old = keys(output)
    if old and hdf5.attributes(output) != attributes:
        old = {}
    stay = {
        clip_id: key
        for clip_id, key in wanted.items()
        if key and old.get(clip_id) == key and (known is None or clip_id in known)
    }
    found = {output: stay} if stay else {}
    missing = {clip_id: key for clip_id, key in wanted.items() if clip_id not in stay}
    for path, here in Shelf(cache, made, output.stem).rows(missing, attributes):
        found[path] = here
        missing = {clip_id: key for clip_id, key in missing.items() if clip_id not in here}
    absent = sorted(set(left) & set(missing))
    if absent:
        shared = f" and {cache / 'rows' / made}" if cache else ""
        raise UserError(
            f"{output} has lost {len(absent)} of {len(wanted)} clips, first {absent[0]!r}; "
            f"delete {output} and {source}{shared}, and run again"
        )
    return found, missing
