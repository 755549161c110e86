"""One transformer over the steps of all modalities in one sequence. Source: the BalanceMLA paper, section 3.1.

Every step attends to those of every modality, and the mean of all is classified: a modality's share of the sequence is
its share of that mean, which is what the paper varies by `lengths` 1:1, 1:2 and 2:1.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from modalens.models._base import Features, Model
from modalens.models._networks import mlp_head
from modalens.models._sequences import Layer, encoders
from modalens.models._shapes import Shapes


class Joint(nn.Module):
    """{modality: (B, T_m, width)} -> (B, width), the modalities in alphabetical order."""

    def __init__(self, modalities: Sequence[str], width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.modalities = tuple(sorted(modalities))
        # Tells the steps of one modality from those of another; the paper does not say that it has one.
        self.embeddings = nn.Parameter(torch.empty(len(self.modalities), width))
        nn.init.normal_(self.embeddings, std=width**-0.5)
        self.layers = nn.Sequential(*(Layer(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, embeddings: Features) -> Tensor:
        steps = [embeddings[name] + self.embeddings[place] for place, name in enumerate(self.modalities)]
        joined: Tensor = self.norm(self.layers(torch.cat(steps, 1)))
        return joined.mean(1)


class JointTransformer(Model):
    def __init__(
        self,
        shapes: Shapes,
        classes: int,
        *,
        width: int = 256,
        layers: int = 6,
        own_layers: int = 0,
        heads: int = 8,
        dropout: float = 0.1,
        lengths: Mapping[str, int] | None = None,
        mask: Mapping[str, float] | None = None,
        hidden: Sequence[int] = (),
    ) -> None:
        """layers: over all steps. own_layers: over the steps of one modality before; none in the paper's text. The
        other options are those of `transformer`."""
        networks = encoders(
            shapes,
            width=width,
            layers=own_layers,
            heads=heads,
            dropout=dropout,
            lengths=lengths,
            mask=mask,
        )
        joined = Joint(list(networks), width, layers, heads, dropout)
        super().__init__(shapes, networks, joined, mlp_head(width, hidden, classes, dropout))
