"""A transformer a modality, the means of their steps joined and classified. Source: the BalanceMLA paper, sections 3.1
and 4.1.2: 6 layers, 8 heads, dropout 0.1.

On one modality, the unimodal transformers; on several, the paper's concatenation baseline, or any other fusion. The
paper's sequences are HuBERT and VGG vectors; here they are what the study's encoders give.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from modalens.fusions import build
from modalens.models._base import Features, Model
from modalens.models._networks import mlp_head
from modalens.models._pretrained import take_over
from modalens.models._sequences import encoders
from modalens.models._shapes import Shapes


class Transformer(Model):
    takes_teachers = True

    def __init__(
        self,
        shapes: Shapes,
        classes: int,
        *,
        width: int = 256,
        layers: int = 6,
        heads: int = 8,
        dropout: float = 0.1,
        lengths: Mapping[str, int] | None = None,
        mask: Mapping[str, float] | None = None,
        hidden: Sequence[int] = (),
        fusion: str = "concat",
        fusion_options: Mapping[str, Any] | None = None,
    ) -> None:
        """width: of a step's vector, a multiple of heads; ours, as
        are the head's hidden sizes. lengths: {modality: steps} that its sequence is averaged to. mask: {modality: share
        of its channels} that is hidden, another band each time while learning, the middle one in evaluation.
        fusion: any that serves the intermediate stage.
        """
        networks = encoders(
            shapes,
            width=width,
            layers=layers,
            heads=heads,
            dropout=dropout,
            lengths=lengths,
            mask=mask,
        )
        joined = build(fusion, dict.fromkeys(networks, width), fusion_options)
        super().__init__(shapes, networks, joined, mlp_head(joined.size, hidden, classes, dropout))

    def initialise_from_teachers(self) -> None:
        """Go on from unimodal transformers of the study, where they are its teachers."""
        take_over(self)

    def embed(self, features: Features) -> dict[str, Tensor]:
        """(B, width) each: the mean over its steps."""
        return {name: steps.mean(1) for name, steps in super().embed(features).items()}
