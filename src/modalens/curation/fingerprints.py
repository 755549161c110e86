"""What tells a clip from others: digests of its decoded rows, and sketches of them that survive re-encoding.

A digest finds the same content, also under another id or in another container; a sketch finds what looks and sounds
the same. Neither depends on an encoder or its weights.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalens.utils import hdf5

Array = NDArray[Any]

GRID = 8  # the picture's sketch has GRID x GRID cells
STEP_S = 0.025  # the sound's sketch: time between steps
STEPS_WIDE = 4  # so much of the sound is in a step
BANDS = 24
LOWEST_HZ, HIGHEST_HZ = 200.0, 6000.0  # what codecs keep even at low rates
FULL_SCALE = 32_768  # int16
FLOOR = 1e-5  # power added before the logarithm: what lies deeper is a coder's noise
QUIET = 1e-4  # of full scale; a step that never gets louder is silent
WORD_STEPS, WORD_BANDS = 16, 8  # the printed sketch of a sound has a bit for each of their product


def picture_sketch(frames: Array) -> Array:
    """(F, H, W, 3) uint8 -> (GRID, GRID, 3) float16: mean colours over time and over the cells of a grid."""
    mean = frames.mean(axis=0, dtype=np.float32)
    for axis in (0, 1):
        edges = np.linspace(0, mean.shape[axis], GRID, endpoint=False).astype(int)
        sizes = np.diff([*edges, mean.shape[axis]])
        shape = [-1 if other == axis else 1 for other in range(3)]
        mean = np.add.reduceat(mean, edges, axis=axis) / sizes.reshape(shape)
    return mean.astype(np.float16)


def sound_sketch(waveform: Array, sample_rate: int) -> Array:
    """(S,) int16 -> (T, BANDS) float16: logarithm of power in bands, a row each STEP_S; NaN where there is silence.

    The idea of Haitsma and Kalker 2002, kept as numbers: what changes over time in a band survives coding.
    """
    hop = max(1, round(sample_rate * STEP_S))
    width = STEPS_WIDE * hop
    samples = np.zeros(max(len(waveform), width), np.float32)
    samples[: len(waveform)] = waveform.astype(np.float32) / FULL_SCALE
    steps = np.lib.stride_tricks.sliding_window_view(samples, width)[::hop]
    power = np.abs(np.fft.rfft(steps * np.hanning(width).astype(np.float32), axis=1)) ** 2 / width
    # Double precision: a faint band is the difference of two sums that a loud one may fill.
    total = np.cumsum(np.pad(power, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    edges = np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, 0.45 * sample_rate), BANDS + 1)
    cuts = np.searchsorted(np.fft.rfftfreq(width, 1 / sample_rate), edges)
    sketch = np.log(np.maximum(total[:, cuts[1:]] - total[:, cuts[:-1]], 0) + FLOOR)
    sketch[np.abs(steps).max(axis=1) < QUIET] = np.nan
    return sketch.astype(np.float16)


def picture_word(sketch: Array) -> str:
    """A picture's sketch as 48 hexadecimal digits: a bit for each number, whether it is above a threshold of its own.

    The thresholds lie evenly over the range, as in ordered dithering: a small change of a flat picture flips few bits.
    """
    levels = sketch.astype(np.float32).ravel()
    order = np.arange(len(levels)) * 37 % len(levels)
    return np.packbits(levels > (order + 0.5) * 256 / len(levels)).tobytes().hex()


def sound_word(sketch: Array) -> str:
    """A sound's sketch as 32 hexadecimal digits: a bit for each part of time and band, whether it is louder there than
    in the part before."""
    quietest = np.float32(np.log(FLOOR))
    levels = np.where(np.isnan(sketch), quietest, sketch).astype(np.float32)
    parts = np.array_split(levels, WORD_STEPS + 1)
    parts = [part.mean(axis=0) if len(part) else np.full(BANDS, quietest) for part in parts]
    pooled = np.stack(parts).reshape(WORD_STEPS + 1, WORD_BANDS, -1).mean(axis=2)
    return np.packbits(np.diff(pooled, axis=0) > 0).tobytes().hex()


def distance(one: str, other: str) -> float:
    """Share of the bits in which two words of equal length differ."""
    differing = int(one, 16) ^ int(other, 16)
    return differing.bit_count() / (4 * len(one))


Sketcher = Callable[[Array], Array]
WORDS: dict[str, tuple[str, Callable[[Array], str]]] = {
    "frames": ("picture", picture_word),
    "waveforms": ("sound", sound_word),
}
COLUMNS = [*WORDS, *(name for name, _ in WORDS.values())]


def sketcher(attributes: dict[str, Any]) -> Sketcher:
    """What makes the sketch of a decoded row, by the attributes of its file."""
    if attributes["kind"] == "frames":
        return picture_sketch
    rate = int(attributes["sample_rate"])
    return lambda row: sound_sketch(row, rate)


def digest(row: Array) -> str:
    """SHA-256 of an array's bytes, shortened to 128 bits."""
    return hashlib.sha256(row.tobytes()).hexdigest()[:32]


def write_sketches(
    stage: str, source: Path, output: Path, attributes: dict[str, Any], stay: dict[str, str], wanted: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Sketches of a shard: those that stay, then those that are wanted, whose (clip_id, digest, word) are told."""
    sketch, (_, word) = sketcher(attributes), WORDS[stage]
    with hdf5.write(output, attributes) as writer:
        writer.take(output, stay)
        for ids, rows in hdf5.batches(source, 16, wanted):
            for clip_id, row in zip(ids, rows, strict=True):
                made = sketch(row)
                writer.append(clip_id, made, wanted[clip_id])
                yield clip_id, digest(row), word(made)
