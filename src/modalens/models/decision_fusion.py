"""Decision-level fusion: one expert per modality, only their decisions meet. Source: Kittler et al. 1998.

The experts are the unimodal models: same sub-network, same head. Each learns from the label by itself, as if alone; a
rule then combines their class distributions. So nothing that takes two modalities at once can be learnt.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from modalens.fusions import get
from modalens.models._base import Features, Model
from modalens.models._networks import mlp_head, sizes, unimodal_networks
from modalens.models._ordered import ordered
from modalens.models._shapes import Shapes


class DecisionFusion(Model):
    head: nn.ModuleDict
    targets_learnt = ("classes",)

    def __init__(
        self,
        shapes: Shapes,
        classes: int,
        *,
        spectrogram_size: int = 512,
        channels: int = 16,
        sequence_size: int = 400,
        step_size: int = 128,
        sequences: Mapping[str, str] | None = None,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.0,
        rule: str = "average",
    ) -> None:
        """rule: a fusion that serves the late stage: average, max, product, vote. The others are late_fusion's."""
        networks = unimodal_networks(
            shapes,
            spectrogram_size=spectrogram_size,
            channels=channels,
            sequence_size=sequence_size,
            step_size=step_size,
        )
        networks |= ordered(shapes, sequences, sequence_size=sequence_size, step_size=step_size)
        heads = nn.ModuleDict(
            {name: mlp_head(size, hidden, classes, dropout) for name, size in sizes(networks).items()}
        )
        combined = get(rule, "late").of_decisions(dict.fromkeys(networks, classes))
        super().__init__(shapes, networks, combined, heads)

    def decide(self, embeddings: Features) -> dict[str, Tensor]:
        """{modality: (B, D_m)} -> {modality: logits (B, classes)}: what each expert says."""
        return {name: self.head[name](embeddings[name]) for name in self.modalities}

    def classify(self, embeddings: Features) -> Tensor:
        return self._combine(self.decide(embeddings))

    def loss(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """loss: the sum of the experts' cross entropies, whatever the rule, for a vote has no gradient. logits: log of
        the rule's distribution."""
        decisions = self.decide(self.embed(features))
        losses = [functional.cross_entropy(decision, labels) for decision in decisions.values()]
        return {"loss": torch.stack(losses).sum(), "logits": self._combine(decisions)}

    def _combine(self, decisions: Mapping[str, Tensor]) -> Tensor:
        joined: Tensor = self.fusion({name: decision.softmax(1) for name, decision in decisions.items()})
        # A probability of 0 in float32 is one too small for it.
        return joined.clamp(min=torch.finfo(joined.dtype).tiny).log()
