"""Balancing by losses: each modality also has to tell the label by itself, through a linear head of its own."""

from torch import Tensor, nn
from torch.nn import functional

from modalens.balancing._base import Balancing, mean_over_steps, shapes_of
from modalens.models import Features, Model

MULTIMODAL = "multimodal"  # what the model's own loss is called among those of the heads


class Heads(Balancing):
    """One linear head a modality on its embedding, (B, D_m) -> (B, classes). They learn with the model and are not
    saved with it."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        sizes, classes = shapes_of(model)
        self.heads = nn.ModuleDict({name: nn.Linear(sizes[name], classes) for name in self.modalities})

    def loss(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """In either mode also "loss_multimodal", the model's own, and "loss_<modality>", the cross entropy of each
        head."""
        terms, embeddings = self.loss_with_embeddings(features, labels)
        losses = {f"loss_{MULTIMODAL}": terms["loss"]}
        for name in self.modalities:
            losses[f"loss_{name}"] = functional.cross_entropy(
                self.heads[name](mean_over_steps(embeddings[name])), labels
            )
        terms |= losses
        if self.training:
            terms |= self.joined(losses)
        return terms

    def joined(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """{"loss_<name>": ()} -> "loss", what is descended, and further terms."""
        raise NotImplementedError

    def of_heads(self, losses: dict[str, Tensor]) -> Tensor:
        """Sum over the modalities."""
        total: Tensor = sum(losses[f"loss_{name}"] for name in self.modalities)  # type: ignore[assignment]
        return total
