"""Which epoch to keep and when to stop: rules of early stopping on one trajectory each, beside logistic regression.

Needs a study whose features and splits are there (`snakemake --until features splits`): `--study results/grid`. Its
clips are divided anew into training, validation and test parts, `--draws` times, since a test part of a few dozen clips
says little. On each, every model of `--models` learns for `--steps` optimizer steps without stopping, by the library's
own steps; every rule is then read off the same validation and test logits. `logistic` is the registry's model: solved,
not trained; `logistic_audio` is it on one modality, beside `audio_only`. `distillation` is taught by `audio_only` and
`video_only` as the library's rule keeps them.

Accuracy is that of the test clips at the epoch that a rule keeps; `nats` their cross-entropy after the temperature that
was fitted on the validation clips at that epoch; `steps` what the rule would have trained for.
"""

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from machine import ROOT, machine
from torch import Tensor

from modalens.curation import splitting
from modalens.models import Model, build, shape_of
from modalens.stats.calibration import fit_temperature
from modalens.training import dataset, history, loop
from modalens.training.batches import SeedBatches
from modalens.training.ensemble import Ensemble, write_back
from modalens.training.optimizer import AdamW
from modalens.utils import device

FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}
PATIENCES = (100, 200, 300, 500, 1000)  # optimizer steps
MODELS = ("logistic", "logistic_audio", "logistic_video", "audio_only", "video_only", "late_fusion", "distillation")
BASELINE = "logistic_"  # of a name: of the one modality after it


@dataclass
class Trajectory:
    """Of one training without stopping: a row and both parts' logits (N, C) after each epoch."""

    rows: history.History
    validation: list[np.ndarray]
    test: list[np.ndarray]
    test_labels: np.ndarray
    seconds: float


Kept = tuple[int, float]  # index of the epoch, steps that were trained for


def lowest_loss(trajectory: Trajectory, patience: float) -> Kept:
    """The rule before: plain validation loss, patience in epochs."""
    losses = [row["validation_loss"] for row in trajectory.rows]
    lowest, waited, seen = math.inf, 0, 0
    while seen < len(losses) and waited < patience and lowest >= history.LEAST_PROGRESS:
        waited += 1
        if losses[seen] < lowest - history.LEAST_PROGRESS:
            lowest, waited = losses[seen], 0
        seen += 1
    return int(np.argmin(losses[:seen])), trajectory.rows[seen - 1]["steps"]


def calibrated(trajectory: Trajectory, patience: float) -> Kept:
    """The library's rule, without its budget."""
    rows = trajectory.rows
    unlimited, seen = 10**9, 1
    options = {"patience": int(min(patience, unlimited)), "epochs": unlimited, "steps": unlimited}
    while seen < len(rows) and not history.stop_reason(rows[:seen], **options):
        seen += 1
    return history.best_epoch(rows[:seen]) - 1, rows[seen - 1]["steps"]


def smoothed_accuracy(trajectory: Trajectory) -> Kept:
    """Best validation accuracy, mean of three epochs, over the whole trajectory."""
    accuracy = np.array([row["validation_accuracy"] for row in trajectory.rows])
    padded = np.pad(accuracy, 1, mode="edge")
    return int(np.argmax(padded[:-2] + padded[1:-1] + padded[2:])), trajectory.rows[-1]["steps"]


def last(trajectory: Trajectory) -> Kept:
    return len(trajectory.rows) - 1, trajectory.rows[-1]["steps"]


RULES: dict[str, Callable[[Trajectory], Kept]] = {
    "lowest loss, patience 8 epochs": partial(lowest_loss, patience=8),
    "lowest loss, no stopping": partial(lowest_loss, patience=math.inf),
    **{f"calibrated, patience {n} steps": partial(calibrated, patience=n) for n in PATIENCES},
    "calibrated, no stopping": partial(calibrated, patience=math.inf),
    "best accuracy, mean of 3": smoothed_accuracy,
    "last epoch": last,
}


