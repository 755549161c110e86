"""What every balancing method is: a model, and how it is learnt so that no modality is left behind.

A method wraps any model and is orthogonal to it. The training loop stacks the wrapped model as it would the plain one
and knows no method by its name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias

from torch import Tensor, nn

from modalens.models import Features, Model
from modalens.plugins import registry
from modalens.plugins.options import resolve
from modalens.utils.errors import UserError
from modalens.utils.tensors import Tensors, eval_mode

Row = Mapping[str, float]  # of a history: column -> number


class Ensemble(Protocol):
    """What a method sees of the seeds that learn together: training.ensemble.Ensemble."""

    parameters: Tensors
    buffers: Tensors

    def gradients(self, losses: Tensor, *, again: bool = False) -> Tensors: ...


class Balancing(nn.Module):
    """A model while it learns. Parameters and buffers of the method's own are trained, resumed and dropped with those
    of the model, seed by seed; only the model is saved in the end.

    No branch of `loss` asks for a value in the data, so that several seeds run at once under torch.func.vmap. What the
    method has to remember from one step to the next is a buffer, changed in place.
    """

    targets_learnt: ClassVar[tuple[str, ...]] = ("classes",)  # of stats.targets
    method: str
    options: dict[str, Any]

    def __init__(self, model: Model) -> None:
        """Raises UserError for a model of one modality: there is nothing to balance."""
        super().__init__()
        if len(model.modalities) < 2:
            only = ", ".join(model.modalities)
            raise UserError(f"{model.name} looks at {only} alone: nothing to balance; leave its `balancing` out")
        self.model = model
        self.name = model.name
        self.modalities = model.modalities

    @classmethod
    def adapt(cls, model: Model, options: Mapping[str, Any]) -> None:
        """A change of the model itself, which stays with it: done before it is wrapped, and when its file is read."""
        del model, options

    def targets(self, features: Features) -> dict[str, Tensor]:
        """As the model's."""
        return self.model.targets(features)

    def loss(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """labels: (B,). Returns "loss", "logits" (B, classes) and whatever else of shape () is worth a curve.

        In training mode "loss" is what is descended. In evaluation mode it is the model's own whatever the method, so
        that early stopping and every choice compare like with like.
        """
        return self.model.loss(features, labels)

    def gradients(self, ensemble: Ensemble, terms: Tensors) -> Tensors:
        """Terms of an ensemble of such learners -> {parameter: (S, ...)} to descend along: the gradient of "loss"."""
        return ensemble.gradients(terms["loss"])

    def step_scales(self, ensemble: Ensemble, terms: Tensors) -> Tensors:
        """{parameter: (S,)}: multiplier of the optimizer step, by parameter and seed; 1 if absent."""
        del ensemble, terms
        return {}

    def after_epoch(self, buffers: Tensors, rows: Sequence[Row]) -> None:
        """buffers: {name: (S, ...)} of the ensemble, to be changed in place. rows: each seed's row of its history."""
        del buffers, rows

    def loss_with_embeddings(self, features: Features, labels: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The model's own terms, and the embeddings {modality: (B, D_m)} that it made for them: made only once."""
        embed, kept = self.model.embed, {}

        def noting(given: Features) -> dict[str, Tensor]:
            made = embed(given)
            kept.update(made)
            return made

        # Over the class's own, for this one call.
        self.model.__dict__["embed"] = noting
        try:
            terms = self.model.loss(features, labels)
        finally:
            del self.model.__dict__["embed"]
        return terms, kept


Learner: TypeAlias = Model | Balancing


def apply_balancing(model: Model, balancing: Mapping[str, Any]) -> Learner:
    """balancing: {} leaves the model as it is; {name: options} wraps it, extra parameters drawn from torch's global
    generator."""
    for name, given in balancing.items():
        maker: type[Balancing] = registry.load("balancing", name)
        options = resolve(maker, given, f"balancing.{name}")
        if len(model.modalities) > 1:
            maker.adapt(model, options)
        learner = maker(model, **options)
        learner.method, learner.options = name, options
        return learner.to(next(model.parameters()).device)
    return model


def unwrap(learner: Learner) -> Model:
    return learner.model if isinstance(learner, Balancing) else learner


def shapes_of(model: Model) -> tuple[dict[str, int], int]:
    """Size of each modality's embedding, and the number of classes."""
    with eval_mode(model):
        embeddings = model.embed({name: model.training_mean(name) for name in model.modalities})
        logits = model.classify(embeddings)
    return {name: values.shape[-1] for name, values in embeddings.items()}, logits.shape[1]


def mean_over_steps(embedding: Tensor) -> Tensor:
    """(B, ..., D) -> (B, D): the mean of what steps an embedding has."""
    return embedding if embedding.dim() == 2 else embedding.flatten(1, -2).mean(1)
