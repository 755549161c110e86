"""A training job: data, options, freshly initialised models."""

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from modalens.balancing import Learner, apply_balancing, unwrap
from modalens.models import Learnt, Model, Shape, Shapes, build, load_model, mean_of, outputs_of, shape_of
from modalens.plugins.options import resolve
from modalens.stats.targets import CLASSES, REGRESSION, TARGETS
from modalens.training import augmentation, dataset, decoded, ensemble, loop
from modalens.training.missing import Missing
from modalens.utils import device
from modalens.utils.cli import mapping, pair
from modalens.utils.csv_tables import read_table
from modalens.utils.errors import UserError

BATCH = 64  # clips at once where their number changes no result
TRIED = 4  # clips on which the stacked seeds have to agree with each of them alone
PRECISIONS = ("float32", "bfloat16", "auto")


@dataclass
class Job:
    """What all seeds share. balancing: {} or {name: options}. digest: of all features and labels read."""

    model: str
    options: dict[str, Any]
    balancing: dict[str, Any]
    teachers: Mapping[str, Path]  # name -> folder of {seed}/model.pt
    training: loop.TrainingOptions
    device: torch.device
    train: dataset.FeatureDataset
    validation: dataset.FeatureDataset
    labels: list[str]
    sources: dict[str, Any]
    shapes: Shapes  # of one clip, with the axes that the encoders declare
    missing: Missing  # what was taken from the training clips
    digest: str
    target: str = CLASSES  # of stats.targets
    scale: tuple[float, float] = (0.0, 1.0)  # mean and deviation of the training labels where these are numbers
    encoders: dict[str, Learnt] = field(default_factory=dict)  # of modalities whose decoded form the model reads


def add_arguments(line: argparse.ArgumentParser) -> None:
    """What `read` reads."""
    line.add_argument("--model", required=True, help="a module of modalens/models")
    line.add_argument("--options", type=mapping, default={}, help="the model's options, JSON")
    line.add_argument("--training", type=mapping, default={}, help="the loop's options, JSON")
    line.add_argument("--balancing", type=mapping, default={}, help="{name: options} of modalens/balancing, JSON")
    line.add_argument("--modalities", type=pair, nargs="*", default=[], help="MODALITY=FOLDER of {shard}.h5")
    line.add_argument("--decoded", type=pair, nargs="*", default=[], help="MODALITY=FOLDER, for training.encoders")
    line.add_argument("--entries", type=mapping, default={}, help="`modalities` of the config, JSON, for these")
    line.add_argument("--missing", type=mapping, default={}, help="training clips without a modality, JSON")
    line.add_argument("--replacements", type=pair, nargs="*", default=[], help="MODALITY=FILE of stage replacements")
    line.add_argument("--teachers", type=pair, nargs="*", default=[], help="NAME=FOLDER of {seed}/model.pt")
    line.add_argument("--target", choices=list(TARGETS), default=CLASSES, help="what the labels are")
    line.add_argument("--splits", type=Path, required=True, help="folder of train.csv, validation.csv, classes.csv")


def read(arguments: argparse.Namespace) -> Job:
    """Opens train.csv, validation.csv and the label column of classes.csv, and nothing else of the splits."""
    splits, folders = arguments.splits, dict(arguments.modalities)
    training = loop.TrainingOptions(**resolve(loop.TrainingOptions, arguments.training, "training"))
    where = device.resolve_device(training.device)
    training = replace(training, precision=_precision(training.precision, where))
    labels = read_table(splits / "classes.csv")["label"].tolist()
    tables = {name: dataset.read_split(splits / f"{name}.csv") for name in ("train", "validation")}
    everything = pd.concat(tables.values())
    learnt = decoded.read(arguments.entries, dict(arguments.decoded), training.encoders, everything)
    sources = {modality: dataset.read_source(folder, everything) for modality, folder in folders.items()}
    missing = Missing(**resolve(Missing, arguments.missing, "missing"))
    for name, table in tables.items():
        if table.empty:
            raise UserError(f"{splits / name}.csv holds no clip: more clips are needed, or other fractions")
    lacks = {name: _lacks(table, [*folders, *learnt]) for name, table in tables.items()}
    features = {
        name: {
            modality: dataset.read_features(folder, table, lacks[name].get(modality))
            for modality, folder in folders.items()
        }
        for name, table in tables.items()
    }
    shapes = {
        modality: shape_of(tuple(sources[modality]["axes"]), values, str(folders[modality]))
        for modality, values in features["train"].items()
    }
    _stand_in(features, lacks, shapes)
    features["train"] = missing.replace(features["train"], shapes, dict(arguments.replacements))
    axes = {name: tuple(source["axes"]) for name, source in sources.items()} | {
        n: tuple(one.modality.axes) for n, one in learnt.items()
    }
    augmentation.made(training.augment, axes)
    sources |= {name: one.source for name, one in learnt.items()}
    shapes |= {name: one.shape for name, one in learnt.items()}
    # Nobody forges features to resume a checkpoint: the quickest hash will do.
    target = arguments.target
    scale = dataset.scale_of(tables["train"]) if target == REGRESSION else (0.0, 1.0)
    clips, digest = {}, hashlib.sha1(usedforsecurity=False)
    for name, table in tables.items():
        values = dataset.label_values(table, labels, splits / f"{name}.csv", target, scale)
        taken = missing if name == "train" else None
        rows = features.pop(name) | {modality: one.rows(modality, table, taken) for modality, one in learnt.items()}
        whole = dataset.FeatureDataset(rows, values, lacks[name], axes)
        for part in (*whole.features.values(), whole.labels):
            digest.update(part.numpy().data.cast("B") if isinstance(part, Tensor) else part.digest())
        clips[name] = whole.to_device(where)
    return Job(
        model=arguments.model,
        options=arguments.options,
        balancing=arguments.balancing,
        teachers=dict(arguments.teachers),
        training=training,
        device=where,
        train=clips["train"],
        validation=clips["validation"],
        labels=labels,
        sources=sources,
        shapes=shapes,
        missing=missing,
        digest=digest.hexdigest(),
        target=target,
        scale=scale,
        encoders={name: one.learnt for name, one in learnt.items()},
    )


