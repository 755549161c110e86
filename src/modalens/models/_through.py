"""Learning through the encoder: a model that reads a modality's decoded form instead of cached features.

The encoder stands where a modality's features are normalised, so that no model knows of it: what follows sees what it
would see of cached features.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from modalens.encoders import Encoder, load_encoder
from modalens.models._fitted import Fitted, fitted
from modalens.models._shapes import Shape
from modalens.plugins import registry
from modalens.plugins.options import resolve
from modalens.utils.errors import UserError
from modalens.utils.tensors import Tensors

FROZEN, UNFROZEN, LAST_LAYERS = "frozen", "unfrozen", "last_layers"
CONTAINERS = (nn.Sequential, nn.ModuleList)


@dataclass(frozen=True)
class Learnt:
    """An encoder inside a model. options: of its constructor. last_layers: how many of its layers learn, from the end;
    None: all of them, 0: none."""

    encoder: str
    options: Mapping[str, Any]
    last_layers: int | None

    @classmethod
    def of(cls, entry: Mapping[str, Any], how: Any, where: str) -> "Learnt":
        """entry: of `modalities` in a resolved config. how: frozen, unfrozen or {last_layers: n}. Raises UserError."""
        wanted = how.get(LAST_LAYERS) if isinstance(how, Mapping) and set(how) == {LAST_LAYERS} else None
        if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted > 0:
            return cls(entry["encoder"], entry["options"], wanted)
        if how not in (FROZEN, UNFROZEN):
            raise UserError(f"{where}: expected frozen, unfrozen or {{last_layers: n}}, n from 1, got {how!r}")
        return cls(entry["encoder"], entry["options"], 0 if how == FROZEN else None)

    def as_data(self) -> dict[str, Any]:
        """What a model file says of it, and the constructor takes."""
        return asdict(self)

    def load(self, where: torch.device, *, saved: bool = False) -> Encoder:
        """saved: one whose trained weights a model file holds, so that none is fetched."""
        options = resolve(registry.load("encoders", self.encoder), self.options, f"encoder {self.encoder}")
        without = {"weights": "untrained"} if saved and "weights" in options else {}
        return load_encoder(self.encoder, {**self.options, **without}, where)


class Through(Fitted):
    """Decoded rows (B, ...), or features that stand in for some, -> what the networks see of a modality.

    A frozen encoder is the one that cached features are made with, their type and rounding included; it is no part of
    the model's parameters, and the model file names it. One that learns is a module in float32, whose precision the
    training decides; its layers that stay as they are keep their running statistics and drop nothing out.
    """

    def __init__(self, shape: Shape, learnt: Learnt, saved: bool = False) -> None:
        """shape: of the features. saved: the trained weights follow."""
        super().__init__()
        self.learnt, self._sizes = learnt, tuple(shape.values())
        self.inner = fitted(shape)
        self.network: nn.Module | None = None
        self._frozen: list[nn.Module] = []
        self._encoder: tuple[Encoder, ...] = ()
        self._settled: Tensors = {}  # statistics by name
        if learnt.last_layers == 0:
            return
        encoder = learnt.load(torch.device("cpu"), saved=saved)
        self._at_once = encoder.batch_size
        self.network = encoder.network().requires_grad_(learnt.last_layers is None)
        if learnt.last_layers is not None:
            self._frozen, last = last_units(self.network, learnt)
            for unit in last:
                unit.requires_grad_()

    def train(self, mode: bool = True) -> "Through":
        super().train(mode)
        for unit in self._frozen:
            unit.train(False)
        return self

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """batches: (b, ...) decoded rows of the training clips."""
        was = self.training
        batches = iter(batches)
        first = next(batches)
        self._settle(first)
        self.train(False)
        self.inner.fit(self._encoded(chain([first], batches)))
        self.train(was)

    def _settle(self, rows: Tensor) -> None:
        """Batch normalisations that never saw a clip take the statistics of these. With mean 0 and variance 1 a deep
        network of drawn weights gives numbers of another size than once it learns."""
        fresh = {name: one for name, one in self.named_modules() if _is_fresh(one)}
        if not fresh or len(rows) < 2:
            return
        self.train(False)
        was = [one.momentum for one in fresh.values()]
        for one in fresh.values():
            one.train()
            one.momentum = 1.0
        self._given(rows.to(next(self.inner.buffers()).device))
        for one, momentum in zip(fresh.values(), was, strict=True):
            one.momentum = momentum
        self._settled = {
            name: values.clone() for name, values in self.named_buffers() if name.rpartition(".")[0] in fresh
        }

    def share(self, other: Fitted) -> None:
        """What was fitted, and not what another seed has learnt meanwhile."""
        assert isinstance(other, Through)
        self.inner.share(other.inner)
        for name, values in self.named_buffers():
            if name in other._settled:
                values.copy_(other._settled[name])

    def training_mean(self) -> Tensor:
        """Of the features, as they were before learning."""
        return self.inner.training_mean()

    def forward(self, values: Tensor) -> Tensor:
        found: Tensor = self.inner(self.as_features(values))
        return found

    def as_features(self, values: Tensor) -> Tensor:
        """Decoded rows, or features as they are."""
        given = values.is_floating_point() and tuple(values.shape[1:]) == self._sizes
        return values if given else self.features(values)

    def features(self, rows: Tensor) -> Tensor:
        """Decoded rows -> (B, ...) of the features' shape. Without a gradient, as many at once as it takes."""
        if self.network is None:
            encoder = self._on(rows.device)
            with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
                parts = [encoder.encode(part) for part in rows.split(encoder.batch_size)]
            return torch.cat(parts).to(rows.device, getattr(torch, encoder.dtype))
        if torch.is_grad_enabled():
            return self._given(rows)
        return torch.cat([self._given(part) for part in rows.split(self._at_once)])

    def _given(self, rows: Tensor) -> Tensor:
        assert self.network is not None
        found: Tensor = self.network(rows)
        return found

    def _encoded(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        where = next(self.inner.buffers()).device
        for batch in batches:
            yield self.features(batch.to(where))

    def _on(self, where: torch.device) -> Encoder:
        """The frozen encoder, where the rows are."""
        if not self._encoder or self._encoder[0].device != where:
            self._encoder = (self.learnt.load(where),)
        return self._encoder[0]


def _is_fresh(module: nn.Module) -> TypeGuard[_BatchNorm]:
    """Whether it is a batch normalisation that learns, and has the statistics that it was made with."""
    if not isinstance(module, _BatchNorm) or module.running_mean is None or module.running_var is None:
        return False
    learns = module.weight is not None and module.weight.requires_grad
    return learns and not module.running_mean.any() and bool((module.running_var == 1).all())


def last_units(network: nn.Module, learnt: Learnt) -> tuple[list[nn.Module], list[nn.Module]]:
    """The layers that stay as they are, and those that learn. Raises UserError for more than there are."""
    units = layers_of(network)
    wanted = learnt.last_layers or 0
    if wanted > len(units):
        raise UserError(f"encoder {learnt.encoder}: last_layers: expected at most {len(units)}, got {wanted}")
    return units[: len(units) - wanted], units[len(units) - wanted :]


def layers_of(network: nn.Module) -> list[nn.Module]:
    """The layers that `last_layers` counts, in the order of their definition: a block of a row of blocks is one, and so
    is what stands alone, a convolution before them or a normalisation after them. What has no parameters is none."""

    def of(module: nn.Module) -> Iterator[nn.Module]:
        for child in module.children():
            if isinstance(child, CONTAINERS):
                for block in child:
                    yield from of_block(block)
            elif any(isinstance(one, CONTAINERS) for one in child.modules()):
                yield from of(child)
            else:
                yield child

    def of_block(block: nn.Module) -> Iterator[nn.Module]:
        # A stage is a row of blocks itself.
        if isinstance(block, CONTAINERS):
            for one in block:
                yield from of_block(one)
        else:
            yield block

    return [unit for unit in of(network) if next(unit.parameters(), None) is not None]
