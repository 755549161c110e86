"""Text: a cell of the annotations as UTF-8 (max_bytes,) uint8, zeros after its end."""

import hashlib
from typing import Any

import numpy as np

from modalens.modalities._base import Array, Attempt, Modality
from modalens.modalities._similarity import VectorSimilarity
from modalens.utils.errors import UserError

PIECE = 5  # letters of a piece of text
BUCKETS = 256  # that pieces are counted in
NEAR = 0.95
PRINTABLE = np.frombuffer(bytes(range(32, 127)), np.uint8)


class Text(Modality):
    form = "texts"
    source = "column"
    label = "Text"
    color = "#009E73"
    blank_name = "empty"
    word_tolerance = 0.1

    def __init__(self, *, max_bytes: int = 4096) -> None:
        """max_bytes: of a text in UTF-8; a longer one is cut after a whole character, and its status says `cut_text`.

        Each column of text is a modality of its own: `title: {kind: text, column: title, encoder: ...}`.
        """
        if max_bytes < 4:
            raise UserError(f"text: max_bytes: expected at least 4, got {max_bytes}")
        self.max_bytes = max_bytes

    def attributes(self) -> dict[str, Any]:
        return {"form": self.form, "max_bytes": self.max_bytes}

    def attempts(self) -> list[Attempt]:
        from modalens.media.text import read_text

        return [(read_text, (self.max_bytes,))]

    def blank(self) -> Array:
        """The empty text."""
        return np.zeros(self.max_bytes, np.uint8)

    def noise(self, draw: np.random.Generator) -> Array:
        """Printable ASCII, as long as a sentence or as fits."""
        row = self.blank()
        length = min(self.max_bytes, 100)
        row[:length] = draw.choice(PRINTABLE, length)
        return row

    def sketch(self, row: Array) -> Array:
        """(max_bytes,) -> (BUCKETS,) float16: square roots of how often pieces of PIECE letters fall into each bucket.

        Case, spaces and marks do not count.
        """
        letters = "".join(letter for letter in self.show(row).casefold() if letter.isalnum())
        counts = np.zeros(BUCKETS, np.float32)
        for start in range(max(len(letters) - PIECE + 1, 1)):
            digest = hashlib.blake2b(letters[start : start + PIECE].encode(), digest_size=2).digest()
            counts[int.from_bytes(digest, "big") % BUCKETS] += 1
        return np.sqrt(counts).astype(np.float16)

    def word(self, sketch: Array) -> str:
        """64 hexadecimal digits: a bit for each bucket, whether it holds more than a bucket does on average."""
        levels = sketch.astype(np.float32)
        return np.packbits(levels > levels.mean()).tobytes().hex()

    def similarity(self, sketches: Array) -> VectorSimilarity:
        return VectorSimilarity(sketches, NEAR, sufficient=True)

    def show(self, row: Array) -> str:
        """The text."""
        return row.tobytes().split(b"\0", 1)[0].decode("utf-8", "replace")
