"""Annotations -> manifest.csv, one small CSV a shard, one a task. It runs before the graph is built.

Only files that changed are written, so that a new clip touches the shard it falls into and no other.
"""

import argparse
import csv
import filecmp
import hashlib
import inspect
import json
import logging
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.config import modalities
from modalens.curation import label_spelling, targets
from modalens.datasets import Reads
from modalens.plugins import blame, options, registry
from modalens.stats.targets import CLASSES
from modalens.utils import csv_chunks, csv_input
from modalens.utils.errors import UserError
from modalens.utils.words import counted, half_letter

log = logging.getLogger("modalens")

CLIP = ["clip_id", "source", "start_s", "end_s"]
COLUMNS = [*CLIP, "group", "split", "text"]
MOST_TRIED = 4  # classes of a list that somebody tries out
# What a list of ids may be headed by where it has no column clip_id.
HEADINGS = ("id", "ids", "clip", "clips", "name", "video_id", "youtube_id", "ytid")


def shard_of(clip_id: str, shards: int) -> str:
    """Stable on every machine and in every Python, unlike hash()."""
    return str(int.from_bytes(hashlib.sha256(clip_id.encode()).digest(), "big") % shards)


def build(dataset: dict[str, Any], tasks: list[str]) -> Any:
    """The data set's plugin from {"name": ..., **options}."""
    if "name" not in dataset:
        raise UserError(f"the data set has no name; known: {', '.join(registry.names('datasets'))}")
    name = str(dataset["name"])
    maker = registry.load("datasets", name)
    given = {option: value for option, value in dataset.items() if option != "name"}
    resolved = options.resolve(maker, given, f"dataset {name}")
    for option, value in resolved.items():
        if value is inspect.Parameter.empty:
            raise UserError(f"dataset {name} wants the option {option!r}")
    return maker(tasks, **resolved)


def of_study(study: dict[str, Any], tasks: list[str]) -> pd.DataFrame:
    """The manifest of a resolved config as the stage makes it, with what its modalities read."""
    columns = modalities.columns(study)
    media: Any = modalities.media(study)
    dataset = build(study["dataset"], [*tasks, *columns])
    dataset.reads = Reads(columns, modalities.file_columns(study), media)
    table: pd.DataFrame = dataset.manifest()
    if study.get("clip_ids"):
        table = restrict_to(table, Path(study["clip_ids"]))
    return targets.read(table, study["targets"])