def clips(
    study: Path, task: str, draw: int, limit: int, without_test: bool
) -> tuple[dict[str, dataset.FeatureDataset], dict[str, Any], int]:
    """Features by part, shapes, number of classes. limit: training clips at most, 0 for all."""
    config = yaml.safe_load((study / "config.yaml").read_text())
    names = [name for name in FRACTIONS if not (without_test and name == "test")]
    table = pd.concat(dataset.read_split(study / "splits" / task / f"{name}.csv") for name in names)
    table = table.sort_values("clip_id", ignore_index=True)
    labels = sorted(set(table["label"]))
    part = splitting.assign(table, FRACTIONS, draw)
    truth = torch.tensor([labels.index(label) for label in table["label"]])
    folders = {name: study / "features" / name for name in config["modalities"]}
    features = {name: dataset.read_features(folder, table) for name, folder in folders.items()}
    shapes = {
        name: shape_of(tuple(dataset.read_source(folders[name], table)["axes"]), values, str(name))
        for name, values in features.items()
    }
    found = {}
    for name in FRACTIONS:
        rows = torch.from_numpy(np.flatnonzero(part == name))
        if name == "train" and limit:
            rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(draw))[:limit]]
        found[name] = dataset.FeatureDataset({key: values[rows] for key, values in features.items()}, truth[rows])
    return found, shapes, len(labels)


def new(
    name: str, shapes: dict[str, Any], classes: int, train: dataset.FeatureDataset, seed: int, options: dict[str, Any]
) -> Model:
    """options: of late fusion, also of one modality."""
    torch.manual_seed(seed)
    if name.endswith("_only"):
        modality = name.removesuffix("_only")
        name, shapes = "late_fusion", {modality: shapes[modality]}
    elif name.startswith(BASELINE):
        name, shapes = "logistic", {name.removeprefix(BASELINE): shapes[name.removeprefix(BASELINE)]}
    model = build(name, shapes, classes, options if name == "late_fusion" else {})
    model.fit_normalizer({key: dataset.Pieces(values, 64) for key, values in train.features.items()})
    return model


def logits(ensemble: Ensemble, part: SeedBatches) -> tuple[np.ndarray, dict[str, float]]:
    ensemble.train(False)
    with torch.no_grad():
        features, labels = part.shared_batch(slice(None), 1)
        terms = ensemble.terms(features, labels)
    values = terms["logits"][0].double().numpy()
    return values, {"loss": terms["loss"].item(), "accuracy": float((values.argmax(1) == labels[0].numpy()).mean())}


def trajectory(
    model: Model, parts: dict[str, dataset.FeatureDataset], seed: int, steps: int, decay: float
) -> tuple[Trajectory, Model]:
    """The model comes back with the parameters that the library's rule keeps."""
    options = loop.TrainingOptions()
    began = time.process_time()
    batches = {name: SeedBatches.from_models([model], part, options.batch_size) for name, part in parts.items()}
    if model.solves:
        model.solve(*([(part.features, part.labels)] for part in (parts["train"], parts["validation"])))
    ensemble = Ensemble([model])
    optimizer = AdamW(ensemble, options.learning_rate, decay)
    order = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed + loop.DROPOUT)
    found = Trajectory([], [], [], parts["test"].labels.numpy(), 0.0)
    per_epoch = math.ceil(len(parts["train"]) / options.batch_size)
    best: dict[str, Tensor] = {}
    for epoch in range(1, 2 if model.solves else 1 + math.ceil(steps / per_epoch)):
        ensemble.train()
        rows = torch.randperm(len(parts["train"]), generator=order).unsqueeze(0)
        for some in () if model.solves else rows.split(options.batch_size, dim=1):
            optimizer.step(loop.gradients(ensemble, *batches["train"].training_batch(some))[0])
        values, numbers = logits(ensemble, batches["validation"])
        (temperature,), (loss,) = fit_temperature(values[None], parts["validation"].labels.numpy())
        row = {f"validation_{name}": value for name, value in numbers.items()}
        row |= {"steps": float(epoch * per_epoch), history.CALIBRATED_LOSS: loss, history.TEMPERATURE: temperature}
        found.rows.append(row)
        found.validation.append(values)
        found.test.append(logits(ensemble, batches["test"])[0])
        if history.best_epoch(found.rows) == epoch:
            best = ensemble.values(0)
    write_back(model, best)
    found.seconds = time.process_time() - began
    return found, model.eval().requires_grad_(False)