def _precision(asked: str, where: torch.device) -> str:
    if asked not in PRECISIONS:
        raise UserError(f"training.precision: expected one of {', '.join(PRECISIONS)}, got {asked!r}")
    if asked != "auto":
        return asked
    return "bfloat16" if where.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def _lacks(table: pd.DataFrame, modalities: Iterable[str]) -> dict[str, Tensor]:
    """Of the modalities that some clip of a split lacks, which clips do: (N,)."""
    found = {name: dataset.lacking(table, name) for name in modalities}
    return {name: lacks for name, lacks in found.items() if lacks.any()}


def _stand_in(
    features: dict[str, dict[str, Tensor]], lacks: dict[str, dict[str, Tensor]], shapes: Mapping[str, Shape]
) -> None:
    """Put the training clips' mean, in place, where a clip of any split lacks a modality."""
    for modality in {name for split in lacks.values() for name in split if name in shapes}:
        values = features["train"][modality]
        there = ~lacks["train"].get(modality, torch.zeros(len(values), dtype=torch.bool))
        mean = mean_of(shapes[modality], dataset.Pieces(values[there], BATCH)).to(values.dtype)
        for name, split in lacks.items():
            if modality in split:
                features[name][modality][split[modality]] = mean


def seed_groups(job: Job, seeds: Sequence[int]) -> Iterator[dict[int, Learner]]:
    """{seed: new model, in its balancing if it has one} of the seeds that are trained as one.

    On a CPU that is one: its time goes into products, which several seeds do not share, and a stacked convolution is
    a slow one there. On a GPU it goes into starting many small kernels, so all are: five seeds of a small model took
    half the time there (both measured by benchmarks/training.py). Each seed draws what it draws alone; a GPU rounds the
    products of a stack otherwise, so that losses are equal to seven digits at first and drift apart from there.
    """
    count = job.training.seeds_per_batch or (1 if job.device.type == "cpu" else len(seeds))
    fitted: Model | None = None
    for start in range(0, len(seeds), count):
        models: dict[int, Learner] = {}
        for seed in seeds[start : start + count]:
            models[seed] = _new(job, seed, fitted)
            fitted = unwrap(models[seed])
        if len(models) == 1 or ensemble.can_be_stacked(
            list(models.values()), *job.train.batch(slice(TRIED), job.device)
        ):
            yield models
        else:
            yield from ({seed: model} for seed, model in models.items())


def _new(job: Job, seed: int, fitted: Model | None) -> Learner:
    """A model as it is before its first step. fitted: another seed's, whose normalizers are the same."""
    torch.manual_seed(seed)
    outputs = outputs_of(job.target, job.labels)
    model = build(job.model, job.shapes, outputs, job.options, job.target)
    model.learn_through(job.encoders)
    model.to(job.device)
    if job.teachers and not model.takes_teachers:
        raise UserError(f"models.{job.model} takes no teachers")
    for name, folder in job.teachers.items():
        model.teachers[name] = _teacher(folder / str(seed) / "model.pt", job)
    if fitted:
        model.share_normalizer(fitted)
        model.share_solution(fitted)
    else:
        model.fit_normalizer({name: dataset.Pieces(job.train.present(name), BATCH) for name in job.train.features})
    model.name_classes(job.labels)
    model.initialise_from_teachers()
    # Last: what a method draws for itself leaves the model's own initial values as they are without it.
    return apply_balancing(model, job.balancing)


def _teacher(path: Path, job: Job) -> Model:
    trained = load_model(path)
    if trained.labels != job.labels:
        raise UserError(f"{path} was trained on other classes than its student's")
    for name in trained.model.modalities:
        if trained.sources[name] != job.sources.get(name):
            raise UserError(f"{path} was trained on other features of {name!r} than its student's")
    return trained.model.requires_grad_(False).to(job.device)
