"""BalanceMLA: each modality keeps a branch of its own, which the others only add to; the branches' answers are weighed.

Source: "Balanced multimodal learning: an integrated framework for multi-task learning in audio-visual fusion", section
3.2. Its two branches are one a modality here, for any number: a branch adds the residual of each other modality.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from modalens.models._base import Features, Model
from modalens.models._networks import mlp_head
from modalens.models._pretrained import take_over
from modalens.models._residuals import AttentionBRFF, DecisionWeights
from modalens.models._sequences import encoders
from modalens.models._shapes import Shapes
from modalens.utils.errors import UserError

DECISIONS = ("average", "adaptive", "category")
ALL, NONE = "all", "none"


class BalanceMla(Model):
    """Embeddings are sequences, (B, T_m, width). Teachers: the transformers of one modality that it goes on from."""

    takes_teachers = True
    fusion: nn.ModuleDict
    head: nn.ModuleDict

    def __init__(
        self,
        shapes: Shapes,
        classes: int,
        *,
        residual: str = ALL,
        decision: str = "category",
        width: int = 256,
        layers: int = 6,
        cross_layers: int = 3,
        heads: int = 8,
        dropout: float = 0.1,
        lengths: Mapping[str, int] | None = None,
        mask: Mapping[str, float] | None = None,
        hidden: Sequence[int] = (),
    ) -> None:
        """residual: which branches there are, each with AttentionBRFF: "all"; the name of a modality for its branch
        alone, the paper's audio-centric single residual; "none": all branches, without it. decision: "average" of the
        branches' logits; "adaptive", one weight a branch; "category", one for each of its classes. cross_layers: of
        AttentionBRFF. The other options are those of `transformer`.

        The paper does not say what its prediction vectors are (here logits) nor the loss (here cross entropy of the
        weighted result). A single branch has nothing to weigh, a single modality no residual.
        """
        if residual not in (ALL, NONE, *shapes):
            raise UserError(
                f"models.balance_mla.residual: expected one of {ALL}, {NONE}, {', '.join(shapes)}, got {residual!r}"
            )
        if decision not in DECISIONS:
            raise UserError(f"models.balance_mla.decision: expected one of {', '.join(DECISIONS)}, got {decision!r}")
        networks = encoders(
            shapes,
            width=width,
            layers=layers,
            heads=heads,
            dropout=dropout,
            lengths=lengths,
            mask=mask,
        )
        branches = list(networks) if residual in (ALL, NONE) else [residual]
        fused = branches if residual != NONE and len(networks) > 1 else []
        fusions = nn.ModuleDict()
        for name in fused:
            others = [other for other in networks if other != name]
            fusions[name] = AttentionBRFF(name, others, width, cross_layers, dropout)
        answers = nn.ModuleDict({name: mlp_head(width, hidden, classes, dropout) for name in branches})
        super().__init__(shapes, networks, fusions, answers)
        self.weights: DecisionWeights | None = None
        if decision != "average" and len(branches) > 1:
            self.weights = DecisionWeights(len(branches), width, classes if decision == "category" else 1)

    def initialise_from_teachers(self) -> None:
        take_over(self)

    def branches(self, embeddings: Features) -> dict[str, Tensor]:
        """{basic modality: (B, T of that modality, width)}."""
        return {name: self.fusion[name](embeddings) if name in self.fusion else embeddings[name] for name in self.head}

    def weigh(self, means: Sequence[Tensor]) -> Tensor:
        """K branches' means over their steps, (B, width) each -> (B, K, classes or 1), adding up to one over K."""
        if self.weights is None:
            return torch.full((1, len(means), 1), 1 / len(means), device=means[0].device)
        weights: Tensor = self.weights(torch.cat(list(means), 1))
        return weights

    def joined(self, embeddings: Features) -> Tensor:
        """The means of all branches side by side, which its weights are made of."""
        return torch.cat([steps.mean(1) for steps in self.branches(embeddings).values()], 1)

    def classify(self, embeddings: Features) -> Tensor:
        """{modality: (B, T_m, width)} -> logits (B, classes)."""
        means = {name: steps.mean(1) for name, steps in self.branches(embeddings).items()}
        results = torch.stack([self.head[name](mean) for name, mean in means.items()], 1)
        return (self.weigh(list(means.values())) * results).sum(1)
