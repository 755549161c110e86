"""SlowFast: two residual networks over one clip, (N, 3, T, H, W) -> (N, 2304). The slow one sees every fourth frame,
the fast one all of them with an eighth of the channels, and tells the slow one what it saw.

Source: Feichtenhofer et al. 2019, table 1 (T = 32, alpha = 4 as published for R50 8 x 8, beta = 1/8). Parameters are
named as in PyTorchVideo, which is no longer maintained and whose published weights load by them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SLOWER = 4  # alpha: the slow pathway sees one frame in so many
NARROWER = 8  # the inverse of beta
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# Frames that the connection from fast to slow looks at, as in the published weights.
FUSED = {50: 7, 101: 5}
FRAMES, SIDE = 32, 224
MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
URL = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R{depth}.pyth"
Pair = list[Tensor]  # slow, fast


class SlowFast(nn.Module):
    def __init__(self, depth: int = 50, width: int = 64, classes: int = 400) -> None:
        """depth: 50 or 101. width: channels of the slow stem, 64 in the paper."""
        super().__init__()
        fused = FUSED[depth]
        fast = width // NARROWER
        self.blocks = nn.ModuleList([_Stage([_Stem(width, 1), _Stem(fast, 5)], fast, fused)])
        entering, leaving = width, 4 * width
        for stage, count in enumerate(DEPTHS[depth]):
            # Only late stages of the slow pathway look over time; all of the fast one do.
            slow = _residual(count, entering + 2 * entering // NARROWER, leaving, 3 if stage > 1 else 1, stage)
            quick = _residual(count, entering // NARROWER, leaving // NARROWER, 3, stage)
            self.blocks.append(_Stage([slow, quick], leaving // NARROWER if stage < 3 else 0, fused))
            entering, leaving = leaving, 2 * leaving
        self.blocks.append(nn.Identity())
        self.blocks.append(_Head(entering + entering // NARROWER, classes))

    def forward(self, clips: Tensor) -> Tensor:
        """The features: averages over time and places of both pathways. T must be a multiple of 4."""
        frames = clips.shape[2]
        seen = torch.linspace(0, frames - 1, frames // SLOWER, device=clips.device).long()
        pair = [clips[:, :, seen], clips]
        for stage in self.blocks[:-2]:
            pair = stage(pair)
        return torch.cat([values.mean((2, 3, 4)) for values in pair], 1)


class _Stage(nn.Module):
    def __init__(self, pathways: Sequence[nn.Module], fast: int, fused: int) -> None:
        """fast: channels of the fast pathway, which go on to the slow one; 0 where none do."""
        super().__init__()
        self.multipathway_blocks = nn.ModuleList(pathways)
        self.multipathway_fusion = _Fusion(fast, fused) if fast else nn.Identity()

    def forward(self, pair: Pair) -> Pair:
        done = [pathway(values) for pathway, values in zip(self.multipathway_blocks, pair, strict=True)]
        fused: Pair = self.multipathway_fusion(done)
        return fused


class _Fusion(nn.Module):
    def __init__(self, channels: int, fused: int) -> None:
        super().__init__()
        self.conv_fast_to_slow = nn.Conv3d(
            channels, 2 * channels, (fused, 1, 1), (SLOWER, 1, 1), (fused // 2, 0, 0), bias=False
        )
        self.norm = nn.BatchNorm3d(2 * channels)

    def forward(self, pair: Pair) -> Pair:
        slow, fast = pair
        return [torch.cat([slow, self.norm(self.conv_fast_to_slow(fast)).relu()], 1), fast]


class _Stem(nn.Module):
    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, channels, (frames, 7, 7), (1, 2, 2), (frames // 2, 3, 3), bias=False)
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, clips: Tensor) -> Tensor:
        values = self.norm(self.conv(clips)).relu()
        return nn.functional.max_pool3d(values, (1, 3, 3), (1, 2, 2), (0, 1, 1))


class _Blocks(nn.Module):
    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.res_blocks = nn.ModuleList(blocks)

    def forward(self, values: Tensor) -> Tensor:
        for block in self.res_blocks:
            values = block(values)
        return values


def _residual(count: int, entering: int, leaving: int, frames: int, stage: int) -> _Blocks:
    """frames: that the first convolution of a block looks at. All stages but the first halve the picture."""
    first = _Block(entering, leaving, frames, 2 if stage else 1)
    return _Blocks([first, *(_Block(leaving, leaving, frames, 1) for _ in range(count - 1))])


class _Block(nn.Module):
    def __init__(self, entering: int, leaving: int, frames: int, stride: int) -> None:
        super().__init__()
        self._projects = entering != leaving or stride > 1
        if self._projects:
            self.branch1_conv = nn.Conv3d(entering, leaving, 1, (1, stride, stride), bias=False)
            self.branch1_norm = nn.BatchNorm3d(leaving)
        self.branch2 = _Bottleneck(entering, leaving, frames, stride)

    def forward(self, values: Tensor) -> Tensor:
        around = self.branch1_norm(self.branch1_conv(values)) if self._projects else values
        total: Tensor = around + self.branch2(values)
        return total.relu()


class _Bottleneck(nn.Module):
    def __init__(self, entering: int, leaving: int, frames: int, stride: int) -> None:
        super().__init__()
        inner = leaving // 4
        self.conv_a = nn.Conv3d(entering, inner, (frames, 1, 1), padding=(frames // 2, 0, 0), bias=False)
        self.norm_a = nn.BatchNorm3d(inner)
        self.conv_b = nn.Conv3d(inner, inner, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.norm_b = nn.BatchNorm3d(inner)
        self.conv_c = nn.Conv3d(inner, leaving, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(leaving)

    def forward(self, values: Tensor) -> Tensor:
        values = self.norm_a(self.conv_a(values)).relu()
        values = self.norm_b(self.conv_b(values)).relu()
        found: Tensor = self.norm_c(self.conv_c(values))
        return found


class _Head(nn.Module):
    """There for the weights only."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.proj = nn.Linear(size, classes)
