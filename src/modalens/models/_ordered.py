"""Sub-networks that see the order of steps: of readings over time, or of tokens.

The mean over steps that the other sub-networks take is the same whatever the order is; a movement and its reverse look
alike to it. Of 128 readings of a wrist and 48 poses of a body (UTD-MHAD, 430 training clips) it made .63 where the
convolution made .76; of 40 recordings of a wrist (BasicMotions) 1.00 and .90.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modalens.models._shapes import CHANNEL, Shape, Shapes
from modalens.utils.errors import UserError

RUNS = (("time", CHANNEL), ("token", CHANNEL))


class Convolutions(nn.Module):
    """(B, steps, channel) -> (B, size): two convolutions that each halve the steps, then mean and maximum over them.

    Source: the fully convolutional network of Wang et al. 2017, with two layers for three, and no batch normalisation,
    by which a clip's embedding would depend on others.
    """

    def __init__(self, shape: Shape, size: int, step_size: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(shape[CHANNEL], step_size, 7, stride=2, padding=3)
        self.second = nn.Conv1d(step_size, step_size, 5, stride=2, padding=2)
        self.linear = nn.Linear(2 * step_size, size)

    def forward(self, features: Tensor) -> Tensor:
        maps = self.second(self.first(features.transpose(1, 2)).relu()).relu()
        return self.linear(torch.cat([maps.mean(2), maps.amax(2)], 1)).relu()


class Recurrent(nn.Module):
    """(B, steps, channel) -> (B, size): an LSTM, of which the last state is read. Source: Hochreiter and Schmidhuber
    1997."""

    def __init__(self, shape: Shape, size: int, step_size: int) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(shape[CHANNEL], step_size, batch_first=True)
        self.linear = nn.Linear(step_size, size)

    def forward(self, features: Tensor) -> Tensor:
        _, (last, _) = self.recurrent(features)
        return self.linear(last[-1]).relu()


# Steps that one place after both convolutions sees. Shorter runs, such as eight frames of a clip, are averaged, as the
# seed paper averages frames.
REACH = 7 + 2 * (5 - 1)
AVERAGED = "mean"
KINDS: dict[str, type[Convolutions] | type[Recurrent]] = {"convolution": Convolutions, "lstm": Recurrent}


def ordered(
    shapes: Shapes, sequences: Mapping[str, str] | None, *, sequence_size: int, step_size: int
) -> dict[str, nn.Module]:
    """{modality: sub-network} of those whose order is seen. sequences: {modality: name of KINDS, or "mean"}.

    A modality that it does not name has convolutions where it is vectors over time, more of them than REACH. Modalities
    that are none of `shapes` are left out, as a model may look at some of a study's. Raises UserError.
    """
    long = {name for name, shape in shapes.items() if tuple(shape) == RUNS[0] and shape["time"] > REACH}
    asked = dict.fromkeys(long if sequence_size else (), "convolution") | dict(sequences or {})
    found: dict[str, nn.Module] = {}
    for name, kind in sorted(asked.items()):
        if kind == AVERAGED:
            continue
        if kind not in KINDS:
            raise UserError(f"sequences.{name}: expected {', '.join(KINDS)} or {AVERAGED}, got {kind!r}")
        if name not in shapes:
            continue
        if tuple(shapes[name]) not in RUNS:
            axes = ", ".join(shapes[name])
            raise UserError(f"sequences.{name}: expected vectors over time or tokens, got the axes ({axes})")
        if not sequence_size:
            raise UserError(f"models: sequences: {name}: expected sequence_size from 1, got 0")
        found[name] = KINDS[kind](shapes[name], sequence_size, step_size or sequence_size)
    return found
