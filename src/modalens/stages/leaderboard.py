"""Stage `leaderboard`: models of one task compared on the same test clips and seeds."""

import argparse
from pathlib import Path

from modalens.stats.leaderboard import leaderboard
from modalens.stats.metrics import RANK
from modalens.tracking import records
from modalens.utils import cli, files, parquet
from modalens.utils.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="evaluate/<task>/<model>.parquet")
    parser.add_argument("--reference", required=True, help="the model that the others are compared with")
    parser.add_argument("--bootstrap", type=int, default=2000, help="resamples behind each interval")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--output", type=Path, required=True)
    cli.add_common(parser, "key", "record")


def main(arguments: argparse.Namespace) -> None:
    tasks = {path.parent.name for path in arguments.predictions}
    if len(tasks) != 1:
        raise UserError(f"expected predictions of one task, got those of {', '.join(sorted(tasks))}")
    wanted = ["clip_id", "group", "seed", "label", "predicted", "log_probability", "target", RANK]
    full = [("replacement", "==", "")]
    # The order given, which is the config's, decides between equals.
    predictions = {
        path.stem: parquet.read(path, [name for name in wanted if name in parquet.columns(path)], full)
        for path in arguments.predictions
    }
    settings = {"replicates": arguments.bootstrap, "confidence": arguments.confidence}
    table = leaderboard(predictions, arguments.reference, **settings)
    table.insert(0, "task", tasks.pop())
    table.insert(len(table.columns) - 1, "reference", arguments.reference)
    files.write_text(arguments.output, table.to_csv(index=False))
    runs = []
    for row in table.to_dict("records"):
        metrics = {str(name): float(value) for name, value in row.items() if isinstance(value, int | float)}
        params = {"reference": arguments.reference, "verdict": row["verdict"], **settings}
        key = arguments.key | {"model": row["model"]}
        runs.append(records.Run(key, params, metrics, artifacts=[str(arguments.output)]))
    records.write(arguments.record, "leaderboard", runs, table=arguments.output)
