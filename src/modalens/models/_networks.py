"""The parts that models are made of: one sub-network a modality, classification head.

Source: seed paper, section 3: a single 2-D convolution on the log-mel, frozen ResNet50 features, three fully connected
layers; every layer but the last is followed by ReLU. Its appendix with the sizes is not published: a size that is not
512, 400 or 912 is ours.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

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
    shapes: Shapes, *, spectrogram_size: int, channels: int, sequence_size: int, step_size: int
) -> dict[str, nn.Module]:
    """The unimodal models' sub-networks, by the axes of what they read: spectrograms or vectors."""
    spectrogram = partial(SpectrogramNetwork, size=spectrogram_size, channels=channels)

    def sequence(shape: Shape) -> nn.Module:
        return SequenceNetwork(shape, sequence_size, step_size) if step_size else StepLayer(shape, sequence_size)

    return {name: (spectrogram if is_spectrogram(shapes[name]) else sequence)(shapes[name]) for name in sorted(shapes)}


def sizes(networks: Mapping[str, nn.Module]) -> dict[str, int]:
    """Of the embeddings."""
    return {name: network.linear.out_features for name, network in networks.items()}  # type: ignore[union-attr, misc]


def mlp_head(size: int, hidden: Sequence[int], classes: int, dropout: float) -> nn.Sequential:
    """(B, size) -> logits (B, classes) through fully connected layers with ReLU between them."""
    layers: list[nn.Module] = []
    for wanted in hidden:
        layers += [nn.Linear(size, wanted), nn.ReLU(), nn.Dropout(dropout)]
        size = wanted
    return nn.Sequential(*layers, nn.Linear(size, classes))
