"""Annotations -> manifest.csv, one small CSV a shard, one a task. It runs before the graph is built.

Only files that changed are written, so that a new clip touches the shard it falls into and no other.
"""

import argparse
import csv
import hashlib
import inspect
import json
import logging
import re
from pathlib import Path
from typing import Any

import pandas as pd

from modalens import cli, options, records, registry
from modalens.cli import UserError
from modalens.datasets import _table

log = logging.getLogger("modalens")

CLIP = ["clip_id", "source", "start_s", "end_s"]
COLUMNS = [*CLIP, "group", "split", "text"]
# What a list of ids may be headed by where it has no column clip_id.
HEADINGS = ("id", "ids", "clip", "clips", "name", "video_id", "youtube_id", "ytid")


def shard_of(clip_id: str, shards: int) -> str:
    """Stable on every machine and in every Python, unlike hash()."""
    return str(int(hashlib.sha256(clip_id.encode()).hexdigest(), 16) % shards)


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


def tables(manifest: pd.DataFrame, tasks: list[str], shards: int) -> dict[str, pd.DataFrame]:
    """Manifest (one row a clip, text) -> {path inside the output folder: table}, rows in order of clip id."""
    check(manifest, tasks)
    splits = [f"split:{task}" for task in tasks if f"split:{task}" in manifest]
    manifest = manifest[[*COLUMNS, *tasks, *splits]].sort_values("clip_id", ignore_index=True)
    shard = manifest["clip_id"].map(lambda clip_id: shard_of(clip_id, shards))
    found = {"manifest.csv": manifest}
    for name, clips in manifest.groupby(shard):
        found[f"shards/{name}.csv"] = clips[CLIP]
    for task in tasks:
        labelled = manifest[manifest[task] != ""]
        found[f"labels/{task}.csv"] = pd.DataFrame(
            {
                "clip_id": labelled["clip_id"],
                "shard": shard[labelled.index],
                "group": labelled["group"],
                # Official splits may differ from task to task.
                "split": labelled.get(f"split:{task}", labelled["split"]),
                "label": labelled[task],
            }
        )
    return found


def check(manifest: pd.DataFrame, tasks: list[str]) -> None:
    """Raises UserError for what no later stage could repair."""
    for task in tasks:
        # Tasks name files and folders.
        if not re.fullmatch(r"[A-Za-z0-9_-]+", task) or task in COLUMNS or tasks.count(task) > 1:
            raise UserError(f"task {task!r}: a name of its own is wanted, of letters, digits, _ and -")
    if manifest.empty:
        raise UserError("the data set has no clip")
    again = manifest.loc[manifest["clip_id"].duplicated(), "clip_id"]
    if len(again):
        raise UserError(f"{len(again)} clip ids occur again, first {again.iloc[0]!r}")
    # Ids come from the web: `-abc` and `../x` are fine, since shards.media_name makes a file's name of any id. What no
    # table can show on one line is not.
    odd = manifest.loc[~manifest["clip_id"].str.fullmatch(r"[^\x00-\x1f\x7f]+"), "clip_id"]
    if len(odd):
        raise UserError(f"clip id {odd.iloc[0]!r} is empty or holds control characters")
    for task in tasks:
        classes = sorted(set(manifest[task]) - {""})
        if len(classes) < 2:
            raise UserError(f"task {task!r} has {f'one class only, {classes[0]!r}' if classes else 'no label'}")


def limited(manifest: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The clips that a list names: its column clip_id, else its first column, with a heading or without."""
    try:
        text = _table.decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"only: {path} cannot be read ({error.strerror}); the path counts from {Path.cwd()}") from error
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)
    ]
    known = set(manifest["clip_id"])
    column = rows[0].index("clip_id") if rows and "clip_id" in rows[0] else 0
    heading = rows and rows[0][column] not in known and rows[0][column].lower() in ("clip_id", *HEADINGS)
    wanted = dict.fromkeys(row[column] for row in rows[bool(heading) :] if len(row) > column and row[column])
    unknown = [clip_id for clip_id in wanted if clip_id not in known]
    kept = manifest[manifest["clip_id"].isin(wanted)]
    if kept.empty:
        raise UserError(f"only: {path} names no clip of the data set, first {next(iter(wanted), '')!r}")
    missing = f"; it has not {len(unknown)} of the {len(wanted)} listed: {_some(unknown)}" if unknown else ""
    log.info("only: %d of the data set's %d clips, by %s%s", len(kept), len(manifest), path, missing)
    return kept


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def write(folder: Path, texts: dict[str, str]) -> list[str]:
    """Write what changed, delete tables of ours that are no more. Returns the names touched."""
    touched = [name for name, text in texts.items() if cli.write_if_changed(folder / name, text)]
    for path in [
        *folder.glob("shards/*.csv"),
        *folder.glob("labels/*.csv"),
        *folder.glob("answers.json"),
        *folder.glob("expected.csv"),
    ]:
        name = path.relative_to(folder).as_posix()
        if name not in texts:
            path.unlink()
            touched.append(name)
    return touched


def main(arguments: argparse.Namespace) -> None:
    if arguments.shards < 1:
        raise UserError(f"shards is 1 or more, not {arguments.shards}")
    dataset = build(arguments.dataset, arguments.tasks)
    clips = dataset.manifest()
    if arguments.only:
        clips = limited(clips, arguments.only)
    found = tables(clips, arguments.tasks, arguments.shards)
    # What a frozen data set knows of its clips: they are compared with it after they were fetched.
    if hasattr(dataset, "expected"):
        found["expected.csv"] = dataset.expected()
    texts = {name: table.to_csv(index=False, lineterminator="\n") for name, table in found.items()}
    if answers := dataset.answers():
        texts["answers.json"] = json.dumps(answers, indent=1)
    # wiring.py looks at these before it runs this stage again.
    texts["inputs.json"] = json.dumps(
        [str(path) for path in [*dataset.inputs(), *([arguments.only] if arguments.only else [])]]
    )
    touched = write(arguments.output, texts)
    count, shards = len(found["manifest.csv"]), sum(name.startswith("shards/") for name in texts)
    log.info("%d clips in %d shards, %s", count, shards, f"{len(touched)} files changed" if touched else "unchanged")
    if arguments.record and (touched or not arguments.record.exists()):
        labels = {f"clips_{task}": float(len(found[f"labels/{task}.csv"])) for task in arguments.tasks}
        run = records.Run(
            key={"dataset": arguments.dataset["name"]},
            params=arguments.dataset
            | {"tasks": arguments.tasks, "shards": arguments.shards, "only": str(arguments.only or "")},
            metrics={"clips": float(count), **labels},
            artifacts=[str(arguments.output / "manifest.csv")],
        )
        records.write(arguments.record, "manifest", [run])


def parser() -> argparse.ArgumentParser:
    wanted = cli.parser(__doc__)
    wanted.add_argument("--dataset", type=cli.mapping, required=True, help='{"name": "folder", "csv": ...}')
    wanted.add_argument("--tasks", nargs="+", required=True, help="label columns")
    wanted.add_argument("--shards", type=int, default=4, help="parts that are worked on apart")
    wanted.add_argument("--only", type=Path, help="CSV of the clip ids that the study is limited to")
    wanted.add_argument("--output", type=Path, required=True, help="folder")
    wanted.add_argument("--record", type=Path, help="JSON for MLflow")
    return wanted


if __name__ == "__main__":
    cli.run(main, parser())
