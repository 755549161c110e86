"""Video: frames (count, crop, crop, 3) uint8 RGB, evenly spaced in time, or the key frames nearest to these."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from modalens.modalities._base import CONTAINERS, Array, Attempt, Modality
from modalens.modalities._pictures import grid_of, word_of
from modalens.modalities._similarity import VectorSimilarity
from modalens.utils.errors import UserError

GREY, GREY_STD = 127.5, 64.0  # of noise
# Two films that are less alike are no copies, whatever they sound like. Smaller copies at H.264's crf 32 kept 0.95.
NEAR = 0.9
SAMPLINGS = ("uniform", "keyframe")
PARTS = ("face", "mouth")


class Video(Modality):
    form = "frames"
    axes = ("time", "height", "width", "channel")
    shown_axes = ("height", "width")
    label = "Video"
    color = "#0072B2"
    blank_name = "black"
    cells = ("time_error_s", "key_frames")
    suffixes = CONTAINERS
    # A copy coded anew, smaller and at a low rate, kept its word within this share of bits.
    word_tolerance = 0.08

    def __init__(
        self,
        *,
        count: int = 8,
        sampling: str = "uniform",
        decoder: str = "pyav",
        resize: int = 256,
        crop: int = 224,
        rate: float = 0.0,
        region: Sequence[float] | str = (0, 0, 1, 1),
    ) -> None:
        """count: frames of a clip.

        sampling: "uniform", the frames shown at the centres of `count` equal parts, or "keyframe", the key frames
        nearest to these: several times faster; `time_error_s` of a clip's status says how far off the worst of its
        frames is, `key_frames` how many different ones it got.

        decoder: "pyav", or "decord": uniform frames by decord where PyAV finds that it can be trusted, which takes
        longer. resize: pixels of the shorter side before cropping. crop: pixels of the square centre crop.

        rate: frames a second, of a stretch in the middle of the clip, for networks that were trained on frames that lie
        close together (`count: 16, rate: 12.5` is every second frame of 25); 0 spreads them over the whole clip, and so
        are those of a clip that is shorter than the stretch. region: left, top, right and bottom of what is seen, in
        shares of the picture's sides, before resizing: [0.3, 0.55, 0.7, 0.95] is about the mouth of a talker who fills
        the picture. "face" or "mouth" is the square about that of the largest face, found in each frame by MTCNN
        (facenet-pytorch, which `make weights` brings) and scaled to `crop` whatever `resize` is: `{region: mouth, crop:
        80}`. Between frames that show it a face that is lost in some is interpolated, and noted (`lost_face`); a clip
        without any fails (`no_face`). A face counts from an eighth of the picture's shorter side.
        """
        if count < 1 or crop < 1:
            raise UserError(f"video: count and crop: expected at least 1, got {min(count, crop)}")
        self.region = _region(region)
        if isinstance(self.region, str):
            resize, self.environment = crop, "faces"
        if crop > resize:
            raise UserError(f"video: crop ({crop}) must not exceed resize ({resize})")
        if sampling not in SAMPLINGS:
            raise UserError(f"video: sampling: expected {' or '.join(SAMPLINGS)}, got {sampling!r}")
        if decoder not in ("decord", "pyav"):
            raise UserError(f"video: decoder: expected decord or pyav, got {decoder!r}")
        if not 0 <= rate < math.inf or (rate and sampling == "keyframe"):
            raise UserError(f"video: rate: expected 0, or with uniform sampling a number above, got {rate}")
        self.rate = float(rate)
        self.count, self.sampling, self.decoder, self.resize, self.crop = count, sampling, decoder, resize, crop

    def attributes(self) -> dict[str, Any]:
        # Not the decoder: whichever it is, the frames are those.
        sizes = {"count": self.count, "resize": self.resize, "crop": self.crop}
        return {"form": self.form, **sizes, "sampling": self.sampling, "rate": self.rate, "region": self.region}

    def check(self) -> None:
        if isinstance(self.region, str):
            from modalens.media.faces import required

            required()

    def attempts(self) -> list[Attempt]:
        from modalens.media.video import DECODERS, read_frames, read_key_frames  # decoders: seconds, and not everywhere

        sizes = (self.count, self.resize, self.crop)
        region = self.region if isinstance(self.region, str) else tuple(self.region)
        self.check()
        if self.sampling == "keyframe":
            return [(read_key_frames, (*sizes, region))]
        # decord hangs and crashes on some files that PyAV reads.
        order = DECODERS if self.decoder == "decord" and not isinstance(region, str) else ("pyav",)
        return [(read_frames, (*sizes, order[first:], self.rate, region)) for first in range(len(order))]

    def flag(self, row: Array, *cells: Any) -> str:
        from modalens.media.video import still

        # One frame, repeated because there is one key frame, is no evidence of a still picture.
        _, key_frames = cells or (0.0, 2)
        return "still_picture" if key_frames > 1 and still(row) else ""

    def blank(self) -> Array:
        return np.zeros((self.count, self.crop, self.crop, 3), np.uint8)

    def noise(self, draw: np.random.Generator) -> Array:
        values = draw.normal(GREY, GREY_STD, (self.count, self.crop, self.crop, 3))
        return values.round().clip(0, 255).astype(np.uint8)

    def sketch(self, row: Array) -> Array:
        """(F, H, W, 3) uint8 -> (8, 8, 3) float16: mean colours over time and over the cells of a grid."""
        return grid_of(row.mean(axis=0, dtype=np.float32))

    def word(self, sketch: Array) -> str:
        """48 hexadecimal digits."""
        return word_of(sketch)

    def similarity(self, sketches: Array) -> VectorSimilarity:
        return VectorSimilarity(sketches, NEAR, sufficient=False)

    def show(self, row: Array) -> Array:
        """The frame in the middle."""
        return row[len(row) // 2]


def _region(given: Sequence[float] | str) -> list[float] | str:
    if isinstance(given, str):
        if given not in PARTS:
            raise UserError(f"video: region: expected {' or '.join(PARTS)}, or four shares, got {given!r}")
        return given
    if len(given) != 4 or not (0 <= given[0] < given[2] <= 1 and 0 <= given[1] < given[3] <= 1):
        raise UserError(f"video: region: expected left < right and top < bottom from 0 to 1, got {list(given)}")
    return [float(share) for share in given]
