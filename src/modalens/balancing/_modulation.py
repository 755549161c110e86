"""Balancing by coefficients: the sub-network of a modality that runs ahead takes smaller steps."""

from collections.abc import Callable

import torch
from torch import Tensor

from modalens.balancing._base import Balancing, Ensemble
from modalens.models import Features, Model
from modalens.stats.coalitions import coalitions, shapley_values
from modalens.utils.errors import UserError
from modalens.utils.tensors import Tensors, eval_mode, unsqueeze_like

ACTS_ON = ("step", "gradient")


def contributions(classify: Callable[[Features], Tensor], embeddings: Features) -> dict[str, Tensor]:
    """{modality: (B, D_m)} -> {modality: logits (B, classes)}: what each modality says; they add up to what all say.

    m_m = Shapley value of modality m + f(0) / M, where f is the classifier and an absent modality's embedding is 0. For
    two modalities that is (f(a, v) - f(0, v) + f(a, 0)) / 2, AGM's (Li et al. 2023, arXiv 2308.07686); for any number
    and a linear classifier it is W_m h_m + b / M, OGM's (Peng et al. 2022, arXiv 2203.15332). It takes 2^M
    classifications and no further pass through a sub-network.
    """
    names = sorted(embeddings)
    silence = {name: torch.zeros_like(embeddings[name]) for name in names}
    said = {
        kept: classify({name: (embeddings if name in kept else silence)[name] for name in names})
        for kept in coalitions(names)
    }
    return {name: value + said[()] / len(names) for name, value in shapley_values(said).items()}


class Modulation(Balancing):
    """The sub-network of modality m takes k_m times the step that it would take; nothing else changes.

    The papers multiply its gradient, with SGD, where that is the same. AdamW divides a gradient by the size of those
    before it, so that there a coefficient that stays as it is has no effect at all, were it 0.01. Hence the coefficient
    multiplies AdamW's step; `acts_on: gradient` is the papers' letter.
    """

    def __init__(self, model: Model, acts_on: str) -> None:
        super().__init__(model)
        if acts_on not in ACTS_ON:
            raise UserError(f"balancing: acts_on: expected {' or '.join(ACTS_ON)}, got {acts_on!r}")
        self.acts_on = acts_on

    def coefficients(self, parts: Features, labels: Tensor) -> dict[str, Tensor]:
        """parts: the contributions to the logits. labels: (B,). Returns k_m of shape ()."""
        raise NotImplementedError

    def loss(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """While learning also "coefficient_<modality>"."""
        if not self.training:
            return self.model.loss(features, labels)
        terms, embeddings = self.loss_with_embeddings(features, labels)
        # Without dropout, and without a trace in running statistics: these are looks at the model, not steps.
        with eval_mode(self.model):
            parts = contributions(self.model.classify, embeddings)
            found = self.coefficients(parts, labels)
        return terms | {f"coefficient_{name}": value for name, value in found.items()}

    def gradients(self, ensemble: Ensemble, terms: Tensors) -> Tensors:
        found = super().gradients(ensemble, terms)
        for name in self.modalities:
            coefficient = terms[f"coefficient_{name}"]
            for parameter in self.modulates(found, name):
                factor = coefficient if self.acts_on == "gradient" else torch.ones_like(coefficient)
                found[parameter] = self.modulated(found[parameter], factor, ensemble.buffers)
        return found

    def modulated(self, gradient: Tensor, factor: Tensor, buffers: Tensors) -> Tensor:
        """(S, ...), (S,) -> (S, ...). buffers: of the ensemble."""
        del buffers
        return gradient * unsqueeze_like(factor, gradient)

    def step_scales(self, ensemble: Ensemble, terms: Tensors) -> Tensors:
        if self.acts_on != "step":
            return {}
        return {
            parameter: terms[f"coefficient_{name}"]
            for name in self.modalities
            for parameter in self.modulates(ensemble.parameters, name)
        }

    def modulates(self, tensors: Tensors, modality: str) -> list[str]:
        """The parameters that a modality's coefficient acts on."""
        return of_network(tensors, modality)


def of_network(tensors: Tensors, modality: str) -> list[str]:
    """The parameters of a modality's sub-network."""
    return [name for name in tensors if name.startswith(f"model.networks.{modality}.")]
