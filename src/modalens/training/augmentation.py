"""Training clips a little changed each time they are seen: crops, flips and SpecAugment's masks, by the axes of a row.

Every change is a function of the row and of numbers from 0 to 1 that the seed's own generator draws: a training that is
resumed, or that reads its batches in another thread, sees the same.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from modalens.models import Model
from modalens.plugins.options import resolve
from modalens.utils.errors import UserError
from modalens.utils.tensors import Tensors

HEIGHT, WIDTH, MEL, TIME = "height", "width", "mel", "time"


class Augmentation:
    """Of one modality. numbers: from 0 to 1, that it takes a clip."""

    def __init__(
        self,
        *,
        crop: float = 1.0,
        flip: float = 0.0,
        frequency_masks: int = 0,
        frequency_width: int = 8,
        time_masks: int = 0,
        time_width: int = 8,
    ) -> None:
        """crop: least share of the sides that a crop keeps, anywhere in the picture, scaled to its size again. flip:
        share of clips that are mirrored, left for right. Both are the same for all frames of a clip.

        frequency_masks, time_masks: how many runs of mels, or of steps, are masked in a clip, each at most so many wide
        (0 to `width`, each as likely). Source: Park et al. 2019, SpecAugment, without its warping of time. What is
        masked becomes the training mean of features, zero of decoded rows.
        """
        for name, value in {"crop": crop, "flip": flip}.items():
            if not 0 <= value <= 1 or (name == "crop" and value == 0):
                raise UserError(
                    f"augment: {name}: expected a share from {'above ' * (name == 'crop')}0 to 1, got {value}"
                )
        counts = {
            "frequency_masks": frequency_masks,
            "frequency_width": frequency_width,
            "time_masks": time_masks,
            "time_width": time_width,
        }
        for name, count in counts.items():
            if count < 0:
                raise UserError(f"augment: {name}: expected at least 0, got {count}")
        self.crop, self.flip = crop, flip
        self.masks = {MEL: (frequency_masks, frequency_width), TIME: (time_masks, time_width)}
        self.numbers = 4 + 2 * (frequency_masks + time_masks)

    def check(self, axes: tuple[str, ...], where: str) -> None:
        """Raises UserError for what a row with these axes cannot be changed by."""
        needed = {HEIGHT: self.crop < 1, WIDTH: self.crop < 1 or self.flip > 0}
        needed |= {axis: count > 0 for axis, (count, _) in self.masks.items()}
        missing = [axis for axis, wanted in needed.items() if wanted and axis not in axes]
        if missing:
            raise UserError(f"{where}: expected rows with the axis {missing[0]}, got ({', '.join(axes) or 'unnamed'})")

    def __call__(self, rows: Tensor, axes: tuple[str, ...], numbers: Tensor, fill: Tensor) -> Tensor:
        """rows: (B, ...) of these axes. numbers: (B, self.numbers). fill: (1, ...) or (1,), what masks put in.
        Returns float where anything was changed."""
        # Half-precision features stay that: what is masked is all that changes.
        changed = rows if rows.is_floating_point() else rows.float()
        place = {axis: 1 + number for number, axis in enumerate(axes)}
        size, across, down, mirror, *rest = numbers.unbind(1)
        if self.crop < 1:
            changed = _cropped(changed, place, self.crop + (1 - self.crop) * size, across, down)
        if self.flip:
            changed = torch.where(_wide(mirror < self.flip, changed), changed.flip(place[WIDTH]), changed)
        drawn = iter(rest)
        for axis, (count, width) in self.masks.items():
            for _ in range(count):
                changed = _masked(changed, place[axis], width, next(drawn), next(drawn), fill)
        return changed


class Augmenter:
    """Of all modalities that have one. numbers: that a clip takes."""

    def __init__(self, own: Mapping[str, tuple[Augmentation, tuple[str, ...], Tensor]]) -> None:
        """own: modality -> its augmentation, the axes of its rows, what masks put in."""
        self._own = dict(sorted(own.items()))
        self.numbers = sum(one.numbers for one, _, _ in self._own.values())

    @classmethod
    def of(cls, given: Mapping[str, Any], axes: Mapping[str, tuple[str, ...]], model: Model) -> "Augmenter | None":
        """given: {modality: options}; those that the model does not look at are left out. Raises UserError."""
        own = {}
        for name, augmentation in made(given, axes).items():
            if name in model.normalizers:
                mean = torch.zeros(1) if name in model.encoders else model.training_mean(name)
                own[name] = (augmentation, axes[name], mean)
        return cls(own) if own else None

    @torch.no_grad()
    def __call__(self, features: Tensors, numbers: Tensor) -> Tensors:
        """features: {modality: (B, ...)}. numbers: (B, self.numbers)."""
        parts: Iterator[Tensor] = iter(numbers.split([one.numbers for one, _, _ in self._own.values()], dim=1))
        changed = {
            name: one(features[name], axes, next(parts), fill.to(numbers.device))
            for name, (one, axes, fill) in self._own.items()
        }
        return {**features, **changed}


def made(given: Mapping[str, Any], axes: Mapping[str, tuple[str, ...]]) -> dict[str, Augmentation]:
    """Those of the modalities that have axes, tried on them. Raises UserError."""
    found = {}
    for name, options in given.items():
        if name in axes:
            where = f"training.augment.{name}"
            found[name] = Augmentation(**resolve(Augmentation, options, where))
            found[name].check(axes[name], where)
    return found


def _wide(chosen: Tensor, like: Tensor) -> Tensor:
    return chosen.view(-1, *[1] * (like.dim() - 1))


def _cropped(rows: Tensor, place: Mapping[str, int], share: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """share, across, down: (B,), of the sides that is kept, and where it lies in what is left."""
    pictures = rows.float().movedim((place[HEIGHT], place[WIDTH]), (-2, -1))
    turn = torch.zeros(len(rows), 2, 3, device=rows.device)
    turn[:, 0, 0] = turn[:, 1, 1] = share
    turn[:, 0, 2], turn[:, 1, 2] = (2 * across - 1) * (1 - share), (2 * down - 1) * (1 - share)
    flat = pictures.flatten(1, -3) if pictures.dim() > 3 else pictures.unsqueeze(1)
    grid = functional.affine_grid(turn, list(flat.shape), align_corners=False)
    found = functional.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    return found.view(pictures.shape).movedim((-2, -1), (place[HEIGHT], place[WIDTH]))


def _masked(rows: Tensor, axis: int, width: int, size: Tensor, start: Tensor, fill: Tensor) -> Tensor:
    """size, start: (B,), of one run."""
    length = rows.shape[axis]
    most = min(width, length)
    wide = (size * (most + 1)).floor().clamp(max=most)
    first = (start * (length - wide + 1)).floor().clamp(max=length - wide)
    places = torch.arange(length, device=rows.device)
    inside = (places >= first[:, None]) & (places < (first + wide)[:, None])
    shape = [len(rows)] + [1] * (rows.dim() - 1)
    shape[axis] = length
    return torch.where(inside.view(shape), fill.to(rows.dtype), rows)
