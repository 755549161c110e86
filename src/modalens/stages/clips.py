"""Fetch the media file of every clip of a shard and look at what is in it. A clip that fails is a row, not an end.

What an earlier run fetched is kept, a permanent failure is never tried again, a transient one is on the next run.
"""

import argparse
import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modalens.config import code_version
from modalens.media import failure_causes, fetch_log
from modalens.media.failure_causes import ClipError
from modalens.media.fetch_log import FetchRequest
from modalens.media.probe import probe
from modalens.media.rate_limit import RateLimiter, pending_clips
from modalens.media.sources import DownloadOptions, Fetched, is_address
from modalens.media.status import add_workers, media_name, seconds, status, write_record, write_status
from modalens.media.windows import window
from modalens.media.worker_pool import Task, map_clips
from modalens.plugins import registry
from modalens.utils import cli, files
from modalens.utils.csv_tables import read_table, rows_of
from modalens.utils.errors import UserError
from modalens.utils.progress import progress

COLUMNS = ("path", "start_s", "end_s", "duration_s", "video", "audio", "bytes", "sha256")
NO_MEDIA = {"status": "ok", "cause": "", "detail": "", "path": "", "start_s": "", "end_s": ""}
NOT_TRIED = {"status": "failed", "cause": "not_tried", "detail": ""}

log = logging.getLogger("modalens")


def fetch_and_note(
    fetch: Callable[[str, float | None, float | None, Path, DownloadOptions], Fetched],
    wanted: FetchRequest,
    destination: Path,
) -> dict[str, Any]:
    """Row of the status table, with `metadata`; noted in the ledger before it is answered. Runs in a worker."""
    with fetch_log.held(destination):
        # Another study's job may have been at it.
        if (there := fetch_log.read(destination, wanted)) and there["status"] == "ok":
            return there
        return _fetch(fetch, wanted, destination)


