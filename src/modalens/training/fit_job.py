"""Stage `train`: one model on one task, all its seeds from one reading of the features.

Reads the training and validation splits, never the test one.
"""

import argparse
import hashlib
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from modalens.balancing._base import Balancing, Learner, plain
from modalens.training.checkpoint import Checkpoint
from modalens.utils.cli import atomic, mapping, parser, run
from modalens.training.setup import BATCH, Job, add_arguments, groups, read
from modalens.models._base import Model, Trained
from modalens.utils import device
from modalens.training import loop, meter, ensemble, batches, dataset
from modalens.tracking import records

log = logging.getLogger(__name__)

CHOSEN = ("options", "training", "balancing")  # arguments that a search may replace


def train_group(job: Job, learners: dict[int, Learner], output: Path) -> dict[int, loop.History]:
    """Train models in place; write {seed}/model.pt and {seed}/history.csv, and leave a checkpoint beside the first."""
    checkpoint = Checkpoint(checkpoint_path(output, next(iter(learners))), _key(job, learners))
    found = loop.fit(list(learners.values()), list(learners), job.train, job.validation, job.training, checkpoint)
    histories = dict(zip(learners, found, strict=True))
    for seed, learner in learners.items():
        model = plain(learner).eval()
        means, stds = embedding_statistics(model, job.train, job.device)
        trained = Trained(model, job.labels, job.sources, means, stds, method(learner))
        trained.save(output / str(seed) / "model.pt")
        with atomic(output / str(seed) / "history.csv") as hidden:
            pd.DataFrame(histories[seed]).astype({"epoch": int}).to_csv(hidden, index=False)
    return histories


@torch.no_grad()
def embedding_statistics(
    model: Model, clips: dataset.Clips, where: torch.device
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


def method(learner: Learner) -> dict[str, Any]:
    """{} or {name of its balancing: options, defaults written out}."""
    return {learner.method: learner.options} if isinstance(learner, Balancing) else {}


def checkpoint_path(output: Path, seed: int) -> Path:
    return output / str(seed) / "checkpoint.pt"


def _key(job: Job, learners: dict[int, Learner]) -> str:
    """Digest of all that decides the result of these seeds, code included."""
    learner = next(iter(learners.values()))
    first = plain(learner)
    settings = [job.model, first.options, method(learner), asdict(job.training), list(learners), job.labels, job.digest]
    settings += [torch.__version__]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name in sorted(first.teachers):
        for seed in learners:
            digest.update((job.teachers[name] / str(seed) / "model.pt").read_bytes())
    for module in sources_of(learner):
        digest.update(Path(str(sys.modules[module].__file__)).read_bytes())
    return digest.hexdigest()


def sources_of(learner: Learner) -> list[str]:
    """Modules whose code decides what it becomes: those of its parts and their classes, and the loop's."""
    modules = {base.__module__ for part in learner.modules() for base in type(part).__mro__}
    learning = {module.__name__ for module in (loop, batches, meter, ensemble)}
    return sorted(learning | {name for name in modules if name.startswith("modalens.")})


def _run(
    job: Job, learner: Learner, seed: int, folder: Path, history: list[dict[str, float]], key: dict[str, Any]
) -> records.Run:
    model, balancing = plain(learner), method(learner)
    best = history[loop.best_epoch(history) - 1]
    metrics = {f"best_{name}" if name == "epoch" else name: value for name, value in best.items() if name != "seconds"}
    # "variant": MLflow's compare view opens on the first params that differ, in alphabetical order; model, seed and
    # task are to be those.
    params = {f"variant.{name}": value for name, value in model.options.items()}
    params["variant.balancing"] = next(iter(balancing), "none")
    for options in balancing.values():
        params |= {f"variant.balancing.{name}": value for name, value in options.items()}
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


def _settled(arguments: argparse.Namespace) -> argparse.Namespace:
    """With the settings that a search has chosen, where there was one."""
    if arguments.chosen:
        chosen = json.loads(arguments.chosen.read_text(encoding="utf-8"))
        vars(arguments).update({name: chosen[name] for name in CHOSEN})
    return arguments


def main(arguments: argparse.Namespace) -> None:
    device.repeatable(arguments.threads)
    job = read(_settled(arguments))
    runs = []
    for learners in groups(job, arguments.seeds):
        histories = train_group(job, learners, arguments.output)
        for seed, learner in learners.items():
            done = _run(job, learner, seed, arguments.output / str(seed), histories[seed], arguments.key)
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
    add_arguments(line)
    line.add_argument("--chosen", type=Path, help="JSON file with what takes the place of the three above")
    line.add_argument("--seeds", type=int, nargs="+", required=True)
    line.add_argument("--output", type=Path, required=True, help="folder that gets {seed}/model.pt")
    line.add_argument("--key", type=mapping, default={}, help="what the runs are called, JSON")
    line.add_argument("--threads", type=int, default=1)
    line.add_argument("--record", type=Path, required=True)
    return line


if __name__ == "__main__":
    run(main, command_line())
