"""Stage `train`: one model on one task, all its seeds from one reading of the features.

Reads the training and validation splits, never the test one.
"""

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from modalens import data, device, lesson, loop, records, stack
from modalens.checkpoint import Checkpoint
from modalens.cli import UserError, atomic, mapping, pair, parser, run
from modalens.models._base import Model, Trained, build, load_model
from modalens.options import resolve
from modalens.rows import read_table

log = logging.getLogger(__name__)

BATCH = 64  # clips at once where their number changes no result
TRIED = 4  # clips on which a stack of the seeds has to agree with each of them alone
PRECISIONS = ("float32", "bfloat16")


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
    if training.precision not in PRECISIONS:
        raise UserError(f"training.precision: {' or '.join(PRECISIONS)} is wanted, not {training.precision!r}")
    where = device.choose(training.device)
    labels = read_table(splits / "classes.csv")["label"].tolist()
    tables = {name: data.read_split(splits / f"{name}.csv") for name in ("train", "validation")}
    # Nobody forges features to resume a checkpoint: the quickest hash will do.
    clips, digest = {}, hashlib.sha1(usedforsecurity=False)
    for name, table in tables.items():
        if table.empty:
            raise UserError(f"{splits / name}.csv holds no clip: more clips are needed, or other fractions")
        features = {modality: data.read_features(folder, table) for modality, folder in folders.items()}
        whole = data.Clips(features, data.class_indices(table, labels, splits / f"{name}.csv"))
        for values in (*features.values(), whole.labels):
            digest.update(values.numpy().data.cast("B"))
        clips[name] = whole.placed(where)
    everything = pd.concat(tables.values())
    sources = {modality: data.read_source(folder, everything) for modality, folder in folders.items()}
    return Job(
        model=arguments.model,
        options=arguments.options,
        teachers=dict(arguments.teachers),
        training=training,
        device=where,
        train=clips["train"],
        validation=clips["validation"],
        labels=labels,
        sources=sources,
        digest=digest.hexdigest(),
    )


def groups(job: Job, seeds: Sequence[int], together: int) -> Iterator[dict[int, Model]]:
    """{seed: new model} of the seeds that are trained as one. together: how many at most; 0: what is quickest.

    On a CPU that is one: its time goes into products, which several seeds do not share, and a stacked convolution is
    a slow one there (measured by benchmarks/training.py). On a GPU it should go into starting many small kernels, so
    all are: that is reasoned, and to be measured where there is one.
    """
    count = together or (1 if job.device.type == "cpu" else len(seeds))
    fitted: nn.Module | None = None
    for start in range(0, len(seeds), count):
        models: dict[int, Model] = {}
        for seed in seeds[start : start + count]:
            models[seed] = _new(job, seed, fitted)
            fitted = models[seed].standardisers
        if len(models) == 1 or stack.stackable(list(models.values()), *job.train.batch(slice(TRIED), job.device)):
            yield models
        else:
            yield from ({seed: model} for seed, model in models.items())


def _new(job: Job, seed: int, fitted: nn.Module | None) -> Model:
    """A model as it is before its first step. fitted: standardisers of another seed, which are the same."""
    torch.manual_seed(seed)
    shapes = {name: tuple(values.shape[1:]) for name, values in job.train.features.items()}
    model = build(job.model, shapes, len(job.labels), job.options).to(job.device)
    if job.teachers and not model.takes_teachers:
        raise UserError(f"models.{job.model} takes no teachers")
    for name, folder in job.teachers.items():
        model.teachers[name] = _teacher(folder / str(seed) / "model.pt", job)
    if fitted:
        model.standardisers.load_state_dict(fitted.state_dict())
    else:
        model.fit_standardiser({name: data.pieces(values, BATCH) for name, values in job.train.features.items()})
    return model


def train_group(job: Job, models: dict[int, Model], output: Path) -> dict[int, loop.History]:
    """Train models in place; write {seed}/model.pt and {seed}/history.csv, and leave a checkpoint beside the first."""
    checkpoint = Checkpoint(checkpoint_path(output, next(iter(models))), _key(job, models))
    found = loop.fit(list(models.values()), list(models), job.train, job.validation, job.training, checkpoint)
    histories = dict(zip(models, found, strict=True))
    for seed, model in models.items():
        model.eval()
        means, stds = embedding_statistics(model, job.train, job.device)
        Trained(model, job.labels, job.sources, means, stds).save(output / str(seed) / "model.pt")
        with atomic(output / str(seed) / "history.csv") as hidden:
            pd.DataFrame(histories[seed]).astype({"epoch": int}).to_csv(hidden, index=False)
    return histories


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


def checkpoint_path(output: Path, seed: int) -> Path:
    return output / str(seed) / "checkpoint.pt"


def _teacher(path: Path, job: Job) -> Model:
    trained = load_model(path)
    if trained.labels != job.labels:
        raise UserError(f"{path} was trained on other classes than its student's")
    for name in trained.model.modalities:
        if trained.sources[name] != job.sources.get(name):
            raise UserError(f"{path} was trained on other features of {name!r} than its student's")
    return trained.model.requires_grad_(False).to(job.device)


def _key(job: Job, models: dict[int, Model]) -> str:
    """Digest of all that decides the result of these seeds, code included."""
    first = next(iter(models.values()))
    settings = [job.model, first.options, asdict(job.training), list(models), job.labels, job.digest, torch.__version__]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name in sorted(first.teachers):
        for seed in models:
            digest.update((job.teachers[name] / str(seed) / "model.pt").read_bytes())
    modules = {base.__module__ for part in first.modules() for base in type(part).__mro__}
    learning = {module.__name__ for module in (loop, lesson, stack)}
    for module in sorted(learning | {name for name in modules if name.startswith("modalens.")}):
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
    for models in groups(job, arguments.seeds, arguments.together):
        histories = train_group(job, models, arguments.output)
        for seed, model in models.items():
            done = _run(job, model, seed, arguments.output / str(seed), histories[seed], arguments.key)
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
        checkpoint_path(arguments.output, seed).unlink(missing_ok=True)


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
    line.add_argument("--together", type=int, default=0, help="seeds trained as one; 0: all on a GPU, one on a CPU")
    line.add_argument("--threads", type=int, default=1)
    line.add_argument("--record", type=Path, required=True)
    return line


if __name__ == "__main__":
    run(main, command_line())
