"""Transformer encoders of sequences, one vector a time step. Source: Vaswani et al. 2017, section 3.

Layers normalise what goes into them, not what comes out, and the encoder its result: this learns without a warm-up of
the learning rate. The BalanceMLA paper, which the models use these for, says layers, heads and dropout only.
"""

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn

from modalens.models._networks import as_sequence
from modalens.models._shapes import Shape, Shapes, channels, is_spectrogram, places
from modalens.utils.errors import UserError

LONGEST = 128  # steps of a sequence whose length is not asked for: 10 s at 12.8 steps a second
INNER = 4  # times the width, within a layer
PERIOD = 10_000.0  # of the slowest position wave


def averaging(steps: int, wanted: int) -> Tensor:
    """(wanted, steps): a sequence is cut into `wanted` equal spans, and each is the mean of the steps that it covers.

    Spans shorter than a step repeat it. A fixed matrix, not adaptive pooling: the gradient of that is not deterministic
    on CUDA, and MPS lacks its uneven spans.
    """
    edges = torch.arange(wanted + 1, dtype=torch.float64) * steps / wanted
    begins = torch.arange(steps, dtype=torch.float64)
    ends = torch.minimum(edges[1:, None], begins + 1)
    covered = (ends - torch.maximum(edges[:-1, None], begins)).clamp(min=0)
    return (covered / covered.sum(1, keepdim=True)).float()


def waves(steps: int, width: int) -> Tensor:
    """(steps, width): sines and cosines that tell a step's place."""
    place = torch.arange(width)
    angles = torch.arange(steps)[:, None] / PERIOD ** (2 * (place // 2) / width)
    return torch.where(place % 2 == 0, angles.sin(), angles.cos())


class FrequencyMask(nn.Module):
    """(B, T, C) -> the same with one band of neighbouring channels at 0, their training mean. Source: Park et al. 2019.

    While learning the band lies anew for every clip; in evaluation mode it is the middle one.
    """

    def __init__(self, channels: int, share: float) -> None:
        """share: of the channels, from 0 to 1."""
        super().__init__()
        self.band = round(share * channels)

    def forward(self, values: Tensor) -> Tensor:
        last = values.shape[2] - self.band
        place = torch.arange(values.shape[2], device=values.device)
        begin: Tensor | int = last // 2
        if self.training:
            begin = (torch.rand(len(values), 1, 1, device=values.device) * (last + 1)).floor()
        return values * ((place < begin) | (place >= begin + self.band))


class Attention(nn.Module):
    """Self-attention over steps: (B, T, width) -> (B, T, width)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        # A bias of the keys adds the same to all scores of a query, which the softmax does not see.
        self.projections = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor) -> Tensor:
        # (B, T, 3 width) -> three times (B, heads, T, width / heads)
        split = self.projections(values).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, contents = split.unbind(0)
        # Not torch's fused attention: it has no rule for vmap.
        scores = queries @ keys.transpose(2, 3) * queries.shape[3] ** -0.5
        return self.output((self.dropout(scores.softmax(3)) @ contents).transpose(1, 2).flatten(2))


class Inner(nn.Sequential):
    """(B, T, width) -> (B, T, width), each step by itself, to be added to what went in."""

    def __init__(self, width: int, dropout: float) -> None:
        wide = INNER * width
        super().__init__(
            nn.LayerNorm(width), nn.Linear(width, wide), nn.ReLU(), nn.Linear(wide, width), nn.Dropout(dropout)
        )


class Layer(nn.Module):
    """(B, T, width) -> (B, T, width)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.dropout = nn.Dropout(dropout)
        self.inner = Inner(width, dropout)

    def forward(self, values: Tensor) -> Tensor:
        values = values + self.dropout(self.attention(self.norm(values)))
        return values + self.inner(values)


class SequenceTransformer(nn.Module):
    """Features of a clip -> one vector a step: (B, mel, time), (B, ..., channel) or (B, channel) to (B, T, width)."""

    averages: Tensor
    places: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        length: int,
        mask: float,
    ) -> None:
        """length: T. mask: share of the channels."""
        super().__init__()
        self.spectrogram = is_spectrogram(shape)
        steps = prod(places(shape))
        self.mask = FrequencyMask(channels(shape), mask) if mask else nn.Identity()
        self._as_is = length == steps
        # Neither is saved: the shape and the options tell them.
        self.register_buffer("averages", averaging(steps, length), persistent=False)
        self.register_buffer("places", waves(length, width), persistent=False)
        self.projection = nn.Linear(channels(shape), width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(*(Layer(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        values = self.mask(features.transpose(1, 2) if self.spectrogram else as_sequence(features))
        if not self._as_is:
            values = self.averages @ values
        return self.norm(self.layers(self.dropout(self.projection(values) + self.places)))


def encoders(
    shapes: Shapes,
    *,
    width: int,
    layers: int,
    heads: int,
    dropout: float,
    lengths: Mapping[str, int] | None,
    mask: Mapping[str, float] | None,
) -> dict[str, SequenceTransformer]:
    """One a modality; what is no sequence is laid out as one: a picture's places row by row, a vector as one step.

    lengths: steps of a modality; of those not named, as many as it has, at most LONGEST. mask: share of a modality's
    channels (mels) that is hidden. Raises UserError for what cannot be.
    """
    lengths, mask = lengths or {}, mask or {}
    for option, given in (("lengths", lengths), ("mask", mask)):
        if strange := set(given) - set(shapes):
            raise UserError(f"{option}: expected modalities of {', '.join(sorted(shapes))}, got {strange.pop()!r}")
    if width % heads:
        raise UserError(f"a width of {width} is not divided by {heads} heads")
    if wrong := [share for share in mask.values() if not 0 <= share < 1]:
        raise UserError(f"mask: expected a share from 0 to below 1, got {wrong[0]}")
    if wrong := [length for length in lengths.values() if length < 1]:
        raise UserError(f"lengths: expected at least 1 step, got {wrong[0]}")
    found = {}
    for name in sorted(shapes):
        found[name] = SequenceTransformer(
            shapes[name],
            width=width,
            layers=layers,
            heads=heads,
            dropout=dropout,
            length=lengths.get(name, min(prod(places(shapes[name])), LONGEST)),
            mask=mask.get(name, 0.0),
        )
    return found
