"""Stage `manifest`: annotations -> manifest.csv, one small CSV a shard and one a task, before the graph is built."""

import argparse
from pathlib import Path

from modalens.curation.manifest import build, log, texts, write
from modalens.datasets import Reads
from modalens.tracking import records
from modalens.utils import cli
from modalens.utils.errors import UserError
from modalens.utils.secrets import redacted
from modalens.utils.words import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", type=cli.mapping, required=True, help='{"name": "folder", "csv": ...}')
    parser.add_argument("--tasks", nargs="+", required=True, help="label columns")
    parser.add_argument("--targets", type=cli.mapping, default={}, help="{task: regression or multilabel}, JSON")
    parser.add_argument("--columns", nargs="*", default=[], help="columns that modalities read")
    parser.add_argument("--file-columns", nargs="*", default=[], help="those of them whose cells name files")
    parser.add_argument("--media", choices=["required", "optional", "none"], default="required", help="of a clip")
    parser.add_argument("--shards", type=int, default=4, help="parts that are worked on apart")
    parser.add_argument("--clip-ids", type=Path, help="CSV of the clip ids that the study is limited to")
    parser.add_argument("--output", type=Path, required=True, help="folder")
    parser.add_argument("--record", type=Path, help="JSON for MLflow")


def main(arguments: argparse.Namespace) -> None:
    if arguments.shards < 1:
        raise UserError(f"shards is 1 or more, not {arguments.shards}")
    sizes: dict[str, int] = {}
    dataset = build(arguments.dataset, [*arguments.tasks, *arguments.columns])
    dataset.reads = Reads(arguments.columns, arguments.file_columns, arguments.media)
    touched = write(arguments.output, texts(dataset, arguments, sizes))
    count, shards = sizes["manifest.csv"], sum(name.startswith("shards/") for name in sizes)
    changed = f"{counted(len(touched), 'file')} changed" if touched else "unchanged"
    log.info("%s in %s, %s", counted(count, "clip"), counted(shards, "shard"), changed)
    if arguments.record:
        labels = {f"clips_{task}": float(sizes[f"labels/{task}.csv"]) for task in arguments.tasks}
        run = records.Run(
            key={"dataset": arguments.dataset["name"]},
            params=redacted(arguments.dataset)
            | {"tasks": arguments.tasks, "shards": arguments.shards, "clip_ids": str(arguments.clip_ids or "")},
            metrics={"clips": float(count), **labels},
            artifacts=[str(arguments.output / "manifest.csv")],
        )
        # An earlier reading may have been stopped between its last table and this.
        known = records.read(arguments.record) if arguments.record.exists() else None
        if touched or known != ("manifest", [run]):
            records.write(arguments.record, "manifest", [run])
