"""One pass of a decoder over a shard, whatever form it decodes to."""

import argparse
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from modalens.media import local_file
from modalens.media.status import STATUS, noted, seconds, status, write_record, write_status
from modalens.media.windows import shortened
from modalens.media.worker_pool import Outcome, Task, map_clips
from modalens.utils import hdf5, row_cache
from modalens.utils.csv_tables import earlier_table, read_table, rows_of
from modalens.utils.files import digest
from modalens.utils.progress import progress
from modalens.utils.shelf import Shelf

MACHINE = ("timeout", "crashed", "memory")  # causes that may lie with the machine: tried again whenever the shard is

NO_MEDIA = {"status": "failed", "cause": "absent", "detail": "no file is named", "decoder": "", "seconds": 0.0}

log = logging.getLogger("modalens")

Rows = list[dict[str, Any]]
Attempts = list[tuple[Callable[..., Any], tuple[Any, ...]]]


class Form(Protocol):
    """What is decoded: modalities.Modality says what each of these is."""

    source: ClassVar[Literal["media", "column", "columns", "file", "store"]]
    cells: ClassVar[tuple[str, ...]]

    def attributes(self) -> dict[str, Any]: ...
    def attempts(self) -> Attempts: ...
    def flag(self, row: Any, *cells: Any) -> str: ...


def decode_shard(arguments: argparse.Namespace, form: Form) -> None:
    """Decode every good clip of a shard: arrays to HDF5, a status row each, a record. What is there is kept.

    arguments: clips, output, status, record: paths. cells: path of a table with `columns`, where the form is read from
    cells or the files that they name. store: the file where it is read by clip id. longest: seconds of a clip that are
    read at most, or None. reject: causes that only flag a clip, to count as failures. made: digest of the code.
    consumers: [(made, path)] of all that is made from the output. cache: folder of what studies share, or None.
    workers, timeout, memory_mb.
    """
    attributes, attempts, cells = form.attributes(), form.attempts(), form.cells
    columns = ("decoder", "seconds", "key", *cells)
    clips = read_table(arguments.clips, [*STATUS, "path", "start_s", "end_s"])
    # What is in no media file does not hang on one.
    failed = clips[(clips["status"] != "ok") & (form.source == "media")]
    rows: Rows = [{**row, "decoder": "", "seconds": 0.0} for row in rows_of(failed[list(STATUS)])]
    absent = (clips["status"] == "ok") & (clips["path"] == "") & (form.source == "media")
    rows += [{**row, **NO_MEDIA} for row in rows_of(clips.loc[absent, list(STATUS)])]
    good = rows_of(clips.drop(failed.index)[~absent.drop(failed.index)])
    store = local_file.content_digest(str(arguments.store)) if arguments.store else ""
    made = [
        attributes,
        *([store] if store else []),
        arguments.made,
        sorted(arguments.reject),
        *([way.__name__, *options] for way, options in attempts),
    ]
    sources, left_out = _sources(arguments, form, good)
    keys = {row["clip_id"]: _key(arguments, made, form, row, sources[row["clip_id"]]) for row in good}
    stage = arguments.output.parent.name
    with hdf5.write(arguments.output, attributes) as writer:
        rows += _keep(arguments, columns, keys, writer)
        settled = {row["clip_id"] for row in rows}
        to_read = {clip_id: source for clip_id, source in sources.items() if clip_id not in settled}
        log.info("%s: %d clips are kept, %d to decode", stage, len(good) - len(to_read), len(to_read))
        for clip_id, outcome in _decoded(arguments, stage, attempts, to_read):
            array, decoder, *values = outcome.value or (None, "")
            row = status(clip_id, outcome)
            if array is not None:
                notes = [
                    *outcome.notes,
                    (form.flag(array, *values), ""),
                    ("window_cut" if clip_id in left_out else "", left_out.get(clip_id, "")),
                ]
                row |= _flagged(notes, arguments.reject)
            if array is not None and row["status"] == "ok":
                try:
                    writer.append(clip_id, array, keys[clip_id])
                except ValueError as error:
                    row |= {"status": "failed", "cause": "damaged", "detail": str(error)}
            row |= dict(zip(cells, values, strict=False))
            rows.append({**row, "decoder": decoder, "seconds": round(outcome.seconds, 3), "key": keys[clip_id]})
    write_status(arguments.status, rows, columns)
    if to_read:
        # Rows that are thrown away once all is made from them are found by what was made.
        shared = [] if arguments.consumers else [arguments.output]
        Shelf(arguments.cache, arguments.made, arguments.output.stem).put(arguments.status, *shared)
    write_record(arguments, stage, arguments.output, rows, decoded=float(len(to_read)))


