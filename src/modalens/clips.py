"""Fetch the media file of every clip of a shard and look at what is in it. A clip that fails is a row, not an end."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modalens import cli, registry
from modalens.media import probe, window
from modalens.progress import progress
from modalens.shards import add_workers, media_name, read_table, rows_of, seconds, status, write_record, write_status
from modalens.workers import ClipError, map_clips, one_line

COLUMNS = ("path", "start_s", "end_s", "duration_s", "video", "audio", "bytes")


def fetch_and_probe(
    fetch: Callable[[str, Path], Path], source: str, destination: Path, start_s: float | None, end_s: float | None
) -> dict[str, Any]:
    """{path, duration_s, video, audio, bytes} of a fetched file. Raises ClipError with the true cause."""
    try:
        path = Path(fetch(source, destination))
    except (ClipError, MemoryError):
        raise
    except Exception as error:
        raise ClipError("missing", f"{type(error).__name__}: {one_line(error)}") from error
    found = probe(path)
    window(start_s, end_s, 0.0, found["duration_s"])
    found["duration_s"] = round(found["duration_s"], 3)
    return {"path": str(path), **found, "bytes": path.stat().st_size}


def main(arguments: argparse.Namespace) -> None:
    fetch = registry.load("datasets", arguments.dataset).fetch
    shard = read_table(arguments.shard, ["clip_id", "source", "start_s", "end_s"]).set_index("clip_id", drop=False)
    if not shard.index.is_unique:
        raise cli.UserError(f"{arguments.shard} names a clip twice: {shard.index[shard.index.duplicated()][0]!r}")
    arguments.media.mkdir(parents=True, exist_ok=True)
    tasks = (
        (row["clip_id"], (fetch, row["source"], arguments.media / media_name(row["clip_id"]),
                          seconds(row["start_s"]), seconds(row["end_s"])))
        for row in rows_of(shard)
    )  # fmt: skip
    rows = []
    answers = map_clips(fetch_and_probe, tasks, arguments.workers, arguments.timeout, arguments.memory_mb)
    for clip_id, outcome in progress(answers, "clips", "clips", len(shard)):
        given = {name: shard.at[clip_id, name] for name in ("start_s", "end_s")}
        rows.append({**status(clip_id, outcome), **given, **(outcome.value or {})})
    write_status(arguments.output, rows, COLUMNS)
    write_record(arguments, "clips", arguments.output, rows)


def parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("--dataset", required=True, help="which data set fetches, a module of modalens.datasets")
    parser.add_argument("--shard", type=Path, required=True, help="CSV: clip_id, source, start_s, end_s")
    parser.add_argument("--media", type=Path, required=True, help="folder for fetched files")
    parser.add_argument("--output", type=Path, required=True, help="CSV, one row a clip")
    add_workers(parser)
    return parser


if __name__ == "__main__":
    cli.run(main, parser())
