"""Files that a cell of the annotations names: a picture, a series, frames of depth."""

import hashlib
import stat
from pathlib import Path

from modalens.media.failure_causes import ClipError
from modalens.media.sources import is_address
from modalens.utils.files import digest

SEPARATOR = "|"  # between the paths of one cell
LARGEST = 2 * 2**30  # bytes of one file


def paths_of(cell: str) -> list[Path]:
    """The files that a cell names: one, several between SEPARATOR, or those of a folder, by name. Raises ClipError."""
    if not cell.strip():
        raise ClipError("absent", "the cell is empty")
    found = []
    for name in cell.split(SEPARATOR):
        if is_address(name):
            raise ClipError("missing", f"expected a file, got the address {name}")
        path = Path(name)
        found += sorted(one for one in path.iterdir() if not one.name.startswith(".")) if path.is_dir() else [path]
    return [checked(path) for path in found]


def only_path(cell: str) -> Path:
    """The one file that a cell names. Raises ClipError."""
    paths = paths_of(cell)
    if len(paths) != 1:
        raise ClipError("unsupported", f"expected one file, got {len(paths)} of {cell}")
    return paths[0]


def checked(path: Path) -> Path:
    """Raises ClipError where there is no file that can be read: a pipe or a device would be waited for."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise ClipError("missing", f"not found: {path}") from error
    if not stat.S_ISREG(found.st_mode):
        raise ClipError("unsupported", f"expected a file: {path}")
    if found.st_size > LARGEST:
        raise ClipError("memory", f"{path} has {found.st_size} bytes, more than {LARGEST}")
    return path


def content_digest(cell: str) -> str:
    """Of names and contents of the files that a cell names; "" where they cannot be read."""
    parts: list[str] = []
    try:
        for path in paths_of(cell):
            with path.open("rb") as file:
                parts += [path.name, hashlib.file_digest(file, "sha256").hexdigest()]
    except (ClipError, OSError):
        return ""
    return digest(*parts)
