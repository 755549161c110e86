"""A SHA-256 inside every model, checkpoint and table of predictions, checked before any of it is used.

Neither torch.load nor a Parquet reader looks at checksums by itself: a flipped bit is another weight or another label.
The digest lies where other readers do not look: in the comment of a zip file (what torch.save writes), and in a gap
before the footer of a Parquet file (readers find all that they read by the footer). One file stays one file, and
pandas, DuckDB and torch.load read it as any other. Cost: a file is read once more, at 1.9 GB/s.
"""

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from modalens.utils.errors import UserError
from modalens.utils.files import atomic

MARK = b"modalens-sha256:"
SIZE = len(MARK) + hashlib.sha256().digest_size
ZIP, PARQUET = b"PK\x03\x04", b"PAR1"
PIECE = 2**20


def damaged(path: str | Path, reason: object) -> UserError:
    """The one line for a stored file that is not what was written."""
    return UserError(f"{path} is damaged ({' '.join(str(reason).split())[:200]}); delete it and run again")


def not_found(path: str | Path, stage: str) -> UserError:
    return UserError(f"not found: {path} (run the {stage} stage first)")


@contextlib.contextmanager
def sealed(path: str | Path) -> Iterator[Path]:
    """`files.atomic` for a zip or Parquet file, which gets its digest before it appears."""
    with atomic(path) as hidden:
        yield hidden
        _seal(hidden)


def check(path: str | Path, *, optional: bool = False) -> None:
    """Raises UserError where the content is not what was written. optional: a file without a digest, which another
    program wrote, is taken as it is, and what is no such file is its reader's to refuse."""
    try:
        with open(path, "rb") as file:
            place = _place(file) - SIZE
            file.seek(max(place, 0))
            seal = file.read(SIZE)
            if place < 0 or not seal.startswith(MARK):
                if optional:
                    return
                raise damaged(path, "it has no checksum")
            if _digest(file, place, place + SIZE) != seal[len(MARK) :]:
                raise damaged(path, "its content does not fit its checksum")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, struct.error) as error:
        if not optional or isinstance(error, OSError):
            raise damaged(path, error) from error


def stored(path: str | Path) -> str:
    """The digest that a file bears, unchecked, "" where it bears none: it tells whether two files are the same without
    reading either."""
    with contextlib.suppress(ValueError, struct.error), open(path, "rb") as file:
        place = _place(file) - SIZE
        file.seek(max(place, 0))
        seal = file.read(SIZE)
        if place >= 0 and seal.startswith(MARK):
            return seal[len(MARK) :].hex()
    return ""


def _seal(path: Path) -> None:
    with path.open("r+b") as file:
        place = _place(file)
        file.seek(place)
        after = file.read()  # nothing, or a footer
        if _kind(file) == ZIP:
            # The last two bytes of a zip without a comment are the comment's length.
            file.seek(place - 2)
            file.write(struct.pack("<H", SIZE))
        digest = _digest(file, place, place)
        file.seek(place)
        file.write(MARK + digest + after)


def _place(file: BinaryIO) -> int:
    """Where a digest ends, or would begin: the end of a zip, the footer of a Parquet file."""
    end = file.seek(0, os.SEEK_END)
    kind = _kind(file)
    if kind == ZIP:
        return end
    if kind != PARQUET:
        raise ValueError("neither a zip nor a Parquet file")
    file.seek(max(0, end - 8))
    length, magic = struct.unpack("<I4s", file.read(8))
    if magic != PARQUET or length > end - 12:
        raise ValueError("it has no Parquet footer")
    return int(end - 8 - length)


def _kind(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(4)


def _digest(file: BinaryIO, first: int, last: int) -> bytes:
    """Of all but the bytes from first to last."""
    found = hashlib.sha256()
    file.seek(0)
    left = first
    while left and (piece := file.read(min(left, PIECE))):
        found.update(piece)
        left -= len(piece)
    file.seek(last)
    while piece := file.read(PIECE):
        found.update(piece)
    return found.digest()
