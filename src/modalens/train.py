"""Stage `train`: one model on one task, all its seeds. Reads the training and validation splits, never the test one."""

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from modalens import data, device, loop, records
from modalens.cli import UserError, atomic, mapping, pair, parser, run
from modalens.models._base import Model, Trained, build, load_model
from modalens.options import resolve
from modalens.rows import read_table

log = logging.getLogger(__name__)

BATCH = 64  # clips at once where their number changes no result


@dataclass
class Job:
    """What all seeds share. digest: of all features and labels read."""

    model: str
    options: dict[str, Any]
    teachers: Mapping[str, Path]  # name -> folder of {seed}/model.pt
    training: loop.Training
    device: torch.device
    train: data.Clips
    validation: data.Clips
    labels: list[str]
    sources: dict[str, Any]
    digest: str


def read(arguments: argparse.Namespace) -> Job:
    """Opens train.csv, validation.csv and the label column of classes.csv, and nothing else of the splits."""
    splits, folders = arguments.splits, dict(arguments.modalities)
    training = loop.Training(**resolve(loop.Training, arguments.training, "training"))
    labels = read_table(splits / "classes.csv")["label"].tolist()
    tables = {name: data.read_split(splits / f"{name}.csv") for name in ("train", "validation")}
    clips, digest = {}, hashlib.sha256()
    for name, table in tables.items():
        if table.empty:
            raise UserError(f"{splits / name}.csv holds no clip: more clips are needed, or other fractions")
        features = {modality: data.read_features(folder, table) for modality, folder in folders.items()}
        clips[name] = data.Clips(features, data.class_indices(table, labels, splits / f"{name}.csv"))
        for values in (*features.values(), clips[name].labels):
            digest.update(values.numpy().tobytes())
    everything = pd.concat(tables.values())
    sources = {modality: data.read_source(folder, everything) for modality, folder in folders.items()}
    return Job(
        model=arguments.model,
        options=arguments.options,
        teachers=dict(arguments.teachers),
        training=training,
        device=device.choose(training.device),
        train=clips["train"],
        validation=clips["validation"],
        labels=labels,
        sources=sources,
        digest=digest.hexdigest(),
    )


def train_seed(job: Job, seed: int, folder: Path) -> tuple[Model, list[dict[str, float]]]:
    """Train one seed; write model.pt and history.csv into folder, and leave its checkpoint beside them."""
    torch.manual_seed(seed)
    shapes = {name: tuple(values.shape[1:]) for name, values in job.train.features.items()}
    model = build(job.model, shapes, len(job.labels), job.options).to(job.device)
    if job.teachers and not model.takes_teachers:
        raise UserError(f"models.{job.model} takes no teachers")
    for name, teacher_folder in job.teachers.items():
        model.teachers[name] = _teacher(teacher_folder / str(seed) / "model.pt", job)
    model.fit_standardiser({name: data.pieces(values, BATCH) for name, values in job.train.features.items()})
    checkpoint = loop.Checkpoint(checkpoint_path(folder), _key(job, model, seed))
    history = loop.fit(model, job.train, job.validation, job.training, seed, checkpoint)
    model.eval()
    means, stds = embedding_statistics(model, job.train, job.device)
    Trained(model, job.labels, job.sources, means, stds).save(folder / "model.pt")
    with atomic(folder / "history.csv") as hidden:
        pd.DataFrame(history).astype({"epoch": int}).to_csv(hidden, index=False)
    return model, history


