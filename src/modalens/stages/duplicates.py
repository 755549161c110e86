"""Stage `duplicates`: identical and near-identical clips across splits -> a table of pairs; stops on leakage."""

import argparse
from pathlib import Path

import pandas as pd

from modalens.curation.duplicates import Decoded, found_pairs, log, refuse_leaks
from modalens.curation.splitting import NAMES
from modalens.modalities import load_modality
from modalens.tracking import records
from modalens.utils import cli, files
from modalens.utils.csv_tables import read_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="the study's results folder")
    parser.add_argument("--tasks", nargs="+", required=True, help="whose splits are looked at")
    parser.add_argument("--forms", type=cli.mapping, required=True, help="{form: {modality, decode}} decoded, JSON")
    parser.add_argument("--near", choices=["report", "stop", "ignore"], default="report", help="near-identical clips")
    parser.add_argument(
        "--threshold", type=float, help="similarity from which they count, instead of each modality's own"
    )
    parser.add_argument("--allow-overlap", action="store_true", help="go on when two splits hold the same content")
    parser.add_argument("--output", type=Path, required=True, help="folder: one table of pairs a task")
    cli.add_common(parser, "record")


def main(arguments: argparse.Namespace) -> None:
    lists = {}
    for task in arguments.tasks:
        parts = [read_table(arguments.study / "splits" / task / f"{name}.csv").assign(split=name) for name in NAMES]
        lists[task] = pd.concat(parts, ignore_index=True)
    decoded = [
        Decoded(form, load_modality(one["modality"], one["decode"])) for form, one in sorted(arguments.forms.items())
    ]
    result = found_pairs(lists, arguments.study, decoded, arguments.near, arguments.threshold)
    runs = []
    for task, pairs in result.items():
        path = arguments.output / f"{task}.csv"
        files.write_text(path, pairs.to_csv(index=False, lineterminator="\n"))
        counts = {kind: int((pairs["kind"] == kind).sum()) for kind in ("identical", "near-identical")}
        log.info("%s: across splits %d pairs identical, %d near-identical", task, *counts.values())
        metrics = {f"pairs_{kind.replace('-', '_')}": float(number) for kind, number in counts.items()}
        params = {"near_duplicates": arguments.near, "near_threshold": arguments.threshold}
        runs.append(records.Run(key={"task": task}, params=params, metrics=metrics, artifacts=[str(path)]))
    refuse_leaks(result, arguments.output, arguments.near, arguments.allow_overlap)
    records.write(arguments.record, "duplicates", runs)
