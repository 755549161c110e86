"""What loading features once a job is worth: `modalens.train` beside a DataLoader that reads one clip at a time.

The usual way: a Dataset whose items are rows of HDF5 files, as float32, in a DataLoader, with one process for each seed
and its standardisation for nothing. Ours: one process for all seeds of a model. Same files, models, batches, number of
epochs and threads (one); the features are synthetic. Both are whole processes, imports included, one after the other.

A third route is ours as it does not choose by itself: on a CPU all seeds stacked, on a GPU (`--device cuda`) one after
the other.

On a machine that others use, compare seconds of processor. The limit is the ratio that would be left if everything but
the learning steps' arithmetic took no time at all: as many steps of the same model on a batch that is in memory.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from machine import ROOT, machine, timed
from torch.utils.data import DataLoader, Dataset

from modalens.models import build
from modalens.training import loop
from modalens.training.ensemble import Ensemble
from modalens.training.optimizer import AdamW
from modalens.utils import device, hdf5

SHAPES = {
    "audio": {"mel": 64, "time": 101},
    "video": {"time": 8, "channel": 2048},
}  # log-mel of a second, resnet50: those of the demo study
CLASSES = 31
SHARDS = 8
BATCH = 32
ROUTES = {"items, no workers": 0, "items, 2 workers": 2}
OTHER = {"cpu": ("seeds stacked", 0), "cuda": ("seeds one by one", 1)}  # and how many in a stack, 0 for all


def shapes(model: str) -> dict[str, dict[str, int]]:
    """What a model is given: `audio_only` is late fusion of that modality alone, as in a config."""
    return {name: shape for name, shape in SHAPES.items() if model in ("late_fusion", f"{name}_only")}


def study(root: Path, clips: int) -> None:
    """Features by shard and the splits of one task: 70 % for training, 10 % for validation."""
    draw = np.random.default_rng(0)
    names = [f"clip{number:06d}" for number in range(clips)]
    shard = np.arange(clips) % SHARDS
    for modality, shape in SHAPES.items():
        for number in range(SHARDS):
            made = {"encoder": "synthetic", "axes": list(shape)}
            with hdf5.write(root / "features" / modality / f"{number}.h5", made) as writer:
                for index in np.flatnonzero(shard == number):
                    writer.append(
                        names[index], draw.standard_normal(tuple(shape.values()), np.float32).astype(np.float16)
                    )
    labels = [f"class{number:02d}" for number in draw.integers(0, CLASSES, clips)]
    table = pd.DataFrame({"clip_id": names, "shard": shard, "group": names, "label": labels})
    (root / "splits").mkdir()
    ends = {"train": (0, 0.7), "validation": (0.7, 0.8)}
    for name, (first, last) in ends.items():
        table[int(first * clips) : int(last * clips)].to_csv(root / "splits" / f"{name}.csv", index=False)
    pd.DataFrame({"label": sorted(set(labels))}).to_csv(root / "splits" / "classes.csv", index=False)


class Items(Dataset):
    """One clip an item: its row of each modality's file as float32, and its class."""

    def __init__(self, root: Path, split: str, modalities: tuple[str, ...]) -> None:
        table = pd.read_csv(root / "splits" / f"{split}.csv")
        classes = pd.read_csv(root / "splits" / "classes.csv")["label"].tolist()
        self._root, self._modalities = root, modalities
        self._rows = [
            (row.shard, int(row.clip_id.removeprefix("clip")) // SHARDS, classes.index(row.label))
            for row in table.itertuples()
        ]
        self._files: dict[tuple[str, int], h5py.File] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], int]:
        shard, row, label = self._rows[index]
        features = {}
        for name in self._modalities:
            # Kept open: to open a file for each clip would be slower still.
            if (name, shard) not in self._files:
                self._files[name, shard] = h5py.File(self._root / "features" / name / f"{shard}.h5", "r")
            features[name] = torch.from_numpy(self._files[name, shard]["data"][row]).float()
        return features, label


