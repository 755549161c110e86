"""The tables of a shard of clips, and one pass of a decoder over it."""

import argparse
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from modalens import records, store
from modalens.cli import UserError, write_text
from modalens.progress import progress
from modalens.rows import read_table, rows_of
from modalens.workers import Outcome, Task, map_clips

STATUS = ("clip_id", "status", "cause", "detail")
READABLE = 40
# Of a run, not of the study; and a proxy's address may hold a password.
NO_PARAMS = ("record", "output", "status", "metadata", "runs", "run", "offline", "download")


def write_status(path: str | Path, rows: list[dict[str, Any]], more: tuple[str, ...]) -> None:
    """One row a clip, sorted by clip id: STATUS, then the columns of this stage."""
    # dtype: a whole number beside an empty cell stays whole.
    table = pd.DataFrame(rows, columns=[*STATUS, *more], dtype=object).sort_values("clip_id", kind="stable")
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def status(clip_id: str, outcome: Outcome) -> dict[str, Any]:
    state = "failed" if outcome.cause else "ok"
    return {"clip_id": clip_id, "status": state, "cause": outcome.cause, "detail": outcome.detail}


def write_record(arguments: argparse.Namespace, stage: str, output: Path, rows: list[dict[str, Any]]) -> None:
    """Counts of a shard for MLflow: clips, ok, failed_<cause>, and flagged_<cause> of clips that are used with one."""
    metrics = {"clips": float(len(rows)), "ok": float(sum(row["status"] == "ok" for row in rows))}
    for row in sorted(rows, key=lambda row: row["cause"]):
        if row["cause"]:
            name = f"{'flagged' if row['status'] == 'ok' else 'failed'}_{row['cause']}"
            metrics[name] = metrics.get(name, 0.0) + 1
    params = {name: value for name, value in vars(arguments).items() if name not in NO_PARAMS}
    records.write(arguments.record, stage, [records.Run(key={"shard": output.stem}, params=params, metrics=metrics)])


def seconds(text: str) -> float | None:
    """A cell of start_s or end_s: empty is unknown."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise UserError(f"start_s and end_s are seconds, not {text!r}") from None


def media_name(clip_id: str) -> str:
    """A file name for any clip id: no folder, no leading dash, no length or case that a file system minds."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", clip_id).strip("-_")[:READABLE]
    # The digest keeps ids apart that look the same when made readable.
    digest = hashlib.sha256(clip_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{readable}-{digest}" if readable else digest


def add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for one clip")
    parser.add_argument("--memory-mb", type=int, default=4096, help="memory of one worker")
    parser.add_argument("--record", type=Path, required=True, help="what MLflow is to know")


def decoding_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Options that `frames` and `waveforms` share."""
    parser.add_argument("--clips", type=Path, required=True, help="status table of stage clips")
    parser.add_argument("--output", type=Path, required=True, help="HDF5, one row a clip")
    parser.add_argument("--status", type=Path, required=True, help="CSV, one row a clip")
    parser.add_argument("--refuse", nargs="*", default=[], help="causes that only flag a clip, to count as failures")
    add_workers(parser)
    return parser


def decode_shard(
    arguments: argparse.Namespace,
    attributes: dict[str, Any],
    attempts: list[tuple[Callable, tuple]],
    flag: Callable[..., str],
    columns: tuple[str, ...] = (),
) -> None:
    """Decode every good clip of a shard: arrays to HDF5, a status row each, a record.

    attempts: (function, options): function(path, start_s, end_s, *options) -> (array, decoder's name, *cells) runs in a
    worker. A later attempt gets the clips that killed their worker in the one before.
    flag(array, *cells): "" or a cause that is noted of a clip that stays usable, unless --refuse names it.
    columns: of the status table, one for each cell.
    """
    clips = read_table(arguments.clips, [*STATUS, "path", "start_s", "end_s"])
    failed = clips[clips["status"] != "ok"]
    rows = [{**row, "decoder": "", "seconds": 0.0} for row in rows_of(failed[list(STATUS)])]
    left = {
        row["clip_id"]: (row["path"], seconds(row["start_s"]), seconds(row["end_s"]))
        for row in rows_of(clips[clips["status"] == "ok"])
    }
    stage = str(attributes["kind"])
    with store.write(arguments.output, attributes) as writer:
        for number, (function, options) in enumerate(attempts):
            if number and not left:
                break
            tasks: Iterator[Task] = ((clip_id, (*window, *options)) for clip_id, window in left.items())
            again = {}
            answers = map_clips(function, tasks, arguments.workers, arguments.timeout, arguments.memory_mb)
            for clip_id, outcome in progress(answers, stage, "clips", len(left)):
                if outcome.cause in ("timeout", "crashed", "memory") and number + 1 < len(attempts):
                    again[clip_id] = left[clip_id]
                    continue
                array, decoder, *cells = outcome.value or (None, "")
                row = status(clip_id, outcome)
                if array is not None and (cause := flag(array, *cells)):
                    refused = cause in arguments.refuse
                    row |= {"cause": cause, "status": "failed" if refused else "ok"}
                if array is not None and row["status"] == "ok":
                    writer.append(clip_id, array)
                row |= dict(zip(columns, cells, strict=False))
                rows.append({**row, "decoder": decoder, "seconds": round(outcome.seconds, 3)})
            left = again
    write_status(arguments.status, rows, ("decoder", "seconds", *columns))
    write_record(arguments, stage, arguments.output, rows)
