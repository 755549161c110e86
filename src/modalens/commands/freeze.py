"""What a paper should publish of a study: frozen.csv, one row a clip, and the config that made it and that runs it.

The same study gives the same bytes. The data set `frozen` runs the list again and tells what has been lost since.
"""

import argparse
import json
import logging
import os
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from modalens.config import modalities, resolve
from modalens.curation import frozen_diff, splitting
from modalens.curation.manifest import shard_of
from modalens.datasets.frozen import on_disk
from modalens.media import local_file
from modalens.utils import files
from modalens.utils.csv_tables import read_table
from modalens.utils.secrets import redacted

log = logging.getLogger("modalens")

CLIP = ["clip_id", "source", "start_s", "end_s", "group", "text"]


def frozen(study: Path, settings: dict[str, Any]) -> pd.DataFrame:
    """CLIP, status, cause, sha256, words, `split:<task>`, label of each task, and the columns that modalities read; a
    row a clip, in order of clip id.

    Clips that could not be had are rows too, with the split that they had been given: somebody else may have them.
    """
    manifest = read_table(study / "manifest" / "manifest.csv")
    tasks = settings["tasks"]
    stages = ["clips", *modalities.forms(settings)]
    clips = manifest.assign(shard=[shard_of(clip_id, settings["shards"]) for clip_id in manifest["clip_id"]])
    failed = splitting.failures(study, [stage for stage in stages if (study / stage).is_dir()], clips)
    if settings["splits"]["incomplete"] == "keep":
        read_by = {name: modalities.form_of(settings, name) for name in settings["modalities"]}
        lacks = splitting.lacking(study, read_by, clips)
        failed["cause"] = failed["cause"].where((lacks.drop(columns="clip_id") != "").all(axis=1), "")
    table = manifest[CLIP].merge(failed[["clip_id", "cause"]], on="clip_id")
    table.insert(len(CLIP), "status", (table["cause"] == "").map({True: "ok", False: "failed"}))
    now = frozen_diff.present(study, sorted(set(clips["shard"])))
    table = table.merge(now, on="clip_id", how="left").fillna("")
    for task in tasks:
        assigned = read_table(study / "splits" / task / "clips.csv").set_index("clip_id")["split"]
        table[f"split:{task}"] = assigned.reindex(table["clip_id"]).fillna("").to_numpy()
    read = [name for name in modalities.columns(settings) if name not in (*table, *tasks)]
    for name in (*tasks, *read):
        table[name] = manifest[name]
    return table


def relative(paths: list[str]) -> tuple[str, list[str]]:
    """Files on disk -> (folder that holds all of them, their names in it): another machine has another folder."""
    if not paths:
        return "", []
    if any(os.path.isabs(path) for path in paths):
        paths = [os.path.abspath(path) for path in paths]
    folder = os.path.commonpath([os.path.dirname(path) for path in paths]) or "."
    return folder, [Path(os.path.relpath(path, folder)).as_posix() for path in paths]


def move_files(table: pd.DataFrame, columns: list[str]) -> str:
    """Folder that holds all files on disk that a table names; in place, what they are called in it."""
    cells = {"source": table["source"].map(lambda cell: [cell] if cell and on_disk(cell) else [])}
    cells |= {name: table[name].map(lambda cell: cell.split(local_file.SEPARATOR) if cell else []) for name in columns}
    paths = list(dict.fromkeys(path for lists in cells.values() for listed in lists for path in listed))
    media, names = relative(paths)
    known = dict(zip(paths, names, strict=True))
    for name, lists in cells.items():
        moved = [local_file.SEPARATOR.join(known[path] for path in listed) for listed in lists]
        table[name] = [there or cell for there, cell in zip(moved, table[name], strict=True)]
    return media


def runnable(settings: dict[str, Any], csv: Path, media: str) -> dict[str, Any]:
    """The config that runs the frozen list in place of the data set that it was taken from."""
    dataset = {"name": "frozen", "csv": csv.as_posix()} | ({"media": media} if media else {})
    name = f"{settings['name']}-frozen"
    changed = {"name": name, "dataset": dataset, "mlflow": settings["mlflow"] | {"experiment": name}}
    return {key: value for key, value in (settings | changed).items() if key != "clip_ids"}


def main(arguments: argparse.Namespace) -> None:
    settings = resolve.resolve(resolve.load(arguments.configfile))
    study = Path(settings["results"]) / settings["name"]
    table = frozen(study, settings)
    media = move_files(table, modalities.file_columns(settings))
    published = table["source"].map(redacted)
    if hidden := int((published != table["source"]).sum()):
        log.warning(
            "%d sources held a password or token; it is left out, so that they cannot be fetched as they are", hidden
        )
    table["source"] = published
    for name in {"text", *modalities.columns(settings)}:
        table[name] = table[name].map(redacted)
    settings = redacted(settings)
    folder: Path = arguments.output
    texts = {
        "frozen.csv": table.to_csv(index=False, lineterminator="\n"),
        "config.yaml": yaml.safe_dump(settings, sort_keys=False),
        "frozen.yaml": yaml.safe_dump(runnable(settings, folder / "frozen.csv", media), sort_keys=False),
    }
    answers = study / "manifest" / "answers.json"
    if answers.exists():
        texts["answers.json"] = json.dumps(json.loads(answers.read_text(encoding="utf-8")), indent=1)
    for name, text in texts.items():
        files.write_if_changed(folder / name, text)
    good = int((table["status"] == "ok").sum())
    log.info("%d clips, %d of them good, frozen in %s", len(table), good, folder / "frozen.csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--configfile", type=Path, default=Path("config/config.yaml"), help="of a study that has run")
    parser.add_argument("--output", type=Path, default=Path("frozen"), help="folder")
