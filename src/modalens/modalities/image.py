"""Image: one picture of a clip (size, size, 3) uint8 RGB, from a file that a cell of the annotations names."""

from typing import Any

import numpy as np

from modalens.modalities._base import Array, Attempt, Modality
from modalens.modalities._pictures import grid_of, word_of
from modalens.modalities._similarity import VectorSimilarity
from modalens.utils.errors import UserError

GREY, GREY_STD = 127.5, 64.0  # of noise
# 299 of 300 product pictures kept this in a copy at a third of the size and JPEG's quality 30.
NEAR = 0.98


class Image(Modality):
    form = "images"
    axes = ("height", "width", "channel")
    shown_axes = ("height", "width")
    source = "file"
    label = "Image"
    color = "#CC79A7"
    blank_name = "black"
    suffixes = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
    word_tolerance = 0.08

    def __init__(self, *, size: int = 256) -> None:
        """size: pixels of the square: the shorter side is scaled to it, then the centre is cropped."""
        if size < 8:
            raise UserError(f"image: size: expected at least 8, got {size}")
        self.size = size

    def attributes(self) -> dict[str, Any]:
        return {"form": self.form, "size": self.size}

    def attempts(self) -> list[Attempt]:
        from modalens.media.picture import read_picture  # a decoder: not everywhere

        return [(read_picture, (self.size,))]

    def blank(self) -> Array:
        return np.zeros((self.size, self.size, 3), np.uint8)

    def noise(self, draw: np.random.Generator) -> Array:
        values = draw.normal(GREY, GREY_STD, (self.size, self.size, 3))
        return values.round().clip(0, 255).astype(np.uint8)

    def sketch(self, row: Array) -> Array:
        """(H, W, 3) uint8 -> (8, 8, 3) float16: mean colours of the cells of a grid."""
        return grid_of(row)

    def word(self, sketch: Array) -> str:
        """48 hexadecimal digits."""
        return word_of(sketch)

    def similarity(self, sketches: Array) -> VectorSimilarity:
        return VectorSimilarity(sketches, NEAR, sufficient=True)

    def show(self, row: Array) -> Array:
        """The picture."""
        return row
