"""The parts of guidance: an expert's network that also shows its positions, attention that a second modality steers.

A network's positions are the vectors that it had just before they became one embedding: one a frame, word or step, or
one a cell of the spectrogram network's mels x steps. `grid` says how they lie, (rows, steps), row after row.
"""

from collections.abc import Sequence
from math import isqrt, prod

import torch
from torch import Tensor, nn

from modalens.models._networks import MeanNetwork, SequenceNetwork, SpectrogramNetwork, as_sequence
from modalens.models._sequences import averaging
from modalens.models._shapes import CHANNEL, Shape, places
from modalens.utils.errors import UserError


class SpectrogramPositions(SpectrogramNetwork):
    """The network of a spectrogram. forward is its own: read(positions(features)) in one go."""

    def __init__(self, shape: Shape, size: int, channels: int) -> None:
        super().__init__(shape, size, channels)
        with torch.no_grad():
            rows, steps = self.pool(self.convolution(torch.zeros(1, 1, *shape.values()))).shape[2:]
        self.grid = (rows, steps)
        self.position_size = channels

    def positions(self, features: Tensor) -> Tensor:
        """(B, mels, steps) -> (B, N, channels)."""
        return self.pool(self.convolution(features.unsqueeze(1)).relu_()).flatten(2).transpose(1, 2)

    def read(self, positions: Tensor) -> Tensor:
        """(B, N, channels) -> (B, size)."""
        return self.linear(positions.transpose(1, 2).flatten(1)).relu()


class SequencePositions(SequenceNetwork):
    """The network of vectors. forward is its own: read(positions(features)) in one go."""

    def __init__(self, shape: Shape, size: int, step_size: int) -> None:
        super().__init__(shape, size, step_size)
        *rows, steps = places(shape)
        self.grid = (prod(rows), steps)
        self.position_size = step_size

    def positions(self, features: Tensor) -> Tensor:
        """(B, ..., D) -> (B, N, step_size)."""
        return self.each(as_sequence(features)).relu_()

    def read(self, positions: Tensor) -> Tensor:
        """(B, N, step_size) -> (B, size)."""
        return self.linear(positions.mean(1)).relu()


class MeanPositions(MeanNetwork):
    """Vectors as they are: cells of a network's last map, tokens. forward is its own: read(positions(features))."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        *rows, steps = places(shape)
        self.grid = (prod(rows), steps)
        self.position_size = shape[CHANNEL]

    def positions(self, features: Tensor) -> Tensor:
        """(B, ..., D) -> (B, N, D)."""
        return as_sequence(features)

    def read(self, positions: Tensor) -> Tensor:
        """(B, N, D) -> (B, D)."""
        return positions.mean(1)


Positions = SpectrogramPositions | SequencePositions | MeanPositions


class GuidedAttention(nn.Module):
    """Positions of target (B, N, C) and guide (B, M, G) -> attention map (B, N, N), rows that add up to one.

    The guide's positions are brought to the target's grid, both are concatenated over channels, convolutions make the
    fusion embedding of them, and self-attention over its positions makes the map. Batch normalisation has no running
    statistics: this only ever runs while learning.
    """

    resampling: Tensor

    def __init__(
        self, target: Positions, guide: Positions, fused: Sequence[int], size: int, *, square: bool = False
    ) -> None:
        """fused: channels after each convolution. size: of queries and keys. square: the guide's positions are laid out
        as a square, to whose grid the target's are brought: the map is one of these."""
        super().__init__()
        self.grid = target.grid
        rows, steps = guide.grid
        self._square = square
        if square:
            side = isqrt(rows * steps)
            if side * side != rows * steps or self.grid[0] == 1:
                raise UserError(
                    f"models.guidance.square: expected a target with rows and a square number of the guide's positions "
                    f"such as 121, got {target.grid[0]} x {target.grid[1]} and {rows * steps}"
                )
            self._folded = 1
            resampling = torch.kron(averaging(self.grid[0], side), averaging(self.grid[1], side))
            self.grid = (side, side)
        elif self.grid[0] == 1:
            # A run of steps has no rows to lay mels beside: they are further channels of their step.
            self._folded, resampling = rows, averaging(steps, self.grid[1])
        else:
            self._folded = 1
            resampling = torch.kron(averaging(rows, self.grid[0]), averaging(steps, self.grid[1]))
        self.register_buffer("resampling", resampling, persistent=False)
        kernel = (1 if self.grid[0] == 1 else 3, 3)
        layers: list[nn.Module] = []
        channels = target.position_size + self._folded * guide.position_size
        for wanted in fused:
            layers.append(nn.Conv2d(channels, wanted, kernel, padding=(kernel[0] // 2, 1)))
            layers += [nn.ReLU(), nn.BatchNorm2d(wanted, track_running_stats=False)]
            channels = wanted
        self.convolutions = nn.Sequential(*layers)
        # Without biases: that of the keys adds the same to all scores of a query, which the softmax does not see.
        self.queries = nn.Linear(channels, size, bias=False)
        self.keys = nn.Linear(channels, size, bias=False)

    def on_grid(self, target: Tensor) -> Tensor:
        """Positions of the target (B, N, C) -> those that the map re-weights."""
        return self.resampling @ target if self._square else target

    def forward(self, target: Tensor, guide: Tensor) -> Tensor:
        if self._folded > 1:
            guide = guide.unflatten(1, (self._folded, -1)).transpose(1, 2).flatten(2)
        guide = guide if self._square else self.resampling @ guide
        both = torch.cat([self.on_grid(target), guide], 2).transpose(1, 2)
        fusion = self.convolutions(both.unflatten(2, self.grid)).flatten(2).transpose(1, 2)
        queries, keys = self.queries(fusion), self.keys(fusion)
        return (queries @ keys.transpose(1, 2) * keys.shape[2] ** -0.5).softmax(2)
