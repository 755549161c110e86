"""Table: cells of the annotations (fields, 3) float32: number, whether there is a value, code of a category."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from modalens.modalities._base import Array, Attempt, Modality


class Table(Modality):
    form = "table"
    axes = ("field", "part")
    source = "columns"
    label = "Table"
    color = "#56B4E9"
    blank_name = "empty"
    unique = False
    keep = True

    def __init__(self, *, columns: Sequence[str] = (), categories: Sequence[str] = ()) -> None:
        """columns: fields of a row, those of the entry's `columns`. categories: those whose cells are names of
        categories; the cells of the others are numbers, and one that is not makes the clip fail. Empty cells, NA, NaN,
        null and none are missing. Rows stay raw: scales and vocabularies are learnt from the training clips.
        """
        self.columns, self.categories = list(columns), sorted(categories)

    def attributes(self) -> dict[str, Any]:
        return {"form": self.form, "columns": self.columns, "categories": self.categories}

    def attempts(self) -> list[Attempt]:
        from modalens.media.table_row import read_row

        return [(read_row, (self.columns, self.categories))]

    def blank(self) -> Array:
        """A row of which every cell is missing."""
        return np.zeros((len(self.columns), 3), np.float32)

    def noise(self, draw: np.random.Generator) -> Array:
        """Numbers of deviation 1, and categories that nobody has seen."""
        from modalens.media.table_row import CODES

        row = self.blank()
        row[:, 1] = 1
        for place, name in enumerate(self.columns):
            row[place, 2 if name in self.categories else 0] = (
                draw.integers(1, CODES) if name in self.categories else draw.standard_normal()
            )
        return row

    def stretch(self, axis: str, first: int, end: int) -> str:
        """The names of the columns."""
        return ", ".join(self.columns[first:end]) if axis == "field" else super().stretch(axis, first, end)

    def show(self, row: Array) -> str:
        """The numbers by column; of a category only its code is kept."""
        said = []
        for name, (number, there, code) in zip(self.columns, row.tolist(), strict=True):
            said.append(f"{name} " + ("missing" if not there else f"#{code:.0f}" if code else f"{number:g}"))
        return ", ".join(said)
