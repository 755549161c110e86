"""Passwords: where they come from, and how they are kept out of all that is written.

A config names a place, `env:NAME` or `file:PATH`, and never the secret itself: configs, command lines, logs, reports
and records are published. `redacted` is the one filter for texts that others wrote, such as error messages.
"""

import os
import re
from pathlib import Path
from typing import Any

from modalens.utils.errors import UserError

MASK = "***"
# user:password@ of an address. A password may hold a slash; host:port/path@x holds none.
_USER = re.compile(r"(?<=://)(?:[^\s/@\"'<>]+|[^\s/@:\"'<>]+:(?!\d+/)[^\s@\"'<>]*)@")
# ?token=..., &X-Amz-Signature=..., as in signed addresses.
_QUERY = re.compile(
    r"([?&;](?:[^\s=&?#\"'<>]*[-_.])?"
    r"(?:token|secret|password|passwd|pwd|signature|sig|credentials?|api_?key|key|auth)=)[^\s&#\"'<>]+",
    re.IGNORECASE,
)
_HEADER = re.compile(r"((?:Authorization|Cookie|X-Api-Key)[\"']?\s*[:=]\s*[\"']?)[^\r\n\"']+", re.IGNORECASE)


def redacted(value: Any) -> Any:
    """The same text, or JSON value of texts, with passwords and tokens of addresses and headers masked."""
    if isinstance(value, str):
        return _HEADER.sub(rf"\1{MASK}", _QUERY.sub(rf"\1{MASK}", _USER.sub(f"{MASK}@", value)))
    if isinstance(value, dict):
        return {redacted(name): redacted(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(part) for part in value]
    return value


def resolved(value: str, where: str) -> str:
    """`env:NAME` -> that variable; `file:PATH` -> the first line of that file; any other text as it is."""
    kind, _, name = value.partition(":")
    if kind == "env":
        if not os.environ.get(name):
            raise UserError(f"{where}: expected the environment variable {name!r}, got none; export it and run again")
        return os.environ[name]
    if kind == "file" and not name.startswith("//"):
        try:
            lines = Path(name).expanduser().read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{where}: {name} cannot be read ({reason}); expected a file with one line") from error
        if not lines[0].strip():
            raise UserError(f"{where}: {name} is empty; expected a file with one line")
        return lines[0].strip()
    return value


def refuse(value: Any, where: str) -> None:
    """Raises UserError for a password in a config. where: what the value is called there."""
    if isinstance(value, dict):
        for name, part in value.items():
            refuse(part, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            refuse(part, f"{where}[{number}]")
    elif isinstance(value, str) and _USER.search(value):
        place = "env:NAME or file:PATH" if where in PLACES else "an address without user and password"
        raise UserError(
            f"config: {where}: expected {place}, got a password in {redacted(value)!r}, which all would read"
        )
    elif isinstance(value, str) and where in PLACES and _may_hold_one(value):
        # Not repeated: without a scheme, or with odd letters, nobody knows where the password ends.
        raise UserError(f"config: {where}: expected env:NAME or file:PATH, got what may be a password, for all to read")


def _may_hold_one(value: str) -> bool:
    kind, _, rest = value.partition(":")
    if kind == "env" or kind.startswith("sqlite") or (kind == "file" and not rest.startswith("//")):
        return False
    return (":" in value and "@" in value) or bool(_QUERY.search(value))


# Keys whose value is asked for by `resolved`.
PLACES = ("download.proxy", "mlflow.tracking_uri")
