"""Several seeds of one model, trained as one: stacked parameters, all losses from one call."""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from modalens.balancing import Balancing, Learner
from modalens.models import Features
from modalens.utils.tensors import Tensors, index_seeds

log = logging.getLogger(__name__)

# What one call for all seeds may differ by from one call each: other kernels add in another order.
RELATIVE, ABSOLUTE = 1e-3, 1e-4


class Ensemble:
    """S models of one architecture, each perhaps in its balancing. parameters, buffers: {name in it: (S, ...)}, seed by
    seed in order. learner: the first, for what does not depend on the seed."""

    def __init__(self, models: Sequence[Learner], precision: str = "float32") -> None:
        """Copies the models' values. precision: of the products while learning, a name of torch's; float32 all the same
        on a CPU where a layer has 3-D kernels."""
        self.parameters: Tensors = {}
        for name, values in models[0].named_parameters():
            seeds = torch.stack([model.get_parameter(name).detach() for model in models])
            self.parameters[name] = seeds.requires_grad_(values.requires_grad)
        names = [name for name, _ in models[0].named_buffers()]
        self.buffers: Tensors = {name: torch.stack([model.get_buffer(name) for model in models]) for name in names}
        self.device = next(models[0].parameters()).device
        self.learner = models[0]
        self._count = len(models)
        self._loss = _Loss(models[0])
        # On a CPU the gradient in bfloat16 of kernels over three steps holds memory that nobody wrote to where there
        # are two (PyTorch 2.11).
        unsafe = self.device.type == "cpu" and any(isinstance(part, nn.Conv3d) for part in models[0].modules())
        self._precision = torch.float32 if unsafe else getattr(torch, precision)

    def __len__(self) -> int:
        return self._count

    def train(self, mode: bool = True) -> None:
        self._loss.train(mode)

    def terms(self, features: Features, labels: Tensor) -> Tensors:
        """features: {name: (S, B, ...)}, labels (S, B) -> each term of `loss` with a first axis of seeds: "loss"
        (S,), "logits" (S, B, classes)."""
        state = {f"model.{name}": values for name, values in (self.parameters | self.buffers).items()}
        mixed = self._loss.training and self._precision is not torch.float32
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            if self._count > 1:
                stacked: Tensors = vmap(self._one, randomness="different")(state, dict(features), labels)
                return stacked
            # The plain call, which any model can take. Squeezed, not indexed: the gradient is a view, not a copy.
            single = self._one(_squeezed(state), _squeezed(features), labels.squeeze(0))
            return {name: values.unsqueeze(0) for name, values in single.items()}

    def gradients(self, losses: Tensor, *, again: bool = False) -> Tensors:
        """losses (S,) -> {parameter: (S, ...)} of those that they depend on. again: others of the same terms follow."""
        names = [name for name, values in self.parameters.items() if values.requires_grad]
        # Of the sum: a seed's loss depends on that seed's parameters alone. Not torch.func.grad, which imports torch's
        # compiler: 2 s of every job.
        wanted = [self.parameters[name] for name in names]
        found = torch.autograd.grad(losses.sum(), wanted, allow_unused=True, retain_graph=again)
        return {name: values for name, values in zip(names, found, strict=True) if values is not None}

    def descent_gradients(self, terms: Tensors) -> Tensors:
        """What `terms` gave -> {parameter: (S, ...)} to descend along, by the model's loss or by its balancing."""
        if isinstance(self.learner, Balancing):
            return self.learner.gradients(self, terms)
        return self.gradients(terms["loss"])

    def step_scales(self, terms: Tensors) -> Tensors:
        """{parameter: (S,)}: multiplier of the optimizer step; 1 if absent."""
        return self.learner.step_scales(self, terms) if isinstance(self.learner, Balancing) else {}

    def values(self, place: int) -> Tensors:
        """A copy of one seed's parameters and buffers: {name: (...)}."""
        return {name: values[place].detach().clone() for name, values in (self.parameters | self.buffers).items()}

    def keep(self, places: Tensor) -> None:
        """Drop the seeds that are not at these places."""
        for name, values in self.parameters.items():
            self.parameters[name] = values.detach().index_select(0, places).requires_grad_(values.requires_grad)
        self.buffers = index_seeds(self.buffers, places)
        self._count = len(places)

    def state(self) -> Tensors:
        return {name: values.detach() for name, values in (self.parameters | self.buffers).items()}

    @torch.no_grad()
    def load(self, state: Tensors) -> None:
        """What `state` of an ensemble of as many seeds returned."""
        for name, values in (self.parameters | self.buffers).items():
            values.copy_(state[name])

    def _one(self, state: Tensors, features: Features, labels: Tensor) -> Tensors:
        terms: Tensors = functional_call(self._loss, state, (features, labels))
        return terms


class _Loss(nn.Module):
    """`functional_call` calls a module's forward: here that is the model's loss."""

    def __init__(self, model: Learner) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Features, labels: Tensor) -> Tensors:
        return self.model.loss(features, labels)


def write_back(model: Learner, values: Tensors) -> None:
    """Copy `Ensemble.values` into a model."""
    with torch.no_grad():
        for name, own in (*model.named_parameters(), *model.named_buffers()):
            own.copy_(values[name])


def can_be_stacked(models: Sequence[Learner], features: Features, labels: Tensor) -> bool:
    """Whether one call gives the losses and logits that each model gives alone, and can be learnt from.

    A plugin's loss may do what torch cannot run for all seeds at once, or look at something that is neither parameter,
    buffer nor feature. features: {name: (B, ...)}, labels (B,): a few clips to try it on. The models do not change.
    """
    own = [{**features, **model.targets(features)} for model in models]
    with torch.no_grad():
        alone = [model.eval().loss(given, labels) for model, given in zip(models, own, strict=True)]
    together = {name: torch.stack([given[name] for given in own]) for name in own[0]}
    everywhere = labels.expand(len(models), *labels.shape)
    ensemble = Ensemble(models)
    try:
        ensemble.train(False)
        terms = {name: value.detach() for name, value in ensemble.terms(together, everywhere).items()}
        ensemble.train()
        ensemble.descent_gradients(ensemble.terms(together, everywhere))
    except Exception as error:  # whatever torch's transforms, or the model's own code on their tensors, raise
        log.info("%s: one seed after the other, as they cannot be stacked: %s", models[0].name, _first_line(error))
        return False
    same = all(
        torch.allclose(terms[name][place], value, RELATIVE, ABSOLUTE)
        for place, single in enumerate(alone)
        for name, value in single.items()
    )
    if not same:
        log.info("%s: one seed after the other, as stacked they give other losses", models[0].name)
    return same


def _squeezed(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: value.squeeze(0) for name, value in tensors.items()}


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
