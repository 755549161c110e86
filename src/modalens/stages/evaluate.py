"""Stage `evaluate`: every test clip under every condition, once per seed, for all models of a task.

It and `relevance` alone read test labels. A process for each model would mostly load PyTorch; predictions whose model,
clips and code are the same are kept.
"""

import argparse
import hashlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from modalens.evaluation import trained as ours
from modalens.evaluation.ablation import KINDS
from modalens.evaluation.predict import MAPPED, predict, scores
from modalens.models import load_model
from modalens.stats.prediction_columns import PRIOR_LOG_PROBABILITY, PRIOR_PREDICTED
from modalens.stats.targets import CLASSES, REGRESSION, TARGETS, commonest, metrics_of_rows, tags_of, target_of
from modalens.tracking import records
from modalens.utils import checksums, cli, device, files, hdf5, parquet
from modalens.utils.cli import pair
from modalens.utils.csv_tables import read_table
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

log = logging.getLogger(__name__)

ENDS = ("parquet", "h5", "json")  # of a model's files: predictions, joined embeddings, record
Joined = list[tuple[str, np.ndarray]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="of a task: folders of {seed}/model.pt")
    parser.add_argument("--made", type=cli.mapping, default={}, help="{model: {modalities, code: digest}}, JSON")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--test", type=Path, required=True, help="test.csv of the split")
    parser.add_argument("--modalities", type=pair, nargs="*", default=[], help="MODALITY=FOLDER of {shard}.h5")
    parser.add_argument("--replacements", type=pair, nargs="*", default=[], help="MODALITY=FILE of stage replacements")
    parser.add_argument("--decoded", type=pair, nargs="*", default=[], help="MODALITY=FOLDER, for models that read it")
    parser.add_argument("--entries", type=cli.mapping, default={}, help="`modalities` of the config, JSON, for these")
    parser.add_argument("--conditions", nargs="*", default=list(KINDS), help="KIND@STAGE to withhold modalities by")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of MODEL.parquet, predictions, MODEL.h5 and MODEL.json"
    )
    parser.add_argument("--batch-size", type=int, default=64, help="clips at once; changes no result")
    cli.add_common(parser, "key", "device", "threads")


def main(arguments: argparse.Namespace) -> None:
    device.set_deterministic(arguments.threads)
    where = device.resolve_device(arguments.device)
    for kind in arguments.conditions:
        if kind not in KINDS:
            raise UserError(f"evaluate.replacements: no replacement {kind!r}; {suggest(kind, KINDS)}")
    for folder in arguments.models:
        predictions, embeddings, record = (arguments.output / f"{folder.name}.{end}" for end in ENDS)
        made = _made(folder, arguments)
        if _holds(predictions, embeddings, record, made):
            log.info("%s: nothing that it is made from has changed: kept", folder.name)
            # It is as new as what the task's other models are made from.
            for path in (predictions, embeddings, record):
                path.touch()
            continue
        table, runs, joined = _of_model(folder, where, arguments)
        with hdf5.write(embeddings, {"model": folder.name, "seed": arguments.seeds[0]}) as writer:
            for clip_id, row in joined:
                writer.append(clip_id, row)
        parquet.write(predictions, table)
        records.write(record, "evaluate", runs, made)


def _of_model(
    folder: Path, where: torch.device, arguments: argparse.Namespace
) -> tuple[pd.DataFrame, list[records.Run], Joined]:
    """Predictions of all seeds of a model, their runs, and the joined embeddings that a map shows, of the first."""
    tables, runs, test = [], [], None
    embedded: Joined = []
    folders, stand_ins, decoded = map(dict, (arguments.modalities, arguments.replacements, arguments.decoded))
    for seed in arguments.seeds:
        path = folder / str(seed) / "model.pt"
        trained = load_model(path)
        test = test or ours.read(
            trained, arguments.test, folders, stand_ins, arguments.conditions, decoded, arguments.entries
        )
        trained.model.to(where)
        ablator = ours.ablator(trained, test, arguments.batch_size)
        table = predict(ablator, test, arguments.conditions, seed)
        if seed == arguments.seeds[0]:
            names = test.table["clip_id"]
            places = np.argsort(names.to_numpy(str), kind="stable")[:MAPPED]
            rows = ours.joined(trained, ablator, [int(place) for place in places])
            embedded = [] if rows is None else list(zip(names.iloc[places], rows, strict=True))
        tables.append(table)
        runs.append(_run(table, {"model": folder.name} | arguments.key, seed, arguments))
        own = trained.model
        runs[-1].model = records.Model(
            str(path),
            trained.labels,
            {} if own.encoders else {name: list(own.shapes[name].values()) for name in own.modalities},
            {name: str((decoded if name in own.encoders else folders)[name]) for name in own.modalities},
            str(test.table["clip_id"].iloc[0]),
            own.learns,
        )
        main = TARGETS[target_of(table)].metrics[0]
        log.info("%s seed %d: %s %.3f", folder.name, seed, main, runs[-1].metrics[main])
    return _with_prior(pd.concat(tables, ignore_index=True), arguments.test.parent), runs, embedded