def usual(root: Path, name: str, seed: int, epochs: int, workers: int, where: str) -> None:
    """Train one seed from a DataLoader."""
    torch.manual_seed(seed)
    model = build("late_fusion", shapes(name), CLASSES, {}).to(where)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2, fused=True)
    loaders = {
        split: DataLoader(
            Items(root, split, model.modalities),
            BATCH,
            shuffle=split == "train",
            num_workers=workers,
            pin_memory=where != "cpu",
        )
        for split in ("train", "validation")
    }

    def loss(features: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        features = {modality: values.to(where, non_blocking=True) for modality, values in features.items()}
        return model.loss(features, labels.to(where, non_blocking=True))["loss"]

    for _ in range(epochs):
        model.train()
        for features, labels in loaders["train"]:
            optimizer.zero_grad()
            loss(features, labels).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            losses = [loss(features, labels) for features, labels in loaders["validation"]]
        print(torch.stack(losses).mean().item())
    torch.save(model.state_dict(), root / "usual.pt")


def arithmetic(name: str, steps: int) -> float:
    """Seconds of processor of one seed's learning steps on a CPU, on one batch in memory as the features are stored."""
    device.set_deterministic(1)
    torch.manual_seed(0)
    stack = Ensemble([build("late_fusion", shapes(name), CLASSES, {})])
    optimizer = AdamW(stack, 1e-3, 1e-2)
    features = {modality: torch.randn(1, BATCH, *shape.values()).half() for modality, shape in shapes(name).items()}
    labels = torch.arange(BATCH).remainder(CLASSES).unsqueeze(0)
    began = time.process_time()
    for _ in range(steps):
        optimizer.step(loop.gradients(stack, features, labels)[0])
    return time.process_time() - began


def ours(root: Path, name: str, seeds: int, epochs: int, where: str, together: int) -> tuple[float, float]:
    training = {"epochs": epochs, "patience": 10**9, "batch_size": BATCH, "device": where, "seeds_per_batch": together}
    folder = root / "train" / name
    return timed(
        "-m", "modalens", "train", "--model", "late_fusion", "--training", json.dumps(training),
        "--seeds", *range(seeds),
        "--modalities", *(f"{modality}={root / 'features' / modality}" for modality in shapes(name)),
        "--splits", root / "splits", "--output", folder, "--record", folder / "record.json",
    )  # fmt: skip


def compared(root: Path, name: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a route; ratios are its time to ours."""
    steps = -(-int(0.7 * arguments.clips) // BATCH) * arguments.epochs
    limit = arithmetic(name, steps) * arguments.seeds
    settings = (root, name, arguments.seeds, arguments.epochs, arguments.device)
    seconds, used = ours(*settings, 0)
    other, together = OTHER[arguments.device]
    spent = {other: [ours(*settings, together or arguments.seeds)]}
    for route, workers in ROUTES.items():
        alone = (__file__, "--usual", root, "--models", name, "--epochs", arguments.epochs, "--workers", workers)
        alone += ("--device", arguments.device)
        spent[route] = [timed(*alone, "--seed", seed) for seed in range(arguments.seeds)]
    rows = []
    for route, processes in spent.items():
        wall, processor = (sum(parts) for parts in zip(*processes, strict=True))
        row = {"model": name, "route": route, "wall_s": wall, "processor_s": processor}
        row |= {"our_wall_s": seconds, "our_processor_s": used}
        row |= {"wall_ratio": wall / seconds, "processor_ratio": processor / used}
        rows.append(row | {"limit": processor / limit, "arithmetic_share_of_ours": limit / used})
    return rows


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--clips", type=int, default=2000, help="19000 for a study of the size of Kinetics-Sounds")
    line.add_argument("--epochs", type=int, default=2)
    line.add_argument(
        "--models", nargs="+", default=["audio_only", "late_fusion"], help="late_fusion, or MODALITY_only"
    )
    line.add_argument("--seeds", type=int, default=3)
    line.add_argument("--device", choices=sorted(OTHER), default="cpu")
    line.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "training.json")
    for hidden, kind in (("usual", Path), ("seed", int), ("workers", int)):
        line.add_argument(f"--{hidden}", type=kind, help=argparse.SUPPRESS)
    arguments = line.parse_args()
    torch.set_num_threads(1)
    if arguments.usual:
        usual(
            arguments.usual, arguments.models[0], arguments.seed, arguments.epochs, arguments.workers, arguments.device
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        study(Path(folder), arguments.clips)
        rows = [row for name in arguments.models for row in compared(Path(folder), name, arguments)]
    settings = {name: getattr(arguments, name) for name in ("clips", "epochs", "models", "seeds", "device")}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), **settings, "rows": rows}
    arguments.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(content["machine"])
    print(f"{arguments.clips} clips, {arguments.epochs} epochs, {arguments.seeds} seeds a model, one thread")
    print(pd.DataFrame(rows).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
