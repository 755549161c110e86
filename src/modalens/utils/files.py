"""Files that appear whole or not at all, and digests of settings."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modalens.utils.errors import UserError

# The user's to mend: make room, or name another folder.
STORAGE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR,
    errno.EIO, errno.EISDIR, errno.EEXIST,
}  # fmt: skip


def write_if_changed(path: str | Path, text: str) -> bool:
    """Leave an equal file, and its time stamp, alone. Returns whether it wrote."""
    path = Path(path)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_text(path, text)
    return True


def write_text(path: str | Path, text: str) -> None:
    with atomic(path) as hidden:
        hidden.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a hidden path beside `path`; rename it onto `path` only if the block succeeds.

    A killed process leaves the hidden file alone, never a half-written `path`; the next writer of `path` removes it.
    """
    path = Path(path)
    with no_room(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{path.name}."
        for stale in path.parent.glob(f"{prefix}*.part"):
            stale.unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
    os.close(handle)
    hidden = Path(name)
    try:
        with no_room(path):
            yield hidden
        # mkstemp makes the file private; a result is as readable as any other file of the user's.
        mask = os.umask(0)
        os.umask(mask)
        hidden.chmod(0o666 & ~mask)
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


@contextlib.contextmanager
def no_room(path: str | Path) -> Iterator[None]:
    """A full disk, or a folder that cannot be written, as a UserError about `path`, whoever comes upon it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if reason := storage_fault(error):
            raise UserError(f"{path} cannot be written: {reason}") from error
        raise


def storage_fault(error: BaseException) -> str:
    """What the system says where an error, or one behind it, is the storage's and no program's; else ""."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            break
        number = seen.errno if isinstance(seen, OSError) else None
        if number is None and isinstance(seen, OSError | RuntimeError):
            # HDF5 and Arrow tell the number in their messages only.
            told = re.search(r"\berrno[ =]+(\d+)", str(seen), re.IGNORECASE)
            number = int(told[1]) if told else None
        if number in STORAGE:
            return os.strerror(number).lower()
        seen = seen.__cause__ or seen.__context__
    return ""


def link(source: Path, target: Path) -> None:
    """`target` becomes the same file under another name, where the disk allows it; else a copy. One that is there
    stays."""
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError:  # another file system, or one without links
        with atomic(target) as hidden:
            shutil.copyfile(source, hidden)


WEIGHTS = (".pt", ".pth", ".bin", ".safetensors")  # files of parameters


def is_path(text: str) -> bool:
    """Whether a text that may be a name is a path: it begins as one, or ends as a file of weights does."""
    return text.startswith((".", "/", "~")) or text.endswith(WEIGHTS)


def digest(*parts: Any) -> str:
    """128 bits over JSON values, as hexadecimal digits: equal parts, equal digest."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
