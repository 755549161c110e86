"""Rows that studies share: finished files of jobs, of any study, by what they were made with.

A job puts a copy of its file there (a link, where the disk allows one) under the digest of its content. No file there
is changed after, so that any number of runs may read and write at a time. A row is taken by its id and its key, which
tells all that it was made from. Nothing is removed: whoever wants the room deletes the folder.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modalens.utils import files, hdf5
from modalens.utils.errors import UserError


class Shelf:
    """Files of what was made alike, NAME.csv and NAME.h5; either may be absent."""

    def __init__(self, cache: Path | None, made: str, stem: str) -> None:
        """cache: the folder that studies share; None is an empty shelf. stem: of the job's own files, whose namesakes
        are looked at first."""
        self._folder = cache / "rows" / made if cache and made else None
        self._stem = stem

    def names(self) -> list[Path]:
        """Of the files, without suffix."""
        found = {path.with_suffix("") for path in self._folder.glob("[!.]*-*.*")} if self._folder else set()
        return sorted(found, key=lambda path: (not path.name.startswith(f"{self._stem}-"), path.name))

    def rows(
        self, wanted: Mapping[str, str], attributes: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[Path, dict[str, str]]]:
        """(file without suffix, {clip_id: key} of its rows that are wanted), each row once.

        wanted: {clip_id: key}. attributes: those that the file must have.
        """
        left = {clip_id: key for clip_id, key in wanted.items() if key}
        for name in self.names() if left else ():
            path = name.with_suffix(".h5")
            # Whatever is wrong with a file that somebody left there: its rows are made anew.
            with contextlib.suppress(UserError, KeyError, OSError):
                if not path.exists() or (attributes is not None and hdf5.attributes(path) != attributes):
                    continue
                here = {clip_id: key for clip_id, key in hdf5.keys(path).items() if left.get(clip_id) == key}
                if here:
                    yield path, here
                left = {clip_id: key for clip_id, key in left.items() if clip_id not in here}
            if not left:
                return

    def put(self, *paths: Path) -> None:
        """Finished files of one job, of different suffixes."""
        if self._folder is None:
            return
        digest = hashlib.sha256()
        for path in paths:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            place = self._folder / f"{self._stem}-{digest.hexdigest()[:24]}{path.suffix}"
            if not place.exists():
                files.link(path, place)