def _flagged(notes: list[tuple[str, str]], reject: list[str]) -> dict[str, str]:
    """Cells of a clip that was decoded. notes: (cause, detail) of what its reader and its modality found, "" for none.

    A clip has one cause: one to reject if there is any, else the first.
    """
    found = [(cause, detail) for cause, detail in notes if cause]
    if not found:
        return {}
    rejected = [cause for cause, _ in found if cause in reject]
    cause = rejected[0] if rejected else found[0][0]
    return {"cause": cause, "detail": noted(found), "status": "failed" if rejected else "ok"}


def _sources(
    arguments: argparse.Namespace, form: Form, good: Rows
) -> tuple[dict[str, tuple[Any, ...]], dict[str, str]]:
    """What a function of the form is called with, by clip id: see modalities.Modality.attempts; and what a window
    leaves out of a clip, in words."""
    if form.source == "media":
        return windows(good, arguments.longest)
    if form.source == "store":
        return {row["clip_id"]: (row["clip_id"],) for row in good}, {}
    table = read_table(arguments.cells, ["clip_id", *arguments.columns]).set_index("clip_id")[arguments.columns]
    cells = {str(clip_id): tuple(map(str, row)) for clip_id, *row in table.itertuples()}
    found = {row["clip_id"]: cells.get(row["clip_id"], ("",) * len(arguments.columns)) for row in good}
    return {clip_id: (row,) for clip_id, row in found.items()} if form.source == "columns" else found, {}


def windows(good: Rows, longest: float | None) -> tuple[dict[str, tuple[Any, ...]], dict[str, str]]:
    """Clips of a status table -> path, start and end in seconds by clip id; and what `longest` leaves out, in words."""
    sources, left_out = {}, {}
    for row in good:
        start_s, end_s = seconds(row["start_s"]), seconds(row["end_s"])
        end_s, said = shortened(start_s, end_s, seconds(row.get("duration_s", "")), longest)
        sources[row["clip_id"]] = (row["path"], start_s, end_s)
        if said:
            left_out[row["clip_id"]] = said
    return sources, left_out


def _key(
    arguments: argparse.Namespace, made: list[Any], form: Form, row: dict[str, str], source: tuple[Any, ...]
) -> str:
    """Digest of what a row is made from; "" where that is not known: nothing is kept then."""
    if form.source == "media":
        # A table written by hand may know no digest of the files.
        sha = row.get("sha256", "")
        *_, end_s = source
        end = row["end_s"] if end_s == seconds(row["end_s"]) else f"{end_s:.12g}"
        return digest(made, sha, row["start_s"], end) if sha else ""
    if form.source == "file":
        content = local_file.content_digest(source[0])
        return digest(made, content) if content else ""
    return digest(made, source[0]) if form.source != "store" or arguments.store else ""


def _keep(arguments: argparse.Namespace, columns: tuple[str, ...], keys: dict[str, str], writer: hdf5.Writer) -> Rows:
    """Status rows of an earlier run, or of another study, that still hold; the arrays that go with them are kept."""
    consumers = row_cache.downstream(arguments.consumers, keys, arguments.cache)
    rows: Rows = []
    shared = Shelf(arguments.cache, arguments.made, arguments.output.stem).names()
    for table, arrays in [(arguments.status, arguments.output), *_pairs(shared)]:
        here, stay = row_cache.keys(arrays), {}
        settled = {row["clip_id"] for row in rows}
        for row in rows_of(earlier_table(table, [*STATUS, *columns])):
            clip_id = row["clip_id"]
            key = keys.get(clip_id, "")
            if not key or row["key"] != key or row["cause"] in MACHINE or clip_id in settled:
                continue
            if row["status"] == "ok":
                if here.get(clip_id) == key:
                    stay[clip_id] = key
                elif row_cache.is_cached_downstream(clip_id, key, consumers):
                    writer.leave(clip_id, key)
                else:
                    continue
            rows.append(row)
        writer.take(arrays, stay)
        if len(rows) == len(keys):
            break
    return rows


def _pairs(names: list[Path]) -> list[tuple[Path, Path]]:
    return [(name.with_suffix(".csv"), name.with_suffix(".h5")) for name in names]


def _decoded(
    arguments: argparse.Namespace, stage: str, attempts: Attempts, windows: dict[str, tuple[Any, ...]]
) -> Iterator[tuple[str, Outcome]]:
    """windows: (path, start_s, end_s) by clip id. What kills its worker is tried the next way; the last way counts.

    The time of an outcome is that of all its ways.
    """
    spent: dict[str, float] = {}
    for number, (function, options) in enumerate(attempts):
        if number and not windows:
            break
        tasks: Iterator[Task] = ((clip_id, (*window, *options)) for clip_id, window in windows.items())
        again = {}
        answers = map_clips(function, tasks, arguments.workers, arguments.timeout, arguments.memory_mb)
        for clip_id, outcome in progress(answers, stage, "clips", len(windows)):
            spent[clip_id] = outcome.seconds = spent.get(clip_id, 0.0) + outcome.seconds
            if outcome.cause in MACHINE and number + 1 < len(attempts):
                again[clip_id] = windows[clip_id]
            else:
                yield clip_id, outcome
        windows = again