@torch.no_grad()
def embedding_statistics(
    model: Model, clips: data.Clips, where: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean and standard deviation of each embedding dimension over clips: {modality: (D_m,)} each, float32."""
    parts: dict[str, list[Tensor]] = {name: [] for name in model.modalities}
    for start in range(0, len(clips), BATCH):
        features, _ = clips.batch(slice(start, start + BATCH), where)
        for name, embedding in model.embed(features).items():
            parts[name].append(embedding.cpu().double())
    embeddings = {name: torch.cat(pieces) for name, pieces in parts.items()}
    means = {name: values.mean(0).float() for name, values in embeddings.items()}
    return means, {name: values.std(0, correction=0).float() for name, values in embeddings.items()}


def checkpoint_path(folder: Path) -> Path:
    return folder / "checkpoint.pt"


def _teacher(path: Path, job: Job) -> Model:
    trained = load_model(path)
    if trained.labels != job.labels:
        raise UserError(f"{path} was trained on other classes than its student's")
    for name in trained.model.modalities:
        if trained.sources[name] != job.sources.get(name):
            raise UserError(f"{path} was trained on other features of {name!r} than its student's")
    return trained.model.requires_grad_(False).to(job.device)


def _key(job: Job, model: Model, seed: int) -> str:
    """Digest of all that decides the result of a seed, code included."""
    settings = [job.model, model.options, asdict(job.training), seed, job.labels, job.digest, torch.__version__]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name in sorted(model.teachers):
        digest.update((job.teachers[name] / str(seed) / "model.pt").read_bytes())
    modules = {type(part).__module__ for part in model.modules()} | {base.__module__ for base in type(model).__mro__}
    for module in sorted({loop.__name__, *(name for name in modules if name.startswith("modalens."))}):
        digest.update(Path(str(sys.modules[module].__file__)).read_bytes())
    return digest.hexdigest()


def _run(
    job: Job, model: Model, seed: int, folder: Path, history: list[dict[str, float]], key: dict[str, Any]
) -> records.Run:
    best = history[loop.best_epoch(history) - 1]
    metrics = {f"best_{name}" if name == "epoch" else name: value for name, value in best.items() if name != "seconds"}
    # "variant": MLflow's compare view opens on the first params that differ, in alphabetical order; model, seed and
    # task are to be those.
    params = {f"variant.{name}": value for name, value in model.options.items()}
    params |= {f"training.{name}": value for name, value in asdict(job.training).items()}
    params |= {
        "training.teachers": ",".join(sorted(job.teachers)),
        "clips": len(job.train),
        "training.used_device": job.device.type,
    }
    metrics["epochs"] = float(len(history))
    metrics["seconds"] = sum(row["seconds"] for row in history)
    metrics["parameters"] = float(sum(values.numel() for values in model.parameters()))
    artifacts = [str(folder / "history.csv")]
    return records.Run({**key, "seed": seed}, params, metrics, history, artifacts)


def main(arguments: argparse.Namespace) -> None:
    device.repeatable(arguments.threads)
    job = read(arguments)
    runs = []
    for seed in arguments.seeds:
        folder = arguments.output / str(seed)
        model, history = train_seed(job, seed, folder)
        done = _run(job, model, seed, folder, history, arguments.key)
        runs.append(done)
        log.info(
            "%s seed %d (%d of %d): best epoch %.0f of %.0f, validation loss %.3f, accuracy %.3f, %.1f s",
            job.model, seed, len(runs), len(arguments.seeds), done.metrics["best_epoch"], done.metrics["epochs"],
            done.metrics["validation_loss"], done.metrics["validation_accuracy"], done.metrics["seconds"],
        )  # fmt: skip
    records.write(arguments.record, "train", runs)
    # Until here they stay: Snakemake deletes the outputs of a job that failed, and its finished seeds are not to be
    # trained again.
    for seed in arguments.seeds:
        checkpoint_path(arguments.output / str(seed)).unlink()


def command_line() -> argparse.ArgumentParser:
    line = parser(__doc__)
    line.add_argument("--model", required=True, help="a module of modalens/models")
    line.add_argument("--options", type=mapping, default={}, help="the model's options, JSON")
    line.add_argument("--training", type=mapping, default={}, help="the loop's options, JSON")
    line.add_argument("--seeds", type=int, nargs="+", required=True)
    line.add_argument("--modalities", type=pair, nargs="+", required=True, help="MODALITY=FOLDER of {shard}.h5")
    line.add_argument("--teachers", type=pair, nargs="*", default=[], help="NAME=FOLDER of {seed}/model.pt")
    line.add_argument("--splits", type=Path, required=True, help="folder of train.csv, validation.csv, classes.csv")
    line.add_argument("--output", type=Path, required=True, help="folder that gets {seed}/model.pt")
    line.add_argument("--key", type=mapping, default={}, help="what the runs are called, JSON")
    line.add_argument("--threads", type=int, default=1)
    line.add_argument("--record", type=Path, required=True)
    return line


if __name__ == "__main__":
    run(main, command_line())
