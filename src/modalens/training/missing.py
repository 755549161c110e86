"""Training clips that lack a modality: which of them is drawn, and what stands in for it is what evaluation puts there.

Only training clips: a model is chosen, and tested, on clips that have everything.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalens.modalities import Modality
from modalens.models import Shape, mean_of
from modalens.utils import hdf5
from modalens.utils.errors import UserError

# Rows of a file of stage `replacements`: what holds nothing, and noise, through the encoder. Several draws of it, so
# that no result hangs on one.
BLANK = "blank"
NOISES = tuple(f"gaussian-{index}" for index in range(16))
ROWS = {"blank@input": (BLANK,), "gaussian@input": NOISES}
BLANK_AND_NOISES = (BLANK, *NOISES)
NO_MEAN = "what clips are decoded to has no mean; expected blank@input, gaussian@input or shuffle@input"
SEED = 0  # of noise
KINDS = ("mean@input", "shuffle@input", *ROWS)


class Missing:
    """shares: modality -> share of the training clips without it; no clip lacks two. seed: of the draw, which is the
    same for all models and training seeds. Raises UserError."""

    def __init__(
        self, *, shares: Mapping[str, float] | None = None, replacement: str = "mean@input", seed: int = 0
    ) -> None:
        self.shares = dict(shares or {})
        self.replacement = replacement
        self.seed = seed
        if self.replacement not in KINDS:
            raise UserError(f"missing.replacement: expected one of {', '.join(KINDS)}, got {self.replacement!r}")
        for name, share in self.shares.items():
            if not 0 <= share <= 1:
                raise UserError(f"missing.shares.{name}: expected a number from 0 to 1, got {share}")
        if (total := sum(self.shares.values())) > 1 + 1e-9:
            raise UserError(f"missing.shares: expected 1 at most together, as no clip lacks two, got {total:g}")

    def lacking(self, count: int) -> dict[str, NDArray[np.bool_]]:
        """Of `count` clips in the order of their ids those that lack each modality: (count,) each."""
        order = np.random.default_rng(self.seed).permutation(count)
        found, start = {}, 0.0
        for name in sorted(self.shares):
            end = start + self.shares[name]
            found[name] = np.zeros(count, bool)
            found[name][order[round(start * count) : round(end * count)]] = True
            start = end
        return found

    def places(self, name: str, lacks: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The same of a modality in its decoded form: for each clip that lacks it the place of the clip whose row
        stands in, or -1 - k for the k-th of `blank_and_noises`."""
        draw, count = np.random.default_rng([self.seed, zlib.crc32(name.encode())]), int(lacks.sum())
        if self.replacement in ROWS:
            rows = ROWS[self.replacement]
            return -1 - (BLANK_AND_NOISES.index(rows[0]) + draw.integers(len(rows), size=count))
        there = np.flatnonzero(~lacks)
        if self.replacement != "shuffle@input":
            raise UserError(f"missing.replacement: {self.replacement}: {name}: {NO_MEAN}")
        if not len(there):
            raise UserError(
                f"missing.replacement: {self.replacement}: {name}: no clip has it; expected a share below 1"
            )
        return draw.choice(there, size=count)

    def replace(
        self, features: Mapping[str, Tensor], shapes: Mapping[str, Shape], files: Mapping[str, Path]
    ) -> dict[str, Tensor]:
        """{modality: (N, ...)} of the clips in the order of their ids, as many as there are; what it was given stays as
        it is. files: modality -> file of stage `replacements`, for the kinds of ROWS."""
        found = dict(features)
        if not found:
            return found
        for name, lacks in self.lacking(len(next(iter(features.values())))).items():
            if name in features and lacks.any():
                values = features[name].clone()
                values[torch.from_numpy(lacks)] = self._stand_ins(name, values, lacks, shapes[name], files)
                found[name] = values
        return found

    def _stand_ins(
        self, name: str, values: Tensor, lacks: NDArray[np.bool_], shape: Shape, files: Mapping[str, Path]
    ) -> Tensor:
        """One row for each clip that lacks the modality."""
        draw = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        where = f"missing.replacement: {self.replacement}: {name}"
        if self.replacement in ROWS:
            if name not in files:
                raise UserError(f"{where}: no file of replacements is given")
            rows = torch.from_numpy(hdf5.read(files[name], ROWS[self.replacement])).to(values.dtype)
            return rows[torch.from_numpy(draw.integers(len(rows), size=int(lacks.sum())))]
        there = np.flatnonzero(~lacks)
        if not len(there):
            raise UserError(f"{where}: no clip has it; expected a share below 1")
        if self.replacement == "shuffle@input":
            return values[torch.from_numpy(draw.choice(there, size=int(lacks.sum())))]
        if not values.is_floating_point():
            raise UserError(f"{where}: features of type {values.dtype} have no mean; take shuffle@input or blank@input")
        return mean_of(shape, [values[torch.from_numpy(there)]]).to(values.dtype)


def blank_and_noises(modality: Modality) -> NDArray[Any]:
    """Decoded rows (1 + K, ...), in the order of BLANK_AND_NOISES."""
    noises = [modality.noise(np.random.default_rng([SEED, place])) for place in range(len(NOISES))]
    return np.stack([modality.blank(), *noises])
