"""The optimizer, on stacked parameters."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from modalens.training.ensemble import Ensemble
from modalens.utils.tensors import Tensors, index_seeds, unsqueeze_like


class AdamW:
    """torch's AdamW, fused, on the parameters of an ensemble; betas and epsilon are its defaults.

    Not torch.optim.AdamW: making one imports torch's compiler, 2 s of every job.
    """

    def __init__(self, ensemble: Ensemble, learning_rate: float, weight_decay: float) -> None:
        self._ensemble = ensemble
        self._learning_rate, self._weight_decay = learning_rate, weight_decay
        self._means = {name: torch.zeros_like(values.detach()) for name, values in ensemble.parameters.items()}
        self._squares = {name: values.clone() for name, values in self._means.items()}
        self._steps = {name: torch.zeros((), device=ensemble.device) for name in self._means}

    @torch.no_grad()
    def step(self, gradients: Tensors, scales: Mapping[str, Tensor] | None = None) -> None:
        """gradients: {parameter: (S, ...)}; others stay as they are. scales: the ensemble's step_scales."""
        before = {name: self._ensemble.parameters[name].detach().clone() for name in scales or {}}
        # The fused kernel assumes equal memory layout: other gradients would update the wrong entries.
        contiguous = {name: values.contiguous() for name, values in gradients.items()}
        kinds = (self._ensemble.parameters, contiguous, self._means, self._squares, self._steps)
        parameters, values, means, squares, steps = ([kind[name] for name in gradients] for kind in kinds)
        adamw(
            parameters, values, means, squares, [], steps,
            lr=self._learning_rate, weight_decay=self._weight_decay, beta1=0.9, beta2=0.999, eps=1e-8,
            fused=True, amsgrad=False, maximize=False,
        )  # fmt: skip
        for name, scale in (scales or {}).items():
            after = self._ensemble.parameters[name]
            after.copy_(torch.lerp(before[name], after, unsqueeze_like(scale, after)))

    def keep(self, places: Tensor) -> None:
        """As the ensemble's."""
        self._means, self._squares = index_seeds(self._means, places), index_seeds(self._squares, places)

    def state(self) -> dict[str, Tensors]:
        return {"means": self._means, "squares": self._squares, "steps": self._steps}

    def load(self, state: dict[str, Tensors]) -> None:
        """What `state` for an ensemble of as many seeds returned."""
        for kind, tensors in self.state().items():
            for name, values in tensors.items():
                values.copy_(state[kind][name])
