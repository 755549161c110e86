"""Training data for S stacked seeds: shared features, per-seed shuffling, per-seed teacher targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from modalens.balancing import Learner
from modalens.training.dataset import FeatureDataset
from modalens.utils.tensors import Tensors, index_seeds


@dataclass
class SeedBatches:
    """Clips of a split for S seeds. targets: {name: (S, N, ...)}, by each seed's own teachers."""

    clips: FeatureDataset
    targets: Tensors
    device: torch.device

    @classmethod
    @torch.no_grad()
    def from_models(cls, models: Sequence[Learner], clips: FeatureDataset, size: int) -> Self:
        """Teachers are run here, once per clip instead of once per epoch. size: clips at once; changes no result."""
        device = next(models[0].parameters()).device
        answers: list[list[Tensors]] = [[] for _ in models]
        for start in range(0, len(clips), size):
            features, _ = clips.batch(slice(start, start + size), device)
            for own, model in zip(answers, models, strict=True):
                own.append(model.targets(features))
            if not answers[0][0]:
                break
        joined = [{name: torch.cat([answer[name] for answer in own]) for name in own[0]} for own in answers]
        return cls(clips, {name: torch.stack([own[name] for own in joined]) for name in joined[0]}, device)

    def training_batch(self, rows: Tensor) -> tuple[Tensors, Tensor]:
        """rows: (S, B), each seed's own clips -> {name: (S, B, ...)}, labels (S, B), of tags (S, B, tags)."""
        features, labels = self.clips.batch(rows.flatten(), self.device)
        first = torch.arange(len(rows), device=rows.device).unsqueeze(1) * len(self.clips)
        flat = {name: values.flatten(0, 1) for name, values in self.targets.items()}
        features |= index_seeds(flat, (first + rows).flatten().to(self.device))
        return {name: values.unflatten(0, rows.shape) for name, values in features.items()}, labels.unflatten(
            0, rows.shape
        )

    def shared_batch(self, rows: slice, seeds: int) -> tuple[Tensors, Tensor]:
        """The same clips for all seeds: {name: (S, B, ...)}, labels (S, B)."""
        features, labels = self.clips.batch(rows, self.device)
        wide = {name: values.expand(seeds, *values.shape) for name, values in features.items()}
        return wide | {name: values[:, rows] for name, values in self.targets.items()}, labels.expand(
            seeds, *labels.shape
        )
