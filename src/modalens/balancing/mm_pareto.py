"""MMPareto: the multimodal and the unimodal gradient of a sub-network, combined so that neither loss has to rise.
Source: Wei and Hu 2024, arXiv 2405.17730."""

import torch
from torch import Tensor

from modalens.balancing._base import Ensemble
from modalens.balancing._heads import MULTIMODAL, Heads
from modalens.balancing._modulation import of_network
from modalens.models import Model
from modalens.utils.arguments import positive
from modalens.utils.errors import UserError
from modalens.utils.tensors import Tensors, unsqueeze_like

RESCALES = ("network", "parameter")


class MmPareto(Heads):
    """For each modality's sub-network: g_multi of the model's own loss, g_uni of the modality's head. Where their
    cosine is above 0 their mean, else their combination of least norm; then with the norm of g_multi + g_uni. All else,
    heads included, descends the plain sum of all losses.

    The paper also multiplies by gamma above 1, and its authors' code gives each parameter, not the sub-network, the
    norm that its own sum has, and only where that is the larger one. AdamW divides a factor that stays the same out
    again, so gamma is 1 here. Their form: `rescale: parameter, gamma: 1.5`.
    """

    def __init__(self, model: Model, *, rescale: str = "network", gamma: float = 1.0) -> None:
        """rescale: network or parameter, what gets the norm of its sum of gradients. gamma: factor of what a
        sub-network descends."""
        super().__init__(model)
        if rescale not in RESCALES:
            raise UserError(f"balancing.mm_pareto: rescale: expected {' or '.join(RESCALES)}, got {rescale!r}")
        self.rescale, self.gamma = rescale, positive("balancing.mm_pareto.gamma", gamma)

    def joined(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": losses[f"loss_{MULTIMODAL}"] + self.of_heads(losses)}

    def gradients(self, ensemble: Ensemble, terms: Tensors) -> Tensors:
        multi = ensemble.gradients(terms[f"loss_{MULTIMODAL}"], again=True)
        # A sub-network is seen by the head of its own modality alone, so the gradient of the sum is that head's.
        uni = ensemble.gradients(self.of_heads(terms))
        found = multi | uni | {name: multi[name] + uni[name] for name in multi.keys() & uni.keys()}
        both = {name: found[name] for name in multi.keys() & uni.keys()}
        for modality in self.modalities:
            # None where a sub-network is frozen.
            if names := sorted(of_network(both, modality)):
                flat = (torch.cat([each[name].flatten(1) for name in names], 1) for each in (multi, uni))
                share, scale = pareto(*flat)
                for name in names:
                    first, second = (unsqueeze_like(part, both[name]) for part in (share, 1 - share))
                    together = first * multi[name] + second * uni[name]
                    if self.rescale == "parameter":
                        scale = 2 * at_least(both[name], 2 * together)
                    found[name] = self.gamma * unsqueeze_like(scale, together) * together
        return found


def at_least(wanted: Tensor, got: Tensor) -> Tensor:
    """Two of (S, ...) -> (S,): the factor, 1 or more, that makes the second no shorter than the first."""
    one, other = (each.flatten(1).norm(dim=1) for each in (wanted, got))
    return (one / other.clamp(min=torch.finfo(got.dtype).tiny)).clamp(min=1)


def pareto(multi: Tensor, uni: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients (S, P) -> (S,) each: share w of the first, and c, so that c (w g_multi + (1 - w) g_uni) is descended.

    Least norm of two: w = (g_uni - g_multi) g_uni / |g_uni - g_multi|^2, which lies in [0, 1] wherever they are not at
    an acute angle. Gradients that cancel each other leave nothing to descend: 0.
    """
    tiny = torch.finfo(multi.dtype).tiny
    agree = (multi * uni).sum(1) > 0
    apart = uni - multi
    least = (apart * uni).sum(1) / apart.square().sum(1).clamp(min=tiny)
    share = torch.where(agree, 0.5, least)
    together = share.unsqueeze(1) * multi + (1 - share).unsqueeze(1) * uni
    return share, (multi + uni).norm(dim=1) / together.norm(dim=1).clamp(min=tiny)
