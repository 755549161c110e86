"""Files that appear whole or not at all, and digests of settings."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


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
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}."
    for stale in path.parent.glob(f"{prefix}*.part"):
        stale.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
    os.close(handle)
    hidden = Path(name)
    try:
        yield hidden
        # mkstemp makes the file private; a result is as readable as any other file of the user's.
        mask = os.umask(0)
        os.umask(mask)
        hidden.chmod(0o666 & ~mask)
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


def digest(*parts: Any) -> str:
    """128 bits over JSON values, as hexadecimal digits: equal parts, equal digest."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
