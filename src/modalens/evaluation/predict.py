"""Stage `evaluate`: every test clip under every condition, once per seed. The only stage that reads test labels."""

import argparse
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from modalens.utils.cli import UserError, atomic, mapping, pair, parser, run
from modalens.models._base import Trained, load_model
from modalens.stats.statistics import confusion_metrics
from modalens.evaluation.ablation import FROM_FILE, KINDS, ROWS, Withholder, condition
from modalens.utils import hdf5, device
from modalens.training import dataset
from modalens.tracking import records

log = logging.getLogger(__name__)


@dataclass
class Test:
    """table: clip_id, shard, group, label, sorted by clip_id; the tensors' rows are in its order."""

    table: pd.DataFrame
    labels: list[str]
    truth: Tensor
    features: dict[str, Tensor]
    replacements: dict[str, Tensor]


def coalitions(modalities: Sequence[str], kinds: Sequence[str]) -> list[tuple[frozenset[str], str]]:
    """(kept modalities, kind of replacement): each proper subset with each kind; all of them once, with kind ""."""
    subsets = [frozenset(kept) for size in range(len(modalities)) for kept in itertools.combinations(modalities, size)]
    return [(frozenset(modalities), ""), *itertools.product(subsets, kinds)]


def read(arguments: argparse.Namespace, trained: Trained) -> Test:
    """What the model looks at, and nothing made with other settings than what it learnt from."""
    table = dataset.read_split(arguments.test)
    if table.empty:
        raise UserError(f"{arguments.test} holds no clip")
    truth = dataset.class_indices(table, trained.labels, arguments.test)
    folders, files = dict(arguments.modalities), dict(arguments.replacements)
    features, replacements = {}, {}
    for name in trained.model.modalities:
        if name not in folders:
            raise UserError(f"{arguments.models} looks at {name!r}, whose features are not given")
        _same(trained.sources[name], dataset.read_source(folders[name], table), folders[name])
        features[name] = dataset.read_features(folders[name], table)
        if any(kind in FROM_FILE for kind in arguments.conditions):
            if name not in files:
                raise UserError(f"no replacements are given for {name!r}")
            _same(trained.sources[name], hdf5.attributes(files[name]), files[name])
            replacements[name] = torch.from_numpy(hdf5.read(files[name], ROWS))
    return Test(table, trained.labels, truth, features, replacements)


def evaluate_seed(
    trained: Trained, test: Test, kinds: Sequence[str], where: torch.device, batch: int
) -> list[tuple[dict[str, str], Tensor]]:
    """({"condition", "replacement", "kept"}, log-probabilities (N, C) float64) for every coalition and kind."""
    trained.model.to(where).eval()
    withholder = Withholder(trained, test.features, test.replacements, where, batch)
    modalities = trained.model.modalities
    results = []
    with torch.no_grad():
        for kept, kind in coalitions(modalities, kinds):
            embeddings = {name: withholder.embeddings(name, "" if name in kept else kind) for name in modalities}
            parts = [
                trained.model.classify({name: rows[start : start + batch] for name, rows in embeddings.items()})
                for start in range(0, len(test.truth), batch)
            ]
            withheld = set(modalities) - kept
            columns = {"condition": condition(withheld, kind), "replacement": kind, "kept": ",".join(sorted(kept))}
            results.append((columns, torch.cat(parts).cpu().double().log_softmax(1)))
    return results


def rows(test: Test, seed: int, columns: dict[str, str], log_probabilities: Tensor) -> pd.DataFrame:
    """One row a clip: what it is, what was said of it, the probability of every class."""
    values = log_probabilities.numpy()
    clips = test.table[["clip_id", "group"]].assign(seed=seed, **columns)
    clips["label"] = test.table["label"]
    clips["predicted"] = np.array(test.labels, dtype=object)[values.argmax(1)]
    clips["log_probability"] = values[np.arange(len(values)), test.truth.numpy()]
    probabilities = pd.DataFrame(np.exp(values).astype(np.float32), columns=[f"p_{name}" for name in test.labels])
    return pd.concat([clips, probabilities], axis=1)


def scores(label: pd.Series, predicted: pd.Series) -> dict[str, float]:
    """Source: seed paper, section 4: accuracy, balanced accuracy, macro precision, recall and F1."""
    classes = pd.Index(sorted(set(label) | set(predicted)))
    confusion = np.zeros((len(classes), len(classes)))
    np.add.at(confusion, (classes.get_indexer(label), classes.get_indexer(predicted)), 1)
    return {name: float(value) for name, value in confusion_metrics(confusion).items()}


def metric_name(condition: str) -> str:
    """ "accuracy/audio_silence.video_black": MLflow takes no other marks than _ - . / in a name."""
    return "accuracy/" + condition.replace("=", "_").replace("@", "_").replace(",", ".")


def _same(learnt: object, given: object, path: Path) -> None:
    if learnt != given:
        raise UserError(f"{path} was made with other settings than the model's features: {given} and {learnt}")


def _run(table: pd.DataFrame, key: dict[str, object], seed: int, arguments: argparse.Namespace) -> records.Run:
    values: dict[str, float] = {}
    for name, part in table.groupby("condition"):
        found = scores(part["label"], part["predicted"])
        values |= found if name == "full" else {metric_name(str(name)): found["accuracy"]}
    params = {"conditions": " ".join(arguments.conditions), "clips": table["clip_id"].nunique()}
    return records.Run({**key, "seed": seed}, params, values)


def main(arguments: argparse.Namespace) -> None:
    device.repeatable(arguments.threads)
    where = device.choose(arguments.device)
    for kind in arguments.conditions:
        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, n=1)
            raise UserError(
                f"evaluate.replacements: {kind!r} is unknown; {f'did you mean {near[0]!r}?' if near else KINDS}"
            )
    tables, runs, test = [], [], None
    for seed in arguments.seeds:
        trained = load_model(arguments.models / str(seed) / "model.pt")
        test = test or read(arguments, trained)
        results = evaluate_seed(trained, test, arguments.conditions, where, arguments.batch_size)
        table = pd.concat([rows(test, seed, *result) for result in results], ignore_index=True)
        tables.append(table)
        runs.append(_run(table, arguments.key, seed, arguments))
        log.info("%s seed %d: accuracy %.3f", arguments.models.name, seed, runs[-1].metrics["accuracy"])
    with atomic(arguments.output) as hidden:
        pd.concat(tables, ignore_index=True).to_parquet(hidden, index=False)
    records.write(arguments.record, "evaluate", runs)


def command_line() -> argparse.ArgumentParser:
    line = parser(__doc__)
    line.add_argument("--models", type=Path, required=True, help="folder of {seed}/model.pt")
    line.add_argument("--seeds", type=int, nargs="+", required=True)
    line.add_argument("--test", type=Path, required=True, help="test.csv of the split")
    line.add_argument("--modalities", type=pair, nargs="+", required=True, help="MODALITY=FOLDER of {shard}.h5")
    line.add_argument("--replacements", type=pair, nargs="*", default=[], help="MODALITY=FILE of stage replacements")
    line.add_argument("--conditions", nargs="*", default=list(KINDS), help="KIND@STAGE to withhold modalities by")
    line.add_argument("--output", type=Path, required=True, help="predictions, Parquet")
    line.add_argument("--key", type=mapping, default={}, help="what the runs are called, JSON")
    line.add_argument("--batch-size", type=int, default=64, help="clips at once; changes no result")
    line.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    line.add_argument("--threads", type=int, default=1)
    line.add_argument("--record", type=Path, required=True)
    return line


if __name__ == "__main__":
    run(main, command_line())