def tables(
    manifest: pd.DataFrame,
    tasks: list[str],
    shards: int,
    columns: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Manifest (one row a clip, text) -> (path inside the output folder, table), one by one, in order of clip id.

    kinds: task -> what its labels are, of those that are no classes.
    """
    manifest = targets.read(manifest, kinds or {})
    check(manifest, tasks, kinds)
    more = [name for name in columns if name not in (*COLUMNS, *tasks)]
    splits = [f"split:{task}" for task in tasks if f"split:{task}" in manifest]
    manifest = (
        manifest[[*COLUMNS, *tasks, *more, *splits]].sort_values("clip_id", ignore_index=True).astype("str").fillna("")
    )
    yield "manifest.csv", manifest
    shard = pd.concat(
        [
            pd.Series([shard_of(clip_id, shards) for clip_id in part.tolist()], part.index, "str")
            for part in csv_chunks.parts(manifest["clip_id"])
        ]
    )
    for task in tasks:
        labelled = manifest[task] != ""
        cells = {
            "clip_id": manifest["clip_id"],
            "shard": shard,
            "group": manifest["group"],
            # Official splits may differ from task to task.
            "split": manifest.get(f"split:{task}", manifest["split"]),
            "label": manifest[task],
        }
        yield f"labels/{task}.csv", pd.DataFrame({name: column[labelled] for name, column in cells.items()})
    if columns:
        # Apart from the shards of clips: a text that was mended asks for no media again.
        for name, part in manifest[list(dict.fromkeys(["clip_id", *columns]))].groupby(shard):
            yield f"columns/{name}.csv", part
    # Last, since by now the other columns need no memory any more.
    manifest = manifest[CLIP]
    for name, clips in manifest.groupby(shard):
        yield f"shards/{name}.csv", clips


def check(manifest: pd.DataFrame, tasks: list[str], kinds: Mapping[str, str] | None = None) -> None:
    """Raises UserError for what no later stage could repair. kinds: as in `tables`."""
    for task in tasks:
        # Tasks name files and folders.
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", task) or task in COLUMNS or tasks.count(task) > 1:
            raise UserError(f"task {task!r}: expected a name of its own, of letters, digits, _, . and -")
    if manifest.empty:
        raise UserError("the data set has no clip")
    if not manifest["clip_id"].is_unique:
        again = manifest.loc[manifest["clip_id"].duplicated(), "clip_id"]
        occur = counted(len(again), "clip id occurs", "clip ids occur")
        raise UserError(f"{occur} again, first {again.iloc[0]!r}")
    # Ids come from the web: `-abc` and `../x` are fine, since shards.media_name makes a file's name of any id. What no
    # table can show on one line is not.
    odd = manifest.loc[~manifest["clip_id"].str.fullmatch(r"[^\x00-\x1f\x7f]+"), "clip_id"]
    if len(odd):
        raise UserError(f"clip id {odd.iloc[0]!r} is empty or holds control characters")
    for task in tasks:
        if (kind := (kinds or {}).get(task, CLASSES)) != CLASSES:
            labels = manifest.loc[manifest[task] != "", task]
            if why := targets.mistake(labels, kind):
                raise UserError(
                    f"task {task!r} has {why}" if why.startswith(("no ", "one ")) else f"task {task!r}: {why}"
                )
            continue
        classes = sorted(set(manifest[task].unique()) - {""})
        if len(classes) < 2:
            raise UserError(f"task {task!r} has {f'one class only, {classes[0]!r}' if classes else 'no label'}")
        _check_splits(manifest[manifest[task] != ""], task)
        labelled = manifest.loc[manifest[task] != "", task]
        for remark in label_spelling.remarks({str(name): int(n) for name, n in labelled.value_counts().items()}):
            log.warning("task %r: %s", task, remark)


def _check_splits(labelled: pd.DataFrame, task: str) -> None:
    """Raises UserError for a column of names, not classes: most of them could not be in both train and test. Of a few
    rare classes the stage splits says so, since what decodes is known there."""
    groups = labelled.groupby(task)["group"].nunique()
    lone = groups[groups < 2]
    if 2 * len(lone) > len(groups) > MOST_TRIED:
        raise UserError(
            f"task {task!r}: {len(lone)} of {len(groups)} classes have clips of one group only, first "
            f"{lone.index[0]!r}: train and test need one of each class; empty their label, or leave the task out"
        )


def restrict_to(manifest: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The clips that a list names: its column clip_id, else its first column, with a heading or without."""
    try:
        text = csv_input.decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(
            f"clip_ids: {path} cannot be read ({error.strerror}); the path counts from {Path.cwd()}"
        ) from error
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)
    ]
    known = manifest["clip_id"]
    column = rows[0].index("clip_id") if rows and "clip_id" in rows[0] else 0
    first = rows[0][column] if rows else ""
    heading = first.lower() in ("clip_id", *HEADINGS) and not (known == first).any()
    wanted = dict.fromkeys(row[column] for row in rows[heading:] if len(row) > column and row[column])
    listed = pd.Series(list(wanted), dtype="str")
    unknown = listed[~listed.isin(known)].tolist()
    kept = manifest[manifest["clip_id"].isin(wanted)]
    if kept.empty:
        raise UserError(f"clip_ids: {path} names no clip of the data set, first {next(iter(wanted), '')!r}")
    missing = f"; it has not {len(unknown)} of the {len(wanted)} listed: {_some(unknown)}" if unknown else ""
    log.info("clip_ids: %d of the data set's %d clips, by %s%s", len(kept), len(manifest), path, missing)
    return kept


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def write(folder: Path, texts: Iterator[tuple[str, Iterable[str]]]) -> list[str]:
    """Write what changed, text after text, and delete tables of ours that are no more. Returns the names touched.

    Labels of a task that left stay, as its results do: when it comes back, nothing of it is made anew.
    """
    touched, known = [], set()
    texts = chain([next(texts)], texts)  # a list that is refused makes no folder
    folder.mkdir(parents=True, exist_ok=True)
    # A folder of this process's own: names for thousands of drafts beside the tables cost a listing each.
    with tempfile.TemporaryDirectory(prefix=".draft", dir=folder) as drafts:
        for name, text in texts:
            known.add(name)
            draft, path = Path(drafts) / "text", folder / name
            with draft.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(text)
            if not (path.exists() and filecmp.cmp(draft, path, shallow=False)):
                path.parent.mkdir(exist_ok=True)
                draft.replace(path)
                touched.append(name)
    for path in [
        *folder.glob("shards/*.csv"),
        *folder.glob("columns/*.csv"),
        *folder.glob("answers.json"),
        *folder.glob("expected.csv"),
    ]:
        name = path.relative_to(folder).as_posix()
        if name not in known:
            path.unlink()
            touched.append(name)
    return touched


def texts(dataset: Any, arguments: argparse.Namespace, sizes: dict[str, int]) -> Iterator[tuple[str, Iterable[str]]]:
    """(path inside the output folder, text in parts) of all that this stage writes. Fills sizes: rows of each table."""
    # No name for the clips here: they are freed as soon as they have been put in order.
    for name, table in tables(
        _clips(dataset, arguments), arguments.tasks, arguments.shards, arguments.columns, arguments.targets
    ):
        sizes[name] = len(table)
        yield name, csv_chunks.lines(table)
    # What a frozen data set knows of its clips: they are compared with it after they were fetched.
    if hasattr(dataset, "expected"):
        yield "expected.csv", csv_chunks.lines(dataset.expected())
    if answers := dataset.answers():
        yield "answers.json", [json.dumps(answers, indent=1)]
    # wiring.py looks at these before it runs this stage again.
    inputs = [*dataset.inputs(), *([arguments.clip_ids] if arguments.clip_ids else [])]
    yield "inputs.json", [json.dumps([str(path) for path in inputs])]


def _clips(dataset: Any, arguments: argparse.Namespace) -> pd.DataFrame:
    clips = dataset.manifest()
    wanted = [*COLUMNS, *arguments.tasks, *arguments.columns]
    lacks = ", ".join(name for name in wanted if not (isinstance(clips, pd.DataFrame) and name in clips))
    if lacks:
        got = f"one without {lacks}" if isinstance(clips, pd.DataFrame) else type(clips).__name__
        plugin = blame.where("datasets", str(arguments.dataset["name"]))
        raise UserError(f"{plugin}: expected a table with the columns {', '.join(wanted)}, got {got}")
    for name in wanted:
        if len(clips) and not pd.api.types.is_string_dtype(clips[name]):
            plugin = blame.where("datasets", str(arguments.dataset["name"]))
            raise UserError(f"{plugin}: expected text in every cell of {name!r}, got {clips[name].dtype}")
        if odd := next(filter(half_letter, clips[name] if clips[name].dtype != "str" else ()), ""):
            plugin = blame.where("datasets", str(arguments.dataset["name"]))
            raise UserError(f"{plugin}: expected text that UTF-8 can hold in every cell of {name!r}, got {odd!r}")
    return restrict_to(clips, arguments.clip_ids) if arguments.clip_ids else clips
