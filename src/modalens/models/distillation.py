"""A small student taught by the trained experts. Source: seed paper, section 3.2.

Student: one fully connected layer per modality, concatenated, classified. Loss: cross entropy + sum over teachers of
KL(teacher || student). With a linear classifier the logits are a sum of one function per modality, which cannot
represent a label that needs both at once (a sum modulo C): give `hidden` sizes for that.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from modalens.fusions import build
from modalens.models._base import Features, Model
from modalens.models._networks import CellsNetwork, MeanNetwork, PooledLayer, StepLayer, mlp_head, sizes
from modalens.models._shapes import Shapes, is_spectrogram
from modalens.utils.errors import UserError

TAUGHT = "taught by "


class Distillation(Model):
    takes_teachers = True
    targets_learnt = ("classes",)
    needs_teachers = True

    def __init__(
        self,
        shapes: Shapes,
        classes: int,
        *,
        spectrogram_size: int = 512,
        sequence_size: int = 400,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        temperature: float = 1.0,
        weights: Mapping[str, float] | None = None,
        standardise: bool = False,
        fusion: str = "concat",
        fusion_options: Mapping[str, Any] | None = None,
    ) -> None:
        """hidden: layers between concatenation and logits, none in the paper. weights: by teacher's name, 1 if absent.

        temperature softens teachers and student alike in the KL terms; the terms are not rescaled by its square. The
        paper gives neither it nor weights: the plain sum is 1 and 1. The student's sizes are the experts', also ours.
        fusion: any of fusions/ that serves the intermediate stage; the paper's is concat.

        standardise: cells of a spectrogram are standardised over the training clips before the layer, and no ReLU
        follows it, as with `convolution: false` of late fusion: for a few hundred clips of real sound.
        """
        spectrogram: Any = partial(CellsNetwork if standardise else PooledLayer, size=spectrogram_size)
        vectors: Any = partial(StepLayer, size=sequence_size) if sequence_size else MeanNetwork
        networks = {
            name: (spectrogram if is_spectrogram(shapes[name]) else vectors)(shapes[name]) for name in sorted(shapes)
        }
        joined = build(fusion, sizes(networks), fusion_options)
        super().__init__(shapes, networks, joined, mlp_head(joined.size, hidden, classes, dropout))
        self.temperature = temperature
        self.weights = dict(weights or {})

    @torch.no_grad()
    def targets(self, features: Features) -> dict[str, Tensor]:
        """The teachers' logits, (B, classes) each. They are frozen: a clip's never change."""
        return {TAUGHT + name: teacher(features) for name, teacher in self.teachers.items()}

    def loss(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """Teachers see the same clips; without them there is nothing to distil: raises UserError."""
        if not self.teachers:
            raise UserError("models.distillation needs teachers, names of trained models: teachers: [audio_only, ...]")
        if strange := set(self.weights) - set(self.teachers):
            raise UserError(f"models.distillation.weights: {strange.pop()!r} is no teacher")
        terms = super().loss(features, labels)
        student = (terms["logits"] / self.temperature).log_softmax(1)
        missing = any(TAUGHT + name not in features for name in self.teachers)
        given = {**features, **self.targets(features)} if missing else features
        for name in self.teachers:
            taught = (given[TAUGHT + name] / self.temperature).log_softmax(1)
            # Not functional.kl_div: vmap, which trains several seeds at once, would loop over it.
            divergence = (taught.exp() * (taught - student)).sum(1).mean()
            terms["loss"] = terms["loss"] + self.weights.get(name, 1.0) * divergence
        return terms
