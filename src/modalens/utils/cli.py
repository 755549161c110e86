"""What every stage's command line shares: one-line errors for a user's mistakes, options as JSON, atomic files."""

import argparse
import contextlib
import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger("modalens")


class UserError(Exception):
    """A mistake of the user's: what is wrong, where, and what to do, in one line. Never shown with a traceback."""


def parser(description: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse, run, and turn a UserError into one line and exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    arguments = parser.parse_args()
    try:
        main(arguments)
    except UserError as error:
        sys.exit(f"modalens: {error}")


def mapping(text: str) -> dict[str, Any]:
    """argparse type: a JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"a JSON object is wanted, not {text!r}")
    return value


def pair(text: str) -> tuple[str, Path]:
    """argparse type: `audio=results/demo/features/log_mel` -> ("audio", Path)."""
    name, separator, path = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"NAME=PATH is wanted, not {text!r}")
    return name, Path(path)


def digest(*parts: Any) -> str:
    """128 bits over JSON values, as hexadecimal digits: equal parts, equal digest."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


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


def write_text(path: str | Path, text: str) -> None:
    with atomic(path) as hidden:
        hidden.write_text(text, encoding="utf-8")


def write_if_changed(path: str | Path, text: str) -> bool:
    """Leave an equal file, and its time stamp, alone. Returns whether it wrote."""
    path = Path(path)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_text(path, text)
    return True
