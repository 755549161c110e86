"""The parts that models are made of: one sub-network a modality, classification head.

Source: seed paper, section 3: a single 2-D convolution on the log-mel, frozen ResNet50 features, three fully connected
layers; every layer but the last is followed by ReLU. Its appendix with the sizes is not published: a size that is not
512, 400 or 912 is ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modalens.models._fitted import CONSTANT
from modalens.models._shapes import CHANNEL, Shape, Shapes, is_spectrogram

KERNEL = (5, 9)  # mels x steps
STRIDE = (2, 8)


class SpectrogramNetwork(nn.Module):
    """Log-mel (B, mel, time) -> (B, size). One convolution, pooling to a coarse grid, one fully connected layer."""

    def __init__(self, shape: Shape, size: int, channels: int = 16, grid: tuple[int, int] = (16, 4)) -> None:
        """grid: at most this many mels x steps are left after pooling, so that pitch and order stay visible."""
        super().__init__()
        sizes = tuple(shape.values())
        self.convolution = nn.Conv2d(1, channels, KERNEL, STRIDE, padding=(KERNEL[0] // 2, KERNEL[1] // 2))
        self.pool = pool_to(tuple(-(-s // stride) for s, stride in zip(sizes, STRIDE, strict=True)), grid)
        with torch.no_grad():
            pooled = self.pool(self.convolution(torch.zeros(1, 1, *sizes))).numel()
        self.linear = nn.Linear(pooled, size)

    def forward(self, features: Tensor) -> Tensor:
        maps = self.pool(self.convolution(features.unsqueeze(1)).relu_())
        return self.linear(maps.flatten(1)).relu()


class CellsNetwork(nn.Module):
    """Log-mel (B, mel, time) -> (B, size): averaged to a coarse grid of cells, each standardised over the training
    clips, one linear layer. No ReLU: behind it a linear model stays one.

    Not the paper's. Of few clips it learns what a logistic regression does: after averaging, a cell differs little
    between clips beside what they all share, and a layer on cells that are not standardised hardly sees it.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: Shape, size: int, grid: tuple[int, int] = (64, 4)) -> None:
        """grid: at most this many mels x steps are left."""
        super().__init__()
        sizes = tuple(shape.values())
        self.pool = pool_to(sizes, grid)
        cells = self.pool(torch.zeros(1, *sizes)).numel()
        self.register_buffer("mean", torch.zeros(cells))
        self.register_buffer("scale", torch.ones(cells))
        self.linear = nn.Linear(cells, size)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """batches: normalised features of the training clips."""
        cells = torch.cat([self.pool(batch).flatten(1).double() for batch in batches])
        std = cells.std(0, correction=0)
        self.mean.copy_(cells.mean(0))
        self.scale.copy_(torch.where(std > CONSTANT, std.reciprocal(), 0.0))

    def forward(self, features: Tensor) -> Tensor:
        cells = (self.pool(features).flatten(1) - self.mean) * self.scale
        return self.linear(cells)


class SequenceNetwork(nn.Module):
    """Vectors (B, ..., channel), one per frame, word or place, or a single one -> (B, size): one layer on each, their
    mean, one layer."""

    def __init__(self, shape: Shape, size: int, step_size: int = 128) -> None:
        """step_size: width of the first layer; the paper does not give it."""
        super().__init__()
        self.each = nn.Linear(shape[CHANNEL], step_size)
        self.linear = nn.Linear(step_size, size)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.each(as_sequence(features)).relu_().mean(1)).relu()


class PooledLayer(nn.Module):
    """Log-mel (B, mel, time) -> (B, size): averaged down to a coarse grid, one fully connected layer."""

    def __init__(self, shape: Shape, size: int, grid: tuple[int, int] = (64, 4)) -> None:
        """grid: at most this many mels x steps are left; the paper does not say how a log-mel enters one layer."""
        super().__init__()
        sizes = tuple(shape.values())
        self.pool = pool_to(sizes, grid)
        self.linear = nn.Linear(self.pool(torch.zeros(1, *sizes)).numel(), size)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.pool(features).flatten(1)).relu()


class StepLayer(nn.Module):
    """Vectors (B, ..., channel) -> (B, size): one fully connected layer on their mean."""

    def __init__(self, shape: Shape, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(shape[CHANNEL], size)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(as_sequence(features).mean(1)).relu()


class MeanNetwork(nn.Module):
    """Vectors (B, ..., channel) -> (B, channel): their mean, nothing else."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.size = shape[CHANNEL]

    def forward(self, features: Tensor) -> Tensor:
        return as_sequence(features).mean(1)


def as_sequence(features: Tensor) -> Tensor:
    """(B, channel) or (B, ..., channel) -> (B, steps, channel)."""
    return features.unsqueeze(1) if features.dim() == 2 else features.flatten(1, -2)


def pool_to(shape: Sequence[int], grid: Sequence[int]) -> nn.AvgPool2d:
    """Average pooling of (..., *shape) to at most `grid` cells.

    Plain, not adaptive: the gradient of adaptive pooling is not deterministic on CUDA, and MPS lacks its uneven cells.
    """
    height, width = (-(-size // cells) for size, cells in zip(shape, grid, strict=True))
    return nn.AvgPool2d((height, width), ceil_mode=True, count_include_pad=False)


def unimodal_networks(
    shapes: Shapes,
    *,
    spectrogram_size: int,
    channels: int,
    sequence_size: int,
    step_size: int,
    convolution: bool = True,
) -> dict[str, nn.Module]:
    """The unimodal models' sub-networks, by the axes of what they read: spectrograms or vectors."""
    spectrogram: Any = partial(CellsNetwork, size=spectrogram_size)
    if convolution:
        spectrogram = partial(SpectrogramNetwork, size=spectrogram_size, channels=channels)

    def sequence(shape: Shape) -> nn.Module:
        if not sequence_size:
            return MeanNetwork(shape)
        return SequenceNetwork(shape, sequence_size, step_size) if step_size else StepLayer(shape, sequence_size)

    return {name: (spectrogram if is_spectrogram(shapes[name]) else sequence)(shapes[name]) for name in sorted(shapes)}


def sizes(networks: Mapping[str, nn.Module]) -> dict[str, int]:
    """Of the embeddings."""
    return {
        name: network.size if isinstance(network, MeanNetwork) else network.linear.out_features  # type: ignore[union-attr, misc]
        for name, network in networks.items()
    }


class WithShortcut(nn.Module):
    """(B, size) -> logits (B, classes): a head, and a linear layer past its hidden ones."""

    def __init__(self, head: nn.Module, size: int, classes: int) -> None:
        super().__init__()
        self.head = head
        self.shortcut = nn.Linear(size, classes)

    def forward(self, embedding: Tensor) -> Tensor:
        logits: Tensor = self.head(embedding) + self.shortcut(embedding)
        return logits


def mlp_head(size: int, hidden: Sequence[int], classes: int, dropout: float) -> nn.Sequential:
    """(B, size) -> logits (B, classes) through fully connected layers with ReLU between them."""
    layers: list[nn.Module] = []
    for wanted in hidden:
        layers += [nn.Linear(size, wanted), nn.ReLU(), nn.Dropout(dropout)]
        size = wanted
    return nn.Sequential(*layers, nn.Linear(size, classes))
