"""Stage `replacements`: what a modality is replaced with at its input, through its encoder.

Source: seed paper, section 4: a black video through ResNet50, silence, or Gaussian noise. It does not give the noise's
mean and deviation: ours is mid-grey noise of a quarter of the range, and white noise of a tenth of full scale.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from modalens.encoders import attributes, encode
from modalens.utils import hdf5
from modalens.utils.errors import UserError

BLANK = "blank"
NOISES = tuple(f"gaussian-{index}" for index in range(16))  # several draws, so that no result hangs on one of them
SEED = 0
GREY, GREY_STD = 127.5, 64.0
SOUND_STD = 3276.8

Array = np.ndarray[Any, Any]


def frames(preprocessing: dict[str, Any], noise: np.random.Generator | None) -> Array:
    """uint8 (count, crop, crop, 3): black, or each value drawn by itself."""
    shape = (preprocessing["count"], preprocessing["crop"], preprocessing["crop"], 3)
    if noise is None:
        return np.zeros(shape, np.uint8)
    return noise.normal(GREY, GREY_STD, shape).round().clip(0, 255).astype(np.uint8)


def waveforms(preprocessing: dict[str, Any], noise: np.random.Generator | None) -> Array:
    """int16 (seconds * rate,): silence or white noise."""
    shape = (round(preprocessing["sample_rate"] * preprocessing["seconds"]),)
    if noise is None:
        return np.zeros(shape, np.int16)
    limits = np.iinfo(np.int16)
    return noise.normal(0, SOUND_STD, shape).round().clip(limits.min, limits.max).astype(np.int16)


KINDS: dict[str, Callable[[dict[str, Any], np.random.Generator | None], Array]] = {
    "frames": frames,
    "waveforms": waveforms,
}


def write(name: str, encoder: Any, preprocessing: dict[str, Any], output: Path) -> None:
    """Rows "blank" and "gaussian-0" ... "gaussian-15", with the attributes that the encoder's features have."""
    kind = preprocessing.get("kind")
    if kind != encoder.input or kind not in KINDS:
        raise UserError(f"{name} encodes {encoder.input}, but the preprocessing given is of kind {kind!r}")
    with hdf5.write(output, attributes(name, encoder, preprocessing)) as writer:
        writer.append(BLANK, encode(encoder, KINDS[kind](preprocessing, None)[None])[0])
        for index, clip_id in enumerate(NOISES):
            drawn = KINDS[kind](preprocessing, np.random.default_rng([SEED, index]))
            writer.append(clip_id, encode(encoder, drawn[None])[0])
