"""Sample-level modality valuation and resampling. Source: Wei, Feng, Wang and Hu 2024, arXiv 2309.06255."""

import torch
from torch import Tensor
from torch.nn import functional

from modalens.balancing._base import Balancing
from modalens.models import Features, Model
from modalens.stats.coalitions import coalitions, shapley_values
from modalens.utils.errors import UserError
from modalens.utils.tensors import Tensors


class SampleValuation(Balancing):
    """Each clip is valued, and learnt again with each modality alone that contributes little to it: phi_m is the
    Shapley value where a coalition S is worth |S| if the class is named with it, else 0; where phi_m is below 1, there
    are strength (1 - phi_m) more copies of the clip with m alone.

    The paper values all clips after each epoch and adds copies to the next one; ours values the clips of a batch with
    the network as it is, and weighs instead of copying, which is the same loss in the mean: the sum over the clips and
    their copies, divided by how many there are. Withheld is replaced by the training mean. Buffer: epochs (), of
    learning so far.
    """

    epochs: Tensor

    def __init__(self, model: Model, *, warmup: int = 5, strength: float = 2.0) -> None:
        """warmup: epochs of plain learning first, as in the paper's code. strength: 2 is the paper's for two
        modalities, where phi is -0.5, 0, 0.5 or 1 and the copies are 3, 2, 1 or none."""
        super().__init__(model)
        if warmup < 0:
            raise UserError(f"balancing.sample_valuation.warmup: expected 0 or more, got {warmup}")
        if strength < 0:
            raise UserError(f"balancing.sample_valuation.strength: expected 0 or more, got {strength}")
        self.warmup, self.strength = warmup, strength
        self.register_buffer("epochs", torch.zeros(()))

    def loss(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """In training mode also "copies", how many there are for each clip."""
        if not self.training:
            return self.model.loss(features, labels)
        terms, embeddings = self.loss_with_embeddings(features, labels)
        blank = self.model.embed({name: self.model.training_mean(name) for name in self.modalities})
        logits = {
            kept: self.model.classify(
                {name: rows if name in kept else blank[name].expand_as(rows) for name, rows in embeddings.items()}
            )
            for kept in coalitions(self.modalities)[1:-1]
        }
        logits[tuple(sorted(self.modalities))] = terms["logits"]
        weights = copies(logits, labels, self.strength)
        active = self.epochs >= self.warmup
        count, total = torch.full_like(terms["loss"], len(labels)), terms["loss"] * len(labels)
        for name, weight in weights.items():
            weight = torch.where(active, weight, 0.0)
            count = count + weight.sum()
            total = total + (weight * functional.cross_entropy(logits[(name,)], labels, reduction="none")).sum()
        return terms | {"loss": total / count, "copies": count.detach() / len(labels) - 1}

    def after_epoch(self, buffers: Tensors, rows: object) -> None:
        del rows
        buffers["epochs"].add_(1)


def copies(logits: dict[tuple[str, ...], Tensor], labels: Tensor, strength: float) -> dict[str, Tensor]:
    """Logits (B, C) with each coalition but the empty one -> of each modality, how many more times each clip is to be
    learnt with it alone, (B,)."""
    worth = {kept: len(kept) * (found.detach().argmax(1) == labels).float() for kept, found in logits.items()}
    worth[()] = torch.zeros_like(next(iter(worth.values())))
    ordered = dict(sorted(worth.items(), key=lambda item: (len(item[0]), item[0])))
    return {name: strength * (1 - value).clamp(min=0) for name, value in shapley_values(ordered).items()}