def _made(folder: Path, arguments: argparse.Namespace) -> str:
    """Digest of all that a model's predictions are made from. Features count by their files' sizes and times."""
    stated = arguments.made.get(folder.name, {})
    contents = [folder / str(seed) / "model.pt" for seed in arguments.seeds]
    contents += [arguments.test, *(arguments.test.with_name(f"{name}.csv") for name in ("classes", "train"))]
    given = [*arguments.modalities, *arguments.decoded]
    looked_at = stated.get("modalities", [name for name, _ in given])
    read = [path for name, of in given if name in looked_at for path in sorted(of.glob("*.h5"))]
    read += [path for name, path in arguments.replacements if name in looked_at]
    states = [path.stat() for path in read]
    return files.digest(
        stated,
        [hashlib.sha256(path.read_bytes()).hexdigest() for path in contents if path.is_file()],
        [[state.st_size, state.st_mtime_ns] for state in states],
        [arguments.seeds, arguments.conditions, arguments.device, arguments.key, arguments.entries],
    )


def _holds(predictions: Path, embeddings: Path, record: Path, made: str) -> bool:
    """Whether all are there, whole, and made from the same."""
    try:
        checksums.check(predictions)
        hdf5.ids(embeddings)
    except (OSError, UserError):
        return False
    return records.holds(record, made)


def _with_prior(table: pd.DataFrame, splits: Path) -> pd.DataFrame:
    """With what one would say who knows the labels of the training clips, and nothing of a clip: the commonest class,
    the mean, or the tags that most clips have."""
    if (kind := target_of(table)) != CLASSES:
        labels = read_table(splits / "train.csv", ["label"])["label"]
        table = table.assign(**{PRIOR_PREDICTED: commonest(labels, kind)})
        return table if kind == REGRESSION else table.assign(**{PRIOR_LOG_PROBABILITY: _prior_of_tags(table, labels)})
    counts = read_table(splits / "classes.csv", ["label", "train"]).set_index("label")["train"].astype(int)
    shares = counts / counts.sum()
    logarithms = np.log(shares.reindex(table["label"]).to_numpy(float))
    told = pd.DataFrame({PRIOR_PREDICTED: str(counts.idxmax()), PRIOR_LOG_PROBABILITY: logarithms}, table.index)
    return pd.concat([table, told], axis=1)


def _prior_of_tags(table: pd.DataFrame, training: pd.Series) -> "pd.Series[float]":
    """Log-probability of all of a clip's tags, there and not, by how common each is among the training clips."""
    shares = training.map(tags_of).explode().value_counts() / len(training)
    shares = shares.clip(1e-6, 1 - 1e-6)  # a tag of every training clip
    none = float(np.log1p(-shares).sum())
    told = {
        text: none + sum(np.log(shares[tag] / (1 - shares[tag])) for tag in tags_of(text))
        for text in set(table["label"])
    }
    return table["label"].map(told)


def metric_name(condition: str, metric: str = "accuracy") -> str:
    """ "accuracy/audio_blank.video_blank": MLflow takes no other marks than _ - . / in a name."""
    return f"{metric}/" + condition.replace("=", "_").replace("@", "_").replace(",", ".")


def _run(table: pd.DataFrame, key: dict[str, object], seed: int, arguments: argparse.Namespace) -> records.Run:
    values: dict[str, float] = {}
    kind = target_of(table)
    main = TARGETS[kind].metrics[0]
    for name, part in table.groupby("condition"):
        found = scores(part["label"], part["predicted"]) if kind == CLASSES else metrics_of_rows(part)
        values |= found if name == "full" else {metric_name(str(name), main): found[main]}
    params = {"conditions": " ".join(arguments.conditions), "test_clips": table["clip_id"].nunique()}
    return records.Run({**key, "seed": seed}, params, values)
