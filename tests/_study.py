"""A study of 60 tiny clips in three shards, whose picture tells the label and whose sound is noise."""

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from modalens.evaluation.baselines import BLANK, NOISES
from modalens.stages import evaluate, train
from modalens.utils import cli, hdf5

SHAPES = {"audio": {"mel": 8, "time": 16}, "video": {"time": 2, "channel": 6}}
ENCODERS = {"audio": "log_mel", "video": "resnet50"}
LABELS = ["007", "cat", "dog"]  # text, also where it looks like a number
SMALL = {"spectrogram_size": 8, "sequence_size": 6, "step_size": 8, "hidden": [8, 8], "channels": 2}
TRAINING = {"epochs": 12, "batch_size": 8, "learning_rate": 0.01, "device": "cpu"}


def attributes(modality: str) -> dict[str, object]:
    made = {"encoder": ENCODERS[modality], "axes": list(SHAPES[modality])}
    return {**made, "options": {}, "preprocessing": {"form": modality}, "weights": "none"}


def make(root: Path, shuffle: int = 0) -> Path:
    """Features, splits and replacements under root. shuffle: seed of the order of rows inside each shard's file."""
    draw = np.random.default_rng(0)
    names = [f"clip-{index:02d}" for index in range(60)]
    classes = draw.integers(0, 3, 60)
    shards = draw.integers(0, 3, 60)
    rows = {name: draw.normal(size=(60, *shape.values())).astype(np.float16) for name, shape in SHAPES.items()}
    rows["video"][np.arange(60), :, classes] += 4
    for modality, values in rows.items():
        for shard in range(3):
            order = np.random.default_rng([shuffle, shard, len(modality)]).permutation(np.flatnonzero(shards == shard))
            with hdf5.write(root / "features" / modality / f"{shard}.h5", attributes(modality)) as writer:
                for index in order:
                    writer.append(names[index], values[index])
        with hdf5.write(root / "replacements" / f"{modality}.h5", attributes(modality)) as writer:
            for name in (BLANK, *NOISES):
                writer.append(name, draw.normal(size=tuple(SHAPES[modality].values())).astype(np.float16))
    labels = [LABELS[index] for index in classes]
    table = pd.DataFrame(
        {"clip_id": names, "shard": shards, "group": [f"g{i // 2}" for i in range(60)], "label": labels}
    )
    (root / "splits").mkdir(parents=True)
    for split, part in {"train": table[:36], "validation": table[36:46], "test": table[46:]}.items():
        part.sample(frac=1, random_state=shuffle).to_csv(root / "splits" / f"{split}.csv", index=False)
    pd.DataFrame({"label": LABELS, "train": 1}).to_csv(root / "splits" / "classes.csv", index=False)
    return root


def train_line(
    root: Path,
    model: str = "late_fusion",
    seeds: Sequence[int] = (0,),
    options: dict[str, object] | None = None,
    output: str = "train",
    more: Sequence[str] = (),
    modalities: Sequence[str] = tuple(SHAPES),
    **training: object,
) -> list[str]:
    """A model called `audio_only` is late fusion of that modality, as in a config."""
    only = model.removesuffix("_only") if model.endswith("_only") else ""
    line = ["--model", "late_fusion" if only else model, "--options", json.dumps(SMALL if options is None else options)]
    line += ["--training", json.dumps(TRAINING | training), "--seeds", *map(str, seeds)]
    line += [
        "--modalities",
        *(f"{name}={root}/features/{name}" for name in ([only] if only else modalities)),
        "--splits",
        f"{root}/splits",
    ]
    line += ["--output", f"{root}/{output}/{model}", "--key", json.dumps({"task": "t", "model": model})]
    return [*line, "--record", f"{root}/{output}/{model}/record.json", *more]


def trained(root: Path, *arguments: object, **options: object) -> Path:
    parsed = cli.parse(train, train_line(root, *arguments, **options))  # type: ignore[arg-type]
    train.main(parsed)
    return Path(parsed.output)


def evaluated(root: Path, models: Path, seeds: Sequence[int] = (0,), *more: str) -> pd.DataFrame:
    line = ["--models", str(models), "--seeds", *map(str, seeds), "--test", f"{root}/splits/test.csv", "--modalities"]
    line += [f"{name}={root}/features/{name}" for name in SHAPES]
    line += ["--replacements", *(f"{name}={root}/replacements/{name}.h5" for name in SHAPES)]
    line += ["--output", f"{root}/out", "--device", "cpu", *more]
    arguments: Namespace = cli.parse(evaluate, line)
    evaluate.main(arguments)
    return pd.read_parquet(root / "out" / f"{models.name}.parquet")
