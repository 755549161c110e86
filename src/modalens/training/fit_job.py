"""Stage `train`: one model on one task, all its seeds from one reading of the features.

Reads the training and validation splits, never the test one.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from modalens.balancing import Balancing, Learner, unwrap
from modalens.models import Model, TrainedModel
from modalens.stats import calibration
from modalens.training import batches, dataset, dynamics, ensemble, history, loop, meter, optimizer
from modalens.training.checkpoint import Checkpoint
from modalens.training.setup import BATCH, Job
from modalens.utils import files

log = logging.getLogger(__name__)


def train_group(
    job: Job,
    learners: dict[int, Learner],
    output: Path,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[int, history.History]:
    """Train models in place; write {seed}/model.pt and {seed}/history.csv, and leave a checkpoint beside the first."""
    checkpoint = Checkpoint(checkpoint_path(output, next(iter(learners))), _key(job, learners))
    found = loop.fit(
        list(learners.values()), list(learners), job.train, job.validation, job.training, checkpoint, on_epoch
    )
    histories = dict(zip(learners, found, strict=True))
    for seed, learner in learners.items():
        model = unwrap(learner).eval()
        means, stds = embedding_statistics(model, job.train, job.device)
        best = histories[seed][history.best_epoch(histories[seed]) - 1]
        temperature = best[history.TEMPERATURE]
        trained = TrainedModel(model, job.labels, job.sources, means, stds, method(learner), temperature, job.scale)
        trained.save(output / str(seed) / "model.pt")
        with files.atomic(output / str(seed) / "history.csv") as hidden:
            pd.DataFrame(histories[seed]).astype({"epoch": int, "steps": int, "still_improving": int}).to_csv(
                hidden, index=False
            )
    return histories


@torch.no_grad()
def embedding_statistics(
    model: Model, clips: dataset.FeatureDataset, where: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean and standard deviation of each embedding dimension over the clips that have the modality: {modality: (D_m,)}
    each, float32."""
    parts: dict[str, list[Tensor]] = {name: [] for name in model.modalities}
    for start in range(0, len(clips), BATCH):
        features, _ = clips.batch(slice(start, start + BATCH), where)
        for name, embedding in model.embed(features).items():
            parts[name].append(embedding.cpu().double())
    embeddings = {name: torch.cat(pieces) for name, pieces in parts.items()}
    embeddings |= {name: embeddings[name][~lacks.cpu()] for name, lacks in clips.lacks.items() if name in embeddings}
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
    first = unwrap(learner)
    settings = [job.model, first.options, method(learner), asdict(job.training), list(learners), job.labels, job.digest]
    settings += [job.target, torch.__version__]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name in sorted(first.teachers):
        for seed in learners:
            digest.update((job.teachers[name] / str(seed) / "model.pt").read_bytes())
    for module in sources_of(learner):
        digest.update(Path(str(sys.modules[module].__file__)).read_bytes())
    return digest.hexdigest()


def sources_of(learner: Learner) -> list[str]:
    """Modules whose code decides the trained parameters: those of its parts and their classes, and the loop's."""
    modules = {base.__module__ for part in learner.modules() for base in type(part).__mro__}
    learning = {
        module.__name__ for module in (loop, batches, dynamics, meter, ensemble, optimizer, history, calibration)
    }
    return sorted(learning | {name for name in modules if name.startswith("modalens.")})
