"""Zero-shot classification: the class whose caption lies nearest to a clip in the common space of two encoders.

Source: Radford et al. 2021, "Learning transferable visual models from natural language supervision", section 3.1: a
picture's embedding against those of one caption a class, by their cosine; of several captions a class, the mean of
their unit vectors. A baseline of Zhao et al. 2023, "Multi-modality guidance network", table 1. No clip is learnt from:
training clips take no part, and validation clips only in the temperature of the probabilities, which changes no answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modalens.encoders import encode, load_encoder
from modalens.fusions import build
from modalens.models._base import Batches, Features, Model
from modalens.models._shapes import Shape, Shapes, channel_axis
from modalens.plugins import registry
from modalens.plugins.options import resolve
from modalens.utils.arguments import positive
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

ENCODER, WHERE = "text_network", "models.zero_shot"


class ZeroShot(Model):
    """Its embedding is the target's features as the encoder gave them, averaged over time and places, of length 1."""

    head: "_Captions"
    solves = True
    targets_learnt = ("classes",)
    environment = "encoders"

    def __init__(
        self,
        shapes: Shapes,
        classes: int,
        *,
        target: str,
        captions: Mapping[str, Any],
        text: Mapping[str, Any] | None = None,
        scale: float = 100.0,
    ) -> None:
        """target: the modality that is compared with the captions. captions: {class: a text, or a list of texts}, one
        entry for each class of the task. text: options of the encoder `text_network` that reads the captions, whose
        vectors lie in the same space as the target's features: the other tower of a CLIP, or for a target that is text
        the target's own encoder. scale: what cosines are multiplied by; 100 is what CLIP has learnt."""
        self._text, self._texts = _options(list(shapes), target, captions, text, scale)
        axis = channel_axis(shapes[target])
        size = tuple(shapes[target].values())[axis]
        networks = {target: _Unit(shapes[target])}
        joined = build("concat", {target: size}, None)
        super().__init__(shapes, networks, joined, _Captions(size, classes, scale))
        self.target = target

    @classmethod
    def check(cls, modalities: Sequence[str], tasks: Mapping[str, Sequence[str]], **options: Any) -> None:
        """Raises UserError also for a text encoder that is not to be had; its weights are not read."""
        given = {"text": None, "scale": 100.0} | options
        text, texts = _options(modalities, given["target"], given["captions"], given["text"], given["scale"])
        for task, labels in tasks.items():
            _check_names(texts, labels, f" (task {task})")
        registry.load("encoders", ENCODER).check(**text)

    def embed(self, features: Features) -> dict[str, Tensor]:
        """Not standardised: both encoders' vectors lie where training put them."""
        if self.target not in features:
            return {}
        given = self.read(self.target, features[self.target])
        return {self.target: self.networks[self.target](given.to(self.head.weight.dtype))}

    @torch.no_grad()
    def name_classes(self, labels: Sequence[str]) -> None:
        """Raises UserError for a class without a caption, and for captions whose vectors have another size."""
        _check_names(self._texts, labels)
        weight = self.head.weight
        encoder = load_encoder(ENCODER, self._text, weight.device)
        for place, name in enumerate(labels):
            found = torch.from_numpy(encode(encoder, _rows(self._texts[name]))).float()
            if found.shape[1:] != weight.shape[1:]:
                raise UserError(
                    f"{WHERE}.text: expected an encoder of {weight.shape[1]} numbers, as {self.target!r} has, "
                    f"got {' x '.join(map(str, found.shape[1:]))}: both have to be of one model"
                )
            weight[place] = functional.normalize(functional.normalize(found).mean(0), dim=0)

    def solve(self, train: Batches, validation: Batches) -> None:
        """The captions are all that there is."""
        del train, validation


class _Unit(nn.Module):
    """(B, ...) -> (B, channel) of length 1: the mean over the other axes."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._axis = channel_axis(shape)

    def forward(self, features: Tensor) -> Tensor:
        rows = features.movedim(self._axis + 1, -1)
        return functional.normalize(rows.flatten(1, -2).mean(1) if rows.dim() > 2 else rows)


class _Captions(nn.Module):
    """(B, size) -> logits (B, classes): cosines with the captions, times `scale`."""

    def __init__(self, size: int, classes: int, scale: float) -> None:
        super().__init__()
        # Until the captions take their place.
        self.weight = nn.Parameter(functional.normalize(torch.randn(classes, size)))
        self.scale = scale

    def forward(self, embeddings: Tensor) -> Tensor:
        # What stands in for an embedding, such as a mean, is no unit vector.
        return self.scale * functional.linear(functional.normalize(embeddings), self.weight)


def _options(
    modalities: Sequence[str], target: Any, captions: Any, text: Any, scale: Any
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Options of the text encoder, texts of each class. Raises UserError."""
    if target not in modalities:
        raise UserError(f"{WHERE}.target: no modality {target!r}; {suggest(str(target), sorted(modalities))}")
    if not isinstance(captions, Mapping) or not captions:
        raise UserError(f"{WHERE}.captions: expected {{class: a text, or a list of texts}}, got {captions!r}")
    if not isinstance(text, Mapping | None):
        raise UserError(f"{WHERE}.text: expected options of the encoder {ENCODER}, got {text!r}")
    positive(f"{WHERE}.scale", scale)
    resolved = resolve(registry.load("encoders", ENCODER), dict(text or {}), f"{WHERE}.text")
    return resolved, {str(name): _texts(name, told) for name, told in captions.items()}


def _texts(name: Any, told: Any) -> list[str]:
    texts = [told] if isinstance(told, str) else told
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) and one.strip() for one in texts):
        raise UserError(f"{WHERE}.captions: {name!r}: expected a text or a list of texts, got {told!r}")
    return texts


def _check_names(texts: Mapping[str, Any], labels: Sequence[str], where: str = "") -> None:
    for known, asked, what in ((texts, labels, "no caption"), (labels, texts, "no such class")):
        if missing := [name for name in asked if name not in known]:
            near = suggest(str(missing[0]), list(known))
            raise UserError(f"{WHERE}.captions: {missing[0]!r}: {what}{where}; {near}")


def _rows(texts: list[str]) -> np.ndarray[Any, Any]:
    """(N, bytes) uint8 UTF-8, zeros after a text's end."""
    written = [text.encode() for text in texts]
    rows = np.zeros((len(written), max(map(len, written))), np.uint8)
    for row, one in zip(rows, written, strict=True):
        row[: len(one)] = np.frombuffer(one, np.uint8)
    return rows
