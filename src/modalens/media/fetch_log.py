"""Cached results of earlier runs: one small JSON file a clip, beside its media file.

It is no output of the rule, since Snakemake deletes those before a job runs again. One file a clip, written by whoever
fetched the clip at the moment it came: a killed stage forgets nothing, and another number of shards changes nothing.
"""

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modalens.media import failure_causes
from modalens.media.sources import DownloadOptions, is_address, scratch
from modalens.utils.files import digest, write_text

# What a clip from the web was made with, and what may have kept it away: a change of these asks for it again.
MADE_WITH = ("max_height", "prefer_codec")
KEPT_AWAY = (*MADE_WITH, "max_bytes", "cookies", "proxy", "private_addresses")


@dataclass(frozen=True)
class FetchRequest:
    """One clip as the manifest asks for it. made_by: the version of the code that renders it, "" for all others."""

    clip_id: str
    source: str
    start_s: float | None
    end_s: float | None
    made_by: str
    options: DownloadOptions


def write(destination: Path, wanted: FetchRequest, row: dict[str, Any]) -> None:
    """row: of the status table, and `metadata`. destination: of the media file, without its suffix."""
    # A file on the disk may be replaced by a better one, whether it was of use or not.
    path = row.get("path") or ("" if is_address(wanted.source) else wanted.source)
    entry = {"wanted": _asked(wanted, KEPT_AWAY), "file": _state(path), **row}
    write_text(_place(destination), json.dumps(entry, ensure_ascii=False))


def read(destination: Path, wanted: FetchRequest) -> dict[str, Any]:
    """The cached row, or {} if absent or stale."""
    try:
        entry = json.loads(_place(destination).read_text(encoding="utf-8"))
        before, file = entry.pop("wanted"), entry.pop("file")
        path = entry.get("path") or ("" if is_address(wanted.source) else wanted.source)
        now = _asked(wanted, MADE_WITH if entry["status"] == "ok" else KEPT_AWAY)
        same = all(before[name] == value for name, value in now.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return {}
    return entry if same and file == _state(path) else {}


def digest_of(wanted: FetchRequest) -> str:
    """Of what a clip is made with."""
    return digest(_asked(wanted, MADE_WITH))


@contextlib.contextmanager
def held(destination: Path) -> Iterator[None]:
    """One process at a time fetches a clip; the lock ends with whoever holds it."""
    with destination.with_name(f".{destination.name}.lock").open("a") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def clean(destination: Path, keep: str) -> None:
    """Remove what is left of a clip's media but for the file `keep`: of a killed worker, or of other options."""
    shutil.rmtree(scratch(destination), ignore_errors=True)
    for path in [*destination.parent.glob(f"{destination.name}.*"), *destination.parent.glob(f".{destination.name}.*")]:
        if path != _place(destination) and path.suffix != ".lock" and str(path) != keep and path.is_file():
            path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_number(path: Path, runs: int) -> int:
    """A parameter of the job that changes when it has something to try again, so that Snakemake runs it again.

    Everything after a job that ran runs too, so clips that fail again and again get no more than `runs` runs.
    """
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        this, left, missing = int(note["run"]), bool(note["left"]), [Path(name) for name in note["missing"]]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    found = any(file.exists() for file in missing)
    return this + (found or (left and this + 1 < runs))


def end_run(path: Path, run: int, clips: list[tuple[FetchRequest, dict[str, Any]]]) -> None:
    """Note what is left after a run: addresses to ask again, files that were not there."""
    left = any(
        is_address(wanted.source) and failure_causes.is_retryable(row["status"], row["cause"]) for wanted, row in clips
    )
    missing = [wanted.source for wanted, row in clips if row["cause"] == "missing"]
    write_text(path, json.dumps({"run": run, "left": left, "missing": missing}))


def _place(destination: Path) -> Path:
    return destination.with_name(f"{destination.name}.json")


def _asked(wanted: FetchRequest, names: tuple[str, ...]) -> dict[str, Any]:
    given = {"source": wanted.source, "start_s": wanted.start_s, "end_s": wanted.end_s, "made_by": wanted.made_by}
    if is_address(wanted.source):
        options = asdict(wanted.options)
        given |= {name: options[name] for name in names}
    return given


def _state(path: str) -> list[int]:
    """Size and modification time of a file; [] if not found."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return []
    return [found.st_size, found.st_mtime_ns] if path else []
