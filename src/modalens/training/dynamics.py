"""How each modality is learnt inside a model, epoch by epoch: what its branch can do alone, and how hard it is pulled.

A hook of the training loop, which knows no model: it looks at what is descended along and asks the model once more. It
draws no number and changes none, so that a training with it is the training without it, and resumes where that does.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from modalens.balancing import unwrap
from modalens.training.batches import SeedBatches
from modalens.training.ensemble import Ensemble
from modalens.utils.tensors import Tensors

# Columns of a history.
ACCURACY, GRADIENT = "validation_accuracy.", "gradient_norm."
CHANCE, CLIPS = "validation_chance", "validation_clips"


class Dynamics:
    """One epoch at a time: `add` after each step's gradients, then `rows`."""

    def __init__(self, ensemble: Ensemble) -> None:
        model = unwrap(ensemble.learner)
        self._modalities = model.modalities
        self._means = {name: model.training_mean(name) for name in model.modalities}
        prefix = "model." if model is not ensemble.learner else ""
        self._networks = {
            name: {f"{prefix}networks.{name}.{own}" for own, _ in model.networks[name].named_parameters()}
            for name in model.modalities
        }
        self._norms: dict[str, list[Tensor]] = {name: [] for name in model.modalities}

    @torch.no_grad()
    def add(self, gradients: Tensors) -> None:
        """gradients: {parameter: (S, ...)} of a step, as they are descended along: after a balancing method."""
        for name, norms in self._norms.items():
            own = [gradients[one] for one in sorted(self._networks[name] & gradients.keys())]
            # A sub-network without parameters is not pulled at all.
            norms.append(_norm(own) if own else torch.zeros(len(next(iter(gradients.values())))))

    @torch.no_grad()
    def rows(self, ensemble: Ensemble, validation: SeedBatches, size: int) -> list[dict[str, float]]:
        """For each seed, by modality: validation_accuracy.NAME, of the model given that modality alone, the training
        mean in place of the others; gradient_norm.NAME, of its sub-network's parameters, the mean over the epoch's
        steps. validation_chance: share of the commonest class of the validation_clips. size: clips at once; changes no
        result."""
        ensemble.train(False)
        columns = {f"{ACCURACY}{name}": self._accuracy(name, ensemble, validation, size) for name in self._modalities}
        for name, norms in self._norms.items():
            columns[f"{GRADIENT}{name}"] = torch.stack(norms).mean(0)
            norms.clear()
        count = len(validation.clips)
        shared = {CHANCE: float(validation.clips.labels.bincount().max()) / count, CLIPS: float(count)}
        numbers = {name: values.double().tolist() for name, values in columns.items()}
        return [{name: values[place] for name, values in numbers.items()} | shared for place in range(len(ensemble))]

    def _accuracy(self, kept: str, ensemble: Ensemble, validation: SeedBatches, size: int) -> Tensor:
        """(S,)."""
        hits = torch.zeros(len(ensemble), device=ensemble.device)
        for features, labels in validation.shared_batches(size, len(ensemble)):
            for name in self._modalities:
                if name != kept:
                    # Of features: a model that reads decoded rows takes them, too.
                    mean = self._means[name]
                    features[name] = mean.to(ensemble.device).expand(*labels.shape, *mean.shape[1:])
            hits += (ensemble.terms(features, labels)["logits"].argmax(2) == labels).sum(1)
        return hits / len(validation.clips)


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """(S, ...) each -> Euclidean norm over all, (S,)."""
    return torch.stack([one.float().flatten(1).square().sum(1) for one in gradients]).sum(0).sqrt()
