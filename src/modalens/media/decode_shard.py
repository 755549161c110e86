"""One pass of a decoder over a shard: what `frames` and `waveforms` share."""

import argparse
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modalens.media.status import STATUS, add_workers, seconds, status, write_record, write_status
from modalens.media.worker_pool import Outcome, Task, map_clips
from modalens.utils import files, hdf5, row_cache
from modalens.utils.cli import pair
from modalens.utils.csv_tables import earlier_table, read_table, rows_of
from modalens.utils.progress import progress

MACHINE = ("timeout", "crashed", "memory")  # causes that may lie with the machine: tried again whenever the shard is

log = logging.getLogger("modalens")

Rows = list[dict[str, Any]]
Attempts = list[tuple[Callable[..., Any], tuple[Any, ...]]]


def decoding_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Options that `frames` and `waveforms` share."""
    parser.add_argument("--clips", type=Path, required=True, help="status table of stage clips")
    parser.add_argument("--output", type=Path, required=True, help="HDF5, one row a clip")
    parser.add_argument("--status", type=Path, required=True, help="CSV, one row a clip")
    parser.add_argument("--refuse", nargs="*", default=[], help="causes that only flag a clip, to count as failures")
    parser.add_argument("--made", default="", help="digest of the code: what other code decoded is not kept")
    parser.add_argument(
        "--consumers",
        type=pair,
        nargs="*",
        default=[],
        help="MADE=FILE of all that is made from the output, where that is temporary: what they hold is not decoded",
    )
    add_workers(parser)
    return parser


def decode_shard(
    arguments: argparse.Namespace,
    attributes: dict[str, Any],
    attempts: Attempts,
    flag: Callable[..., str],
    cells: tuple[str, ...] = (),
) -> None:
    """Decode every good clip of a shard: arrays to HDF5, a status row each, a record. What is there is kept.

    attempts: (function, options): function(path, start_s, end_s, *options) -> (array, decoder's name, *cells) runs in a
    worker. A later attempt gets the clips that killed their worker in the one before.
    flag(array, *cells): "" or a cause that is noted of a clip that stays usable, unless --refuse names it.
    cells: their columns in the status table.
    """
    columns = ("decoder", "seconds", "key", *cells)
    clips = read_table(arguments.clips, [*STATUS, "path", "start_s", "end_s"])
    failed = clips[clips["status"] != "ok"]
    rows: Rows = [{**row, "decoder": "", "seconds": 0.0} for row in rows_of(failed[list(STATUS)])]
    good = rows_of(clips[clips["status"] == "ok"])
    made = [
        attributes,
        arguments.made,
        sorted(arguments.refuse),
        *([way.__name__, *options] for way, options in attempts),
    ]
    keys = {row["clip_id"]: _key(made, row) for row in good}
    stage = str(attributes["kind"])
    with hdf5.write(arguments.output, attributes) as writer:
        rows += _keep(arguments, columns, keys, writer)
        settled = {row["clip_id"] for row in rows}
        windows = {
            row["clip_id"]: (row["path"], seconds(row["start_s"]), seconds(row["end_s"]))
            for row in good
            if row["clip_id"] not in settled
        }
        log.info("%s: %d clips are kept, %d to decode", stage, len(good) - len(windows), len(windows))
        for clip_id, outcome in _decoded(arguments, stage, attempts, windows):
            array, decoder, *values = outcome.value or (None, "")
            row = status(clip_id, outcome)
            if array is not None and (cause := flag(array, *values)):
                refused = cause in arguments.refuse
                row |= {"cause": cause, "status": "failed" if refused else "ok"}
            if array is not None and row["status"] == "ok":
                writer.append(clip_id, array, keys[clip_id])
            row |= dict(zip(cells, values, strict=False))
            rows.append({**row, "decoder": decoder, "seconds": round(outcome.seconds, 3), "key": keys[clip_id]})
    write_status(arguments.status, rows, columns)
    write_record(arguments, stage, arguments.output, rows, decoded=float(len(windows)))


def _key(made: list[Any], row: dict[str, str]) -> str:
    # A table written by hand may know no digest of the files: nothing is kept then.
    sha = row.get("sha256", "")
    return files.digest(made, sha, row["start_s"], row["end_s"]) if sha else ""


def _keep(arguments: argparse.Namespace, columns: tuple[str, ...], keys: dict[str, str], writer: hdf5.Writer) -> Rows:
    """Status rows of an earlier run that still hold; the arrays that go with them are kept."""
    here = row_cache.keys(arguments.output)
    consumers = {made: row_cache.keys(path) for made, path in arguments.consumers}
    rows, stay = [], {}
    for row in rows_of(earlier_table(arguments.status, [*STATUS, *columns])):
        clip_id = row["clip_id"]
        key = keys.get(clip_id, "")
        if not key or row["key"] != key or row["cause"] in MACHINE:
            continue
        if row["status"] == "ok":
            if here.get(clip_id) == key:
                stay[clip_id] = key
            elif row_cache.is_cached_downstream(clip_id, key, consumers):
                writer.leave(clip_id, key)
            else:
                continue
        rows.append(row)
    writer.take(arguments.output, stay)
    return rows


def _decoded(
    arguments: argparse.Namespace, stage: str, attempts: Attempts, windows: dict[str, tuple[Any, ...]]
) -> Iterator[tuple[str, Outcome]]:
    """windows: (path, start_s, end_s) by clip id. What kills its worker is tried the next way; the last way counts."""
    for number, (function, options) in enumerate(attempts):
        if number and not windows:
            break
        tasks: Iterator[Task] = ((clip_id, (*window, *options)) for clip_id, window in windows.items())
        again = {}
        answers = map_clips(function, tasks, arguments.workers, arguments.timeout, arguments.memory_mb)
        for clip_id, outcome in progress(answers, stage, "clips", len(windows)):
            if outcome.cause in MACHINE and number + 1 < len(attempts):
                again[clip_id] = windows[clip_id]
            else:
                yield clip_id, outcome
        windows = again
