"""Features of one's own: a row of numbers of each clip, from one HDF5 or Parquet file by clip id."""

from typing import Any

import numpy as np

from modalens.modalities._base import Array, Attempt, Modality


class Features(Modality):
    form = "features"
    source = "store"
    label = "Features"
    color = "#999933"
    blank_name = "zero"

    def __init__(self, *, file: str) -> None:
        """file: HDF5 with `ids` (N,) and `data` (N, ...), or a data set for each clip called as its id; or Parquet with
        a column `clip_id` and one column of lists or a column for each number. Paths count from the working directory.
        All rows have the shape of the first; `axes` of the entry names its axes.
        """
        from modalens.media.own_features import shape_of

        self.file = file
        self.shape = shape_of(file)

    def attributes(self) -> dict[str, Any]:
        return {"form": self.form, "shape": list(self.shape)}

    def attempts(self) -> list[Attempt]:
        from modalens.media.own_features import read_features

        return [(read_features, (self.file, self.shape))]

    def blank(self) -> Array:
        return np.zeros(self.shape, np.float32)

    def noise(self, draw: np.random.Generator) -> Array:
        """White noise of deviation 1: the unit of the features is not known here."""
        return draw.standard_normal(self.shape).astype(np.float32)

    def show(self, row: Array) -> str:
        """Size and deviation."""
        return f"{' x '.join(map(str, row.shape))} numbers, {row.mean():.3g} ± {row.std():.2g}"
