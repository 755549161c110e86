"""Studies with a planted answer: predictions whose accuracy is known for every set of kept modalities."""

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from modalens.config import modalities
from modalens.utils import hdf5

MODALITIES = {
    name: modalities.resolve(name, encoder) for name, encoder in (("audio", "log_mel"), ("video", "resnet50"))
}
REPLACEMENTS = ["blank@input", "gaussian@input", "mean@fusion"]


def predictions(
    accuracies: Mapping[str, float],
    classes: list[str],
    groups: int = 40,
    clips: int = 3,
    seeds: int = 3,
    seed: int = 0,
    replacements: list[str] = REPLACEMENTS,
) -> pd.DataFrame:
    """accuracies: kept modalities ("audio,video") -> probability of the right answer; the longest key is the full.

    One draw per clip and seed is shared by all conditions, as when one model sees the same clip with less and less.
    """
    rng = np.random.default_rng(seed)
    full = max(accuracies, key=len)
    count = groups * clips
    label = rng.permutation(np.arange(count) % len(classes))
    frames = []
    for number in range(seeds):
        luck = rng.random(count)
        wrong = (label + rng.integers(1, len(classes), count)) % len(classes)
        for replacement in ["", *replacements]:
            for kept in [full] if not replacement else [key for key in accuracies if key != full]:
                right = luck < accuracies[kept]
                sure = np.where(right, 0.5 + 0.5 * accuracies[kept], 0.5 * (1 - accuracies[kept])).clip(0.01, 0.99)
                frames.append(
                    pd.DataFrame(
                        {
                            "clip_id": [f"clip{index:05d}" for index in range(count)],
                            "group": [f"group{index // clips:05d}" for index in range(count)],
                            "seed": number,
                            "condition": _condition(full, kept, replacement),
                            "replacement": replacement,
                            "coalition": kept,
                            "label": np.array(classes)[label],
                            "predicted": np.array(classes)[np.where(right, label, wrong)],
                            "log_probability": np.log(sure),
                        }
                    )
                )
    return pd.concat(frames, ignore_index=True)


def _condition(full: str, kept: str, replacement: str) -> str:
    kind, _, stage = replacement.partition("@")
    gone = sorted(set(full.split(",")) - set(kept.split(",")))
    suffix = f"@{stage}" if stage == "fusion" else ""
    return ",".join(f"{name}={kind}{suffix}" for name in gone) or "full"


def write_study(
    root: Path,
    tasks: Mapping[str, Mapping[str, Mapping[str, float]]],
    classes: list[str],
    answers: dict[str, object] | None = None,
    seeds: int = 5,
    lost: int = 4,
    trained: bool = True,
    **sizes: int,
) -> Path:
    """A study folder as the other stages leave it, and its config beside it. tasks: task -> model -> accuracies."""
    rng = np.random.default_rng(7)
    for index, (task, models) in enumerate(tasks.items()):
        (root / "evaluate" / task).mkdir(parents=True)
        for model, accuracies in models.items():
            table = predictions(accuracies, classes, seeds=seeds, seed=index, **sizes)
            table.to_parquet(root / "evaluate" / task / f"{model}.parquet")
            for seed in range(seeds) if trained else ():
                _history(root / "train" / task / model / str(seed) / "history.csv", accuracies, rng)
        _splits(root / "splits" / task, classes, lost)
    _statuses(root, lost)
    if answers is not None:
        (root / "manifest").mkdir()
        (root / "manifest" / "answers.json").write_text(json.dumps(answers))
    names = list(next(iter(tasks.values())))
    config = {
        "study": root.name,
        "results": str(root.parent),
        "dataset": {"name": "known_answer"},
        "tasks": list(tasks),
        "modalities": MODALITIES,
        "models": {name: {} for name in names},
        "seeds": list(range(seeds)),
        "evaluate": {"replacements": REPLACEMENTS},
        "relevance": {"measures": {"leave_one_out": {}, "shapley": {}}, "bootstrap": 200, "confidence": 0.95},
        "report": {"title": "A planted study", "model": "late_fusion"},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return root


def _history(path: Path, accuracies: Mapping[str, float], rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True)
    epoch = np.arange(1, 21)
    top = accuracies[max(accuracies, key=len)]
    rise = (1 - np.exp(-epoch / 4)) + rng.normal(0, 0.02, len(epoch))
    history = {
        "epoch": epoch,
        "train_loss": 1.1 - top * rise,
        "validation_loss": 1.1 - 0.9 * top * rise,
        "validation_accuracy": (0.33 + (top - 0.33) * rise).clip(0, 1),
        "train_accuracy": (0.35 + (top - 0.33) * rise).clip(0, 1),
        "seconds": 0.5,
    }
    pd.DataFrame(history).to_csv(path, index=False)


def _splits(folder: Path, classes: list[str], lost: int) -> None:
    folder.mkdir(parents=True)
    rows = []
    for split, clips in (("train", 140), ("validation", 20), ("test", 40)):
        rows += [(split, label, "", "", clips) for label in classes]
        if lost:
            rows += [(split, classes[0], "no_audio", "waveforms", lost), (split, classes[-1], "damaged", "clips", lost)]
    columns = ["split", "label", "cause", "stage", "clips"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "attrition.csv", index=False)


def _statuses(root: Path, lost: int) -> None:
    for stage, decoder in (("clips", None), ("frames", "decord"), ("waveforms", "pyav")):
        (root / stage).mkdir()
        table = pd.DataFrame({"clip_id": [f"clip{index:05d}" for index in range(60)], "status": "ok", "cause": ""})
        table.loc[: lost - 1, ["status", "cause"]] = ["failed", "damaged"]
        table["detail"] = ""
        if decoder:
            table["decoder"], table["seconds"] = decoder, 0.05
        table.to_csv(root / stage / "0.csv", index=False)
    for modality, weights in (("video", "untrained seed 0"), ("audio", "none: no weights")):
        made = {"encoder": MODALITIES[modality]["encoder"], "weights": weights}
        with hdf5.write(root / "features" / modality / "0.h5", made) as writer:
            writer.append("clip00000", np.zeros(2, np.float16))


def answers_of(accuracies: Mapping[str, float]) -> dict[str, object]:
    """answers.json of one task with two modalities, whose Bayes accuracies are the planted ones."""
    none, audio, video = accuracies[""], accuracies["audio"], accuracies["video"]
    full = accuracies["audio,video"]
    values = {"audio": (audio - none + full - video) / 2, "video": (video - none + full - audio) / 2}
    share = {name: value / (full - none) for name, value in values.items()}
    return {
        "bayes_accuracy": dict(accuracies),
        "shapley_accuracy": values,
        "share": share,
        "description": "Planted.",
        "dominant": max(share, key=share.__getitem__),
    }


def subsets(modalities: list[str]) -> list[str]:
    names = sorted(modalities)
    return [",".join(subset) for size in range(len(names) + 1) for subset in combinations(names, size)]