def read_off(found: Trajectory, rule: Callable[[Trajectory], Kept]) -> dict[str, float]:
    index, steps = rule(found)
    values = found.test[index] / found.rows[index][history.TEMPERATURE]
    own = np.take_along_axis(values, found.test_labels[:, None], 1)[:, 0]
    nats = (np.log(np.exp(values - values.max(1, keepdims=True)).sum(1)) + values.max(1) - own).mean()
    accuracy = (values.argmax(1) == found.test_labels).mean()
    return {"accuracy": float(accuracy), "nats": float(nats), "kept_step": found.rows[index]["steps"], "steps": steps}


def one_draw(
    study: Path,
    models: list[str],
    steps: int,
    limit: int,
    without_test: bool,
    options: dict[str, Any],
    decay: float,
    job: tuple[str, int],
) -> list[dict[str, Any]]:
    """A row per model and rule."""
    task, draw = job
    torch.set_num_threads(1)
    device.set_deterministic(1)
    parts, shapes, classes = clips(study, task, draw, limit, without_test)
    rows, trained = [], {}
    for name in models:
        model = new(name, shapes, classes, parts["train"], draw, options)
        if model.takes_teachers:
            model.teachers = {teacher: one for teacher, one in trained.items() if teacher.endswith("_only")}
            model.initialise_from_teachers()
        found, trained[name] = trajectory(model, parts, draw, steps, decay)
        for rule, read in {"solved": last}.items() if model.solves else RULES.items():
            row = {"task": task, "draw": draw, "model": name, "rule": rule, **read_off(found, read)}
            rows.append(row | {"seconds": found.seconds})
    return rows


def beside_logistic(table: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Mean over the draws of each task and model under a rule, and its difference from logistic regression on the same
    modalities and draws, with a standard error over the draws."""
    kept = table[table["rule"].isin([rule, "solved"])]
    wide = kept.pivot_table(index=["task", "draw"], columns="model", values="accuracy")
    found = []
    for task, part in wide.groupby("task"):
        for name in (name for name in wide.columns if not name.startswith("logistic")):
            own = BASELINE + name.removesuffix("_only")
            gap = part[name] - part[own if own in part else "logistic"]
            row = {"task": task, "model": name, "accuracy": part[name].mean(), "gap": gap.mean()}
            found.append(row | {"standard_error": gap.std() / math.sqrt(len(gap)) if len(gap) > 1 else math.nan})
    return pd.DataFrame(found)


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--study", type=Path, required=True, help="folder of a study with features and splits")
    line.add_argument("--tasks", nargs="+", help="all of the study by default")
    line.add_argument("--models", nargs="+", default=list(MODELS))
    line.add_argument("--draws", type=int, default=3, help="divisions of the clips; each is also the models' seed")
    line.add_argument("--steps", type=int, default=1500)
    line.add_argument("--train-clips", type=int, default=0, help="at most; all by default")
    line.add_argument("--without-test", action="store_true", help="leave the study's test clips to judge by")
    line.add_argument("--options", type=json.loads, default={}, help="of late fusion, JSON")
    line.add_argument("--weight-decay", type=float, default=loop.TrainingOptions().weight_decay)
    line.add_argument("--processes", type=int, default=1)
    line.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "selection.json")
    arguments = line.parse_args()
    tasks = arguments.tasks or yaml.safe_load((arguments.study / "config.yaml").read_text())["tasks"]
    jobs = [(task, draw) for draw in range(arguments.draws) for task in tasks]
    work = partial(one_draw, arguments.study, arguments.models, arguments.steps, arguments.train_clips)
    work = partial(work, arguments.without_test, arguments.options, arguments.weight_decay)
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        table = pd.DataFrame([row for rows in pool.imap_unordered(work, jobs) for row in rows])
    content = {"machine": machine(), "study": arguments.study.name, "rows": table.to_dict("records")}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(content["machine"])
    numbers = ["accuracy", "nats", "kept_step", "steps"]
    means = table.groupby(["model", "rule"], sort=False)[numbers].mean()
    print(means.round({"accuracy": 3, "nats": 3, "kept_step": 0, "steps": 0}).to_string())
    if "logistic" in arguments.models:
        patience = loop.TrainingOptions().patience
        print(beside_logistic(table, f"calibrated, patience {patience} steps").round(3).to_string(index=False))


if __name__ == "__main__":
    main()
