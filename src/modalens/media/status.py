"""The tables of a shard of clips."""

import argparse
import hashlib
import re
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.media.failure_causes import BY_NAME, one_line
from modalens.media.worker_pool import Outcome
from modalens.tracking import records
from modalens.utils.cli import add_common
from modalens.utils.errors import UserError
from modalens.utils.files import write_text

STATUS = ("clip_id", "status", "cause", "detail")
READABLE = 40
# Of a run, not of the study; and a proxy's address may hold a password.
NO_PARAMS = ("record", "output", "status", "metadata", "runs", "run", "offline", "download", "made", "consumers")


def write_status(path: str | Path, rows: list[dict[str, Any]], more: tuple[str, ...]) -> None:
    """One row a clip, sorted by clip id: STATUS, then the columns of this stage."""
    # dtype: a whole number beside an empty cell stays whole.
    table = pd.DataFrame(rows, columns=[*STATUS, *more], dtype=object).sort_values("clip_id", kind="stable")
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def status(clip_id: str, outcome: Outcome) -> dict[str, Any]:
    state = "failed" if outcome.cause else "ok"
    return {"clip_id": clip_id, "status": state, "cause": outcome.cause, "detail": outcome.detail}


def noted(notes: list[tuple[str, str]]) -> str:
    """The detail of a row: what `causes` reads. notes: (cause, detail)."""
    if len(notes) == 1:
        return one_line(notes[0][1])
    return one_line("; ".join(f"{cause}: {detail}".removesuffix(": ") for cause, detail in notes))


def causes(state: str, cause: str, detail: str) -> list[str]:
    """Of a row: a clip that fails has one, a clip that is used each that was noted of it."""
    further = [name for name in BY_NAME if re.search(rf"(^|; ){name}(: |; |$)", detail)] if state == "ok" else []
    return further if cause in further else [cause] if cause else []


def write_record(
    arguments: argparse.Namespace, stage: str, output: Path, rows: list[dict[str, Any]], **more: float
) -> None:
    """Counts of a shard for MLflow: clips, ok, failed_<cause>, and flagged_<cause> of clips that are used with one."""
    metrics = {"clips": float(len(rows)), "ok": float(sum(row["status"] == "ok" for row in rows)), **more}
    for row in sorted(rows, key=lambda row: row["cause"]):
        for cause in causes(row["status"], row["cause"], row["detail"]):
            name = f"{'flagged' if row['status'] == 'ok' else 'failed'}_{cause}"
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
    add_common(parser, "record")