def _fetch(
    fetch: Callable[[str, float | None, float | None, Path, DownloadOptions], Fetched],
    wanted: FetchRequest,
    destination: Path,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    try:
        fetched = fetch(wanted.source, wanted.start_s, wanted.end_s, destination, wanted.options)
        metadata = fetched.metadata
        row = {"clip_id": wanted.clip_id, "status": "ok", "cause": "", "detail": "", **_look(fetched, destination)}
        fetch_log.clean(destination, row["path"])
    except MemoryError:
        raise
    except Exception as error:
        row = _failed(wanted, error)
    row["metadata"] = metadata
    if row["cause"] != "disk_full":
        try:
            fetch_log.write(destination, wanted, row)
        except OSError as error:
            row = _failed(wanted, error) | {"metadata": metadata}
    return row


def _look(fetched: Fetched, destination: Path) -> dict[str, Any]:
    """What is in a fetched file. One that is of no use is not kept. Raises ClipError."""
    try:
        found = probe(fetched.path)
        window(fetched.start_s, fetched.end_s, 0.0, found["duration_s"])
    except ClipError:
        if fetched.path.parent == destination.parent:
            fetched.path.unlink(missing_ok=True)
        raise
    times = {"start_s": _text(fetched.start_s), "end_s": _text(fetched.end_s)}
    found["duration_s"] = round(found["duration_s"], 3)
    size = fetched.path.stat().st_size
    return {"path": str(fetched.path), **times, **found, "bytes": size, "sha256": fetch_log.sha256(fetched.path)}


def _failed(wanted: FetchRequest, error: Exception) -> dict[str, Any]:
    if not isinstance(error, ClipError):
        said = f"{type(error).__name__}: {error}"
        error = ClipError(failure_causes.classify(said), said)
    times = {"start_s": _text(wanted.start_s), "end_s": _text(wanted.end_s)}
    return {"clip_id": wanted.clip_id, "status": "failed", "cause": error.cause, "detail": error.detail, **times}


def _text(value: float | None) -> str:
    return "" if value is None else format(value, ".12g")


def main(arguments: argparse.Namespace) -> None:
    plugin = registry.load("datasets", arguments.dataset)
    wanted = _wanted(arguments)
    media: Path = arguments.media
    media.mkdir(parents=True, exist_ok=True)
    places = {clip_id: _destination(media, one, arguments.shared) for clip_id, one in wanted.items()}
    # A row without a source has its modalities elsewhere.
    without = {clip_id: {"clip_id": clip_id, **NO_MEDIA} for clip_id, one in wanted.items() if not one.source}
    found = without | {
        clip_id: fetch_log.read(places[clip_id], wanted[clip_id]) for clip_id in wanted if clip_id not in without
    }
    earlier = {clip_id: (row["status"], row["cause"]) for clip_id, row in found.items() if row}
    asked = _choose(arguments.offline, wanted, earlier)
    log.info("%d clips: %d known from before, %d to fetch", len(wanted), len(earlier), len(asked))
    web = any(is_address(wanted[clip_id].source) for clip_id in asked)
    if web:
        # yt-dlp takes a second to import: a study of files or rendered clips does without.
        from modalens.media.download import check

        check(arguments.download)
    pace = RateLimiter(arguments.download.sleep_s, book=media / "pace.json")
    tasks = _tasks([(wanted[clip_id], places[clip_id]) for clip_id in asked], plugin.fetch, pace)
    limit_s = arguments.timeout + (arguments.download.timeout_s if web else 0)
    answers = map_clips(fetch_and_note, tasks, arguments.workers, limit_s, arguments.memory_mb, ordered=False)
    for clip_id, outcome in progress(answers, "clips", "clips", len(asked)):
        row = outcome.value
        if row is None:
            times = {name: _text(getattr(wanted[clip_id], name)) for name in ("start_s", "end_s")}
            row = {**status(clip_id, outcome), **times, "metadata": {}}
            with contextlib.suppress(OSError):
                fetch_log.clean(places[clip_id], found[clip_id].get("path", ""))
                fetch_log.write(places[clip_id], wanted[clip_id], row)
        found[clip_id] = row
        pace.report_outcome(row["cause"], row["detail"])
    rows = {clip_id: found[clip_id] or NOT_TRIED | {"clip_id": clip_id} for clip_id in sorted(wanted)}
    _finish(arguments, [(wanted[clip_id], row) for clip_id, row in rows.items()], pace.stopped)


def _wanted(arguments: argparse.Namespace) -> dict[str, FetchRequest]:
    shard = read_table(arguments.shard, ["clip_id", "source", "start_s", "end_s"])
    again = shard.loc[shard["clip_id"].duplicated(), "clip_id"]
    if len(again):
        raise UserError(f"{arguments.shard} names a clip twice: {again.iloc[0]!r}")
    wanted = {}
    for row in rows_of(shard):
        times = seconds(row["start_s"]), seconds(row["end_s"])
        made_by = _made_by(row["source"])
        wanted[row["clip_id"]] = FetchRequest(row["clip_id"], row["source"], *times, made_by, arguments.download)
    return wanted


def _made_by(source: str) -> str:
    """`known_answer:...` is rendered by that data set, and made anew when the code that draws it changes."""
    name = source.partition(":")[0]
    return code_version.code_digest(f"datasets/{name}") if name in registry.names("datasets") else ""


def _destination(media: Path, wanted: FetchRequest, shared: bool) -> Path:
    """256 folders: some file systems mind a hundred thousand names in one. shared: other studies may mean another clip
    by the same id."""
    name = media_name(" ".join([wanted.clip_id, fetch_log.digest_of(wanted)]) if shared else wanted.clip_id)
    return media / name[-2:] / name


def _choose(offline: bool, wanted: dict[str, FetchRequest], earlier: dict[str, tuple[str, str]]) -> list[str]:
    return [
        clip_id for clip_id in pending_clips(wanted, earlier) if not (offline and is_address(wanted[clip_id].source))
    ]


def _tasks(clips: list[tuple[FetchRequest, Path]], fetch: Callable, pace: RateLimiter) -> Iterator[Task]:
    """Clips until the pace says stop; between addresses it is waited for as long as the pace says."""
    for wanted, destination in clips:
        destination.parent.mkdir(exist_ok=True)
        if is_address(wanted.source) and not pace.stopped:
            time.sleep(pace.delay(time.time()))
        if pace.stopped:
            return
        yield wanted.clip_id, (fetch, wanted, destination)


def _finish(arguments: argparse.Namespace, clips: list[tuple[FetchRequest, dict[str, Any]]], stopped: str) -> None:
    tables = [{name: value for name, value in row.items() if name != "metadata"} for _, row in clips]
    notes = [{"clip_id": row["clip_id"], **row["metadata"]} for _, row in clips if row.get("metadata")]
    try:
        write_status(arguments.output, tables, COLUMNS)
        files.write_text(arguments.metadata, "".join(json.dumps(note, ensure_ascii=False) + "\n" for note in notes))
        write_record(arguments, "clips", arguments.output, tables)
        fetch_log.end_run(arguments.runs, arguments.run, clips)
    except OSError as error:
        raise UserError(stopped or f"{arguments.output.parent} cannot be written: {error}") from error
    if stopped:
        # A failed job is one that Snakemake runs again; of the first clips only, a study would look like a whole one.
        left = sum(row["cause"] == "not_tried" for row in tables)
        raise UserError(f"{stopped}: {left} of {len(tables)} clips were not tried")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, help="which data set fetches, a module of modalens.datasets")
    parser.add_argument("--shard", type=Path, required=True, help="CSV: clip_id, source, start_s, end_s")
    parser.add_argument("--media", type=Path, required=True, help="folder for fetched files and what is known of them")
    parser.add_argument("--shared", action="store_true", help="other studies use the media folder, too")
    parser.add_argument(
        "--download", type=_options, default=DownloadOptions(), help="JSON: keys of config section download"
    )
    parser.add_argument("--offline", action="store_true", help="ask no address, take what is there")
    parser.add_argument("--runs", type=Path, required=True, help="JSON: number of this run and what it left")
    parser.add_argument("--run", type=int, default=0, help="number of this run")
    parser.add_argument("--output", type=Path, required=True, help="CSV, one row a clip")
    parser.add_argument("--metadata", type=Path, required=True, help="JSON lines: title, description, tags, categories")
    add_workers(parser)


def _options(text: str) -> DownloadOptions:
    try:
        return DownloadOptions(**cli.mapping(text))
    except TypeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
