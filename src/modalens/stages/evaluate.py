"""Stage `evaluate`: every test clip under every condition, once per seed. It and `relevance` alone read test
labels."""

import argparse
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from modalens.evaluation import trained as ours
from modalens.evaluation.ablation import KINDS
from modalens.evaluation.predict import predict, scores
from modalens.models import load_model
from modalens.stats.predictions import PRIOR_LOG_PROBABILITY, PRIOR_PREDICTED
from modalens.tracking import records
from modalens.utils import cli, device, parquet
from modalens.utils.cli import pair
from modalens.utils.csv_tables import read_table
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, required=True, help="folder of {seed}/model.pt")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--test", type=Path, required=True, help="test.csv of the split")
    parser.add_argument("--modalities", type=pair, nargs="+", required=True, help="MODALITY=FOLDER of {shard}.h5")
    parser.add_argument("--replacements", type=pair, nargs="*", default=[], help="MODALITY=FILE of stage replacements")
    parser.add_argument("--conditions", nargs="*", default=list(KINDS), help="KIND@STAGE to withhold modalities by")
    parser.add_argument("--output", type=Path, required=True, help="predictions, Parquet")
    parser.add_argument("--batch-size", type=int, default=64, help="clips at once; changes no result")
    cli.add_common(parser, "key", "device", "threads", "record")


def main(arguments: argparse.Namespace) -> None:
    device.set_deterministic(arguments.threads)
    where = device.resolve_device(arguments.device)
    for kind in arguments.conditions:
        if kind not in KINDS:
            raise UserError(f"evaluate.replacements: no replacement {kind!r}; {suggest(kind, KINDS)}")
    tables, runs, test = [], [], None
    folders, stand_ins = dict(arguments.modalities), dict(arguments.replacements)
    for seed in arguments.seeds:
        trained = load_model(arguments.models / str(seed) / "model.pt")
        test = test or ours.read(trained, arguments.test, folders, stand_ins, arguments.conditions)
        trained.model.to(where)
        table = predict(ours.ablator(trained, test, arguments.batch_size), test, arguments.conditions, seed)
        tables.append(table)
        runs.append(_run(table, arguments.key, seed, arguments))
        runs[-1].model = records.Model(
            str(arguments.models / str(seed) / "model.pt"),
            trained.labels,
            {name: list(trained.model.shapes[name].values()) for name in trained.model.modalities},
            {name: str(folders[name]) for name in trained.model.modalities},
            str(test.table["clip_id"].iloc[0]),
        )
        log.info("%s seed %d: accuracy %.3f", arguments.models.name, seed, runs[-1].metrics["accuracy"])
    whole = _with_prior(pd.concat(tables, ignore_index=True), arguments.test.with_name("classes.csv"))
    parquet.write(arguments.output, whole)
    records.write(arguments.record, "evaluate", runs)


def _with_prior(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """With what one would say who knows how common each class is among the training clips, and nothing of a clip."""
    counts = read_table(path, ["label", "train"]).set_index("label")["train"].astype(int)
    shares = counts / counts.sum()
    logarithms = np.log(shares.reindex(table["label"]).to_numpy(float))
    told = pd.DataFrame({PRIOR_PREDICTED: str(counts.idxmax()), PRIOR_LOG_PROBABILITY: logarithms}, table.index)
    return pd.concat([table, told], axis=1)


def metric_name(condition: str) -> str:
    """ "accuracy/audio_blank.video_blank": MLflow takes no other marks than _ - . / in a name."""
    return "accuracy/" + condition.replace("=", "_").replace("@", "_").replace(",", ".")


def _run(table: pd.DataFrame, key: dict[str, object], seed: int, arguments: argparse.Namespace) -> records.Run:
    values: dict[str, float] = {}
    for name, part in table.groupby("condition"):
        found = scores(part["label"], part["predicted"])
        values |= found if name == "full" else {metric_name(str(name)): found["accuracy"]}
    params = {"conditions": " ".join(arguments.conditions), "test_clips": table["clip_id"].nunique()}
    return records.Run({**key, "seed": seed}, params, values)
