"""What a modality is: how a clip's source becomes a decoded form, what blank and noise are there, how it is shown.

A subclass in a file of its own is all that the package knows about a modality; everything else goes by its key.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from modalens.modalities._similarity import Similarity
from modalens.plugins import introspection, registry
from modalens.plugins.options import resolve

Array = NDArray[Any]
Source = Literal["media", "column", "columns", "file", "store"]
# Files that hold pictures that move, and as a rule what is heard with them.
CONTAINERS = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv",
)  # fmt: skip
Attempt = tuple[Callable[..., Any], tuple[Any, ...]]


class Modality:
    """Options of the decoded form are keyword arguments of the constructor; it raises UserError for what cannot be.

    form: name of the decoded form, of its rule and of its folder; encoders say which form they read.
    source: what of a clip is read: "media" its media file; "column" a cell of the annotations; "columns" several cells;
    "file" the file that a cell names; "store" its id in a file of the whole study.
    axes: of a decoded row, one name each; what is masked at the input is a piece along them, but never of `channel` or
    `part`. A vector without a name is one piece.
    label, color: for a reader; blank_name: the adjective of the input that holds nothing ("silent audio").
    cells: columns of the status table beside those that every form has.
    suffixes: of names of files that may hold it, by which `modalens init` finds it.
    unique: whether clips of equal rows are the same clip, as with sound or pictures; two products may have equal cells.
    shown_axes: axes of features that run down and along the picture that `show` makes, with a minus sign before one
    that runs up: there parts of a clip that matter are drawn.
    keep: whether decoded rows stay after the features are made, where the config does not say.
    environment: of envs/, in which its jobs decode.
    seconds: of a clip that a row holds at most, set by the constructor; None: as long as the clip is. The least of a
    study's modalities that read media is the window of all of them.
    """

    form: ClassVar[str]
    axes: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[Source] = "media"
    label: ClassVar[str] = ""
    color: ClassVar[str] = "#555555"
    blank_name: ClassVar[str] = "blank"
    cells: ClassVar[tuple[str, ...]] = ()
    suffixes: ClassVar[tuple[str, ...]] = ()
    unique: ClassVar[bool] = True
    shown_axes: ClassVar[tuple[str, str] | None] = None
    keep: ClassVar[bool] = False
    environment: str = "media"
    seconds: float | None = None

    def attributes(self) -> dict[str, Any]:
        """JSON values that decoded rows and the features made of them bear: rows made with other ones never mix."""
        raise NotImplementedError

    def check(self) -> None:
        """Raises UserError, before anything runs, for what decoding needs beside its options and is not there."""

    def attempts(self) -> list[Attempt]:
        """(function, options), the best first; each runs in a process that may be killed, on the clips that killed the
        one before.

        source "media": function(path, start_s, end_s, *options); "column" and "file": function(cell, *options);
        "columns": function(tuple of cells, *options); "store": function(clip_id, *options). Returns (row, name of the
        decoder, *cells); the row is an array of the same shape and type for every clip. Raises ClipError for a clip
        that cannot be used. Must be a function of a module, so that a process can import it.
        """
        raise NotImplementedError

    def flag(self, row: Array, *cells: Any) -> str:
        """A cause that is noted of a clip that stays usable, or ""."""
        del row, cells
        return ""

    def blank(self) -> Array:
        """A decoded row that holds nothing: silence, black."""
        raise NotImplementedError

    def noise(self, draw: np.random.Generator) -> Array:
        """A decoded row of noise."""
        raise NotImplementedError

    def sketch(self, row: Array) -> Array | None:
        """A decoded row -> a small array that survives re-encoding; None: this modality is compared by digest alone."""
        del row
        return None

    def word(self, sketch: Array) -> str:
        """A sketch -> hexadecimal digits, near-equal for near-equal content: what a frozen list keeps."""
        raise NotImplementedError

    # Share of the bits of two words within which they tell the same content.
    word_tolerance: ClassVar[float] = 0.1

    def similarity(self, sketches: Array) -> Similarity:
        """Sketches (N, ...) of all clips -> how alike any two of them are."""
        raise NotImplementedError

    def show(self, row: Array) -> Any:
        """A decoded row for a reader's eye: an RGB picture (H, W, 3) uint8, or a text; "" shows nothing."""
        del row
        return ""

    def stretch(self, axis: str, first: int, end: int) -> str:
        """Places first to end - 1 along an axis of the features, for a reader."""
        return f"{axis} {first}" if end == first + 1 else f"{axis} {first} to {end - 1}"


def load_modality(kind: str, options: Mapping[str, Any]) -> Modality:
    """A modality by its public name. options: of its decoded form; a misspelt one raises UserError."""
    maker = registry.load("modalities", kind)
    made: Modality = maker(**resolve(maker, options, f"modalities: {kind}: decode"))
    return made


def word_tolerance(form: str) -> float:
    """Share of the bits within which two words of sketches tell the same content. form: folder of the decoded form."""
    for kind in registry.names("modalities"):
        if form.startswith(introspection.attribute("modalities", kind, "form")):
            return float(introspection.attribute("modalities", kind, "word_tolerance", Modality.word_tolerance))
    return Modality.word_tolerance
