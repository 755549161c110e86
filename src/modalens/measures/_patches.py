"""Players of a Shapley value inside a clip: patches of each modality's features, by their named axes."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from modalens.measures._studied import Array
from modalens.utils.errors import UserError

WHOLE = ("channel", "part")  # axes that are never divided: what one place says is one thing


@dataclass(frozen=True)
class Patches:
    """owner: patch of each entry of one clip's features, of their shape or broadcast to it. names: of each patch, its
    ranges along the axes ("mel 0:16, time 25:50", the end not included)."""

    owner: Array
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def keep(self, kept: Array, features: Array, stand_ins: Array) -> Array:
        """kept: (B, K, patches), bool. features, stand_ins: (B, ...). Returns (B, K, ...): the clips' own where their
        patch is kept, what stands in elsewhere."""
        own = kept[..., self.owner]
        rows: Array = np.where(own, features[:, None], stand_ins[:, None].astype(features.dtype))
        return rows


def patches(shape: Mapping[str, int], most: int, grid: Mapping[str, int] | None = None) -> Patches:
    """shape: named axes of one clip's features. most: patches at most. grid: parts by axis, in place of `most`.

    Every axis but those of WHOLE is divided into nearly equal parts, the longest first. A vector of no more than `most`
    entries is a row of a table: each column is a patch; of a longer one, an embedding, no entry means anything alone,
    and it is one patch.
    """
    divided = [axis for axis in shape if axis not in WHOLE]
    if not divided:
        parts = {axis: size if size <= most else 1 for axis, size in shape.items()}
    else:
        parts = _shared({axis: shape[axis] for axis in divided}, most)
    if grid is not None:
        for axis, count in grid.items():
            if axis not in shape or not isinstance(count, int) or not 1 <= count <= shape[axis]:
                known = ", ".join(f"{name} 1 to {size}" for name, size in shape.items())
                raise UserError(f"grid: expected parts by axis, {known}; got {axis}: {count}")
        parts = {axis: grid.get(axis, 1) for axis in shape}
    owner = np.zeros([1] * len(shape), np.int64)
    names = [""]
    for place, (axis, size) in enumerate(shape.items()):
        count = parts.get(axis, 1)
        if count == 1 and axis not in divided:
            continue
        ends = np.linspace(0, size, count + 1).round().astype(int)
        along = np.repeat(np.arange(count), np.diff(ends))
        owner = owner * count + along.reshape([-1 if axis_place == place else 1 for axis_place in range(len(shape))])
        ranges = [f"{axis} {low}:{high}" for low, high in pairwise(ends)]
        names = [", ".join(filter(None, (name, one))) for name in names for one in ranges]
    return Patches(owner, tuple(names))


def _shared(sizes: Mapping[str, int], most: int) -> dict[str, int]:
    """Parts of each axis: doubled where parts are longest, while their product stays at most `most`."""
    if len(sizes) == 1:
        return {axis: min(size, most) for axis, size in sizes.items()}
    parts = dict.fromkeys(sizes, 1)
    while open_axes := [axis for axis in sizes if 2 * parts[axis] <= sizes[axis]]:
        if 2 * int(np.prod(list(parts.values()))) > most:
            break
        parts[max(open_axes, key=lambda axis: sizes[axis] / parts[axis])] *= 2
    return parts
