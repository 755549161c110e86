"""What each measure costs, and how that grows with the test clips.

    PYTHONPATH=src python benchmarks/measures.py

Of one joint model of two modalities and the two unimodal ones, five seeds, three classes, one replacement, 2,000
bootstrap replicates: processor time of one call on one thread. Those of trained models ask late fusion of a log-mel and
eight ResNet50 vectors, made small, three times as many training as test clips. Ratios are to leave_one_out at the same
size, growth is the time at a size over that at half of it; each the median over rounds, all measures once a round.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from machine import machine

from modalens.evaluation.networks import TorchNetwork
from modalens.measures import Clips
from modalens.models import build
from modalens.plugins import registry
from modalens.plugins.options import resolve

SHAPES = {"audio": {"mel": 64, "time": 101}, "video": {"time": 8, "channel": 256}}
SEEDS = (0, 1, 2, 3, 4)
LABELS = ["a", "b", "c"]
EPOCHS = 60
MODELS = {"late_fusion": ("audio", "video"), "audio_only": ("audio",), "video_only": ("video",)}


def predictions(clips: int) -> pd.DataFrame:
    """Of all three models: each modality names the class rightly in 70 of 100 clips, both together in 85."""
    rng = np.random.default_rng(0)
    truth = rng.integers(len(LABELS), size=clips)
    right = {"": 1 / 3, "audio": 0.7, "video": 0.7, "audio,video": 0.85}
    names = np.array([f"clip{index:06d}" for index in range(clips)])
    tables = []
    for model, modalities in MODELS.items():
        full = ",".join(modalities)
        for seed in SEEDS:
            for kept in [one for one in right if set(one.split(",")) - {""} <= set(modalities)]:
                named = np.where(rng.random(clips) < right[kept], truth, rng.integers(len(LABELS), size=clips))
                logits = rng.normal(0, 0.5, (clips, len(LABELS)))
                logits[np.arange(clips), named] += 2
                values = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
                table = pd.DataFrame(values, columns=[f"p_{label}" for label in LABELS])
                table = table.assign(model=model, clip_id=names, group=names, seed=seed, coalition=kept)
                table["replacement"] = "" if kept == full else "mean@input"
                table["label"], table["predicted"] = (np.array(LABELS)[one] for one in (truth, values.argmax(1)))
                tables.append(table.assign(log_probability=np.log(values[np.arange(clips), truth])))
    return pd.concat(tables, ignore_index=True)


def histories() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    columns = (
        "validation_accuracy",
        *(f"{kind}.{name}" for kind in ("validation_accuracy", "gradient_norm") for name in SHAPES),
    )
    rows = [
        {"model": model, "seed": seed, "epoch": epoch, "steps": 10 * epoch, "validation_chance": 0.3}
        | {column: rng.random() for column in columns}
        for model in MODELS
        for seed in SEEDS
        for epoch in range(1, EPOCHS + 1)
    ]
    return pd.DataFrame(rows)


@dataclass
class Studied:
    """A model as a measure is given it, drawn instead of trained."""

    name: str
    modalities: tuple[str, ...]
    splits: dict[str, Clips]
    seeds: tuple[int, ...] = SEEDS

    @property
    def shapes(self) -> dict[str, Any]:
        return {name: SHAPES[name] for name in self.modalities}

    def network(self, seed: int) -> TorchNetwork:
        torch.manual_seed(seed)
        return TorchNetwork(build("late_fusion", self.shapes, len(LABELS), {}).eval(), self.modalities)

    def clips(self, split: str = "test") -> Clips:
        return self.splits[split]

    def stand_ins(self, _kind: str, _seed: int) -> dict[str, Any]:
        return {name: self.splits["train"].features[name].mean(0, keepdims=True) for name in self.modalities}


def models(clips: int) -> list[Studied]:
    splits = {}
    for split, count in (("train", 3 * clips), ("validation", clips // 2), ("test", clips)):
        rng = np.random.default_rng(len(split))
        truth = rng.integers(len(LABELS), size=count)
        names = [f"{split}{index:06d}" for index in range(count)]
        table = pd.DataFrame({"clip_id": names, "group": names, "label": np.array(LABELS)[truth]})
        features = {
            name: rng.standard_normal((count, *shape.values()), dtype=np.float32) for name, shape in SHAPES.items()
        }
        features["video"][np.arange(count), :, truth] += 1
        splits[split] = Clips(
            table, LABELS, truth, {name: values.astype(np.float16) for name, values in features.items()}
        )
    return [Studied(name, modalities, splits) for name, modalities in MODELS.items()]


def calls(names: list[str], clips: int) -> dict[str, Callable[[], Any]]:
    makers = {"predictions": lambda: predictions(clips), "history": histories, "model": lambda: models(clips)}
    given: dict[str, Any] = {}
    found = {}
    for name in names:
        kind = registry.load("measures", name)
        if kind.needs not in given:
            given[kind.needs] = makers[kind.needs]()
        measure = kind(**resolve(kind, {"bootstrap": 2000}, name))
        found[name] = lambda measure=measure, needs=kind.needs: measure(given[needs])
    return found


def seconds(names: list[str], sizes: list[int], rounds: int) -> dict[str, dict[int, list[float]]]:
    found: dict[str, dict[int, list[float]]] = {name: {size: [] for size in sizes} for name in names}
    for size in sizes:
        prepared = calls(names, size)
        for turn in range(-1 if size == sizes[0] else 0, rounds):  # once to warm up
            for name, call in prepared.items():
                began = time.process_time()
                call()
                if turn >= 0:
                    found[name][size].append(time.process_time() - began)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # What compares models of several lengths costs what coalition_values does; one at the input, what encoders do.
    others = ("length_contribution", "mm_shap_input")
    names = [name for name in registry.names("measures") if name not in others]
    parser.add_argument("--measures", nargs="+", default=names)
    parser.add_argument("--clips", type=int, nargs="+", default=[500, 1000, 2000])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/measures.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = sorted({"leave_one_out", *arguments.measures})
    taken = seconds(names, arguments.clips, arguments.rounds)
    rows = []
    for name in names:
        medians = [float(np.median(taken[name][size])) for size in arguments.clips]
        unit = [float(np.median(taken["leave_one_out"][size])) for size in arguments.clips]
        growth = [None, *(later / max(earlier, 1e-9) for earlier, later in itertools.pairwise(medians))]
        for size, median, one, grown in zip(arguments.clips, medians, unit, growth, strict=True):
            rows.append({"measure": name, "clips": size, "seconds": median, "ratio": median / one, "growth": grown})
    print(pd.DataFrame(rows).round(2).to_string(index=False))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
