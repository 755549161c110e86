"""Depth: frames (count, height, width) uint16 in millimetres, from a depth video, 16-bit pictures, or NPY and NPZ."""

from typing import Any

import numpy as np

from modalens.modalities._base import Array, Attempt, Modality
from modalens.utils.arguments import positive
from modalens.utils.errors import UserError

FAR = 10_000  # millimetres, white for a reader


class Depth(Modality):
    form = "depth"
    axes = ("time", "height", "width")
    shown_axes = ("height", "width")
    source = "file"
    label = "Depth"
    color = "#7A5195"
    blank_name = "unseen"

    def __init__(
        self, *, count: int = 8, height: int = 112, width: int = 112, scale: float = 1.0, array: str = ""
    ) -> None:
        """count: frames of a clip, at the centres of equal parts. height, width: pixels, cropped to that shape and
        taken from the nearest place. scale: millimetres of one unit of the files. array: its name in an NPZ file of
        several.

        A cell names one file, a folder of pictures, or several of them with | between.
        """
        if min(count, height, width) < 1:
            raise UserError(f"depth: count, height, width: expected at least 1, got {min(count, height, width)}")
        self.count, self.height, self.width, self.array = count, height, width, array
        self.scale = positive("depth: scale", scale)

    def attributes(self) -> dict[str, Any]:
        sizes = {"count": self.count, "height": self.height, "width": self.width}
        return {"form": self.form, **sizes, "scale": self.scale, "array": self.array}

    def attempts(self) -> list[Attempt]:
        from modalens.media.depth import read_depth  # a decoder: not everywhere

        return [(read_depth, (self.count, self.height, self.width, self.scale, self.array))]

    def blank(self) -> Array:
        """Nothing was seen."""
        return np.zeros((self.count, self.height, self.width), np.uint16)

    def noise(self, draw: np.random.Generator) -> Array:
        """Any distance up to FAR."""
        return draw.integers(0, FAR, (self.count, self.height, self.width)).astype(np.uint16)

    def show(self, row: Array) -> Array:
        """The frame in the middle: black for unseen, the nearer the brighter."""
        frame = row[len(row) // 2].astype(np.float32)
        near, far = (frame[frame > 0].min(), frame.max()) if frame.any() else (0.0, 1.0)
        grey = np.where(frame > 0, 255 - 200 * (frame - near) / max(far - near, 1.0), 0).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
