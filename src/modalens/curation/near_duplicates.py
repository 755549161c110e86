"""Which clips look and sound the same, from their sketches: pictures first, since that is quick, then sounds, shifted.

Neither says enough alone: clips of one speaker share the picture, clips of one tune the sound.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalens.curation.fingerprints import STEP_S

# Two pictures that are less alike are no copies, whatever they sound like. Smaller copies at H.264's crf 32 kept 0.95.
PICTURE = 0.9
SHIFT_S = 1.5  # a copy may begin so much earlier or later
BLOCK = 1024  # clips whose pictures are compared with all others at once
CHUNK = 512  # pairs whose sounds are compared at once
Array = NDArray[Any]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Sketches:
    """picture: (N, D) of length 1, or None. sound: (N, T, B), 0 where silent; heard: (N, T), where it is not."""

    picture: Array | None
    sound: Array
    heard: Array


def normalize_pictures(pictures: Array) -> Array:
    """(N, ...) -> (N, D) float32 of length 1: each number against its mean and deviation over the clips."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    flat -= flat.mean(axis=0)
    deviation = flat.std(axis=0)
    # A corner that is black in every clip says nothing, and its noise must not count as if it did.
    flat /= np.maximum(deviation, 0.05 * deviation.max() + 1e-6)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))


def normalize_sounds(sounds: Array) -> tuple[Array, Array]:
    """Sketches (N, T, B), NaN where silent -> ((N, T, B) float16, (N, T) whether it is heard).

    Each clip's own mean of a band is taken off, so that a filter or another loudness does not count; then each band is
    divided by its deviation over all clips.
    """
    heard: Array = np.asarray(~np.isnan(sounds).any(axis=2))
    result: Array = np.zeros(sounds.shape, np.float16)
    squares = np.zeros(sounds.shape[2])
    for clip in range(len(sounds)):
        steps = sounds[clip, heard[clip]].astype(np.float32)
        if len(steps):
            steps -= steps.mean(axis=0)
            squares += (steps**2).sum(axis=0)
            result[clip, heard[clip]] = steps
    deviation = np.sqrt(squares / max(int(heard.sum()), 1))
    result /= np.maximum(deviation, 0.05 * deviation.max(initial=0) + 1e-3).astype(np.float16)
    return result, heard


def sound_similarity(sketches: Sketches, first: Numbers, second: Numbers) -> Array:
    """Correlation of the sounds of each pair (n,) at the shift where it is largest; NaN where there is little to hear.

    At each shift at least half of what is heard of either clip must meet.
    """
    a, b = (sketches.sound[clips].astype(np.float32) for clips in (first, second))
    heard_a, heard_b = (sketches.heard[clips].astype(np.float32) for clips in (first, second))
    energy_a, energy_b = (a**2).sum(axis=2), (b**2).sum(axis=2)
    steps = a.shape[1]
    enough = np.maximum(np.minimum(heard_a.sum(axis=1), heard_b.sum(axis=1)) / 2, 0.5 / STEP_S)
    best = np.full(len(first), np.nan, np.float32)
    reach = min(round(SHIFT_S / STEP_S), steps // 2)
    for shift in range(-reach, reach + 1):
        left, right = slice(max(shift, 0), steps + min(shift, 0)), slice(max(-shift, 0), steps - max(shift, 0))
        product = np.einsum("ntb,ntb->n", a[:, left], b[:, right])
        met = (heard_a[:, left] * heard_b[:, right]).sum(axis=1)
        size_a = (energy_a[:, left] * heard_b[:, right]).sum(axis=1)
        size_b = (energy_b[:, right] * heard_a[:, left]).sum(axis=1)
        value = product / np.sqrt(size_a * size_b + 1e-6)
        best = np.fmax(best, np.where(met >= enough, value, np.nan).astype(np.float32))
    return best


def near_duplicate_pairs(sketches: Sketches, places: Array, threshold: float) -> Iterator[tuple[int, int, float]]:
    """Pairs of clips in different splits of some task whose pictures and sounds are both near-identical.

    places: (N, tasks) number of the clip's split, -1 for none. Memory: BLOCK x N numbers, and CHUNK pairs of sketches.
    """
    count = len(places)
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        apart = np.zeros((rows.stop - start, count), bool)
        for place in places.T:
            own = place[rows, None]
            apart |= (own != place) & (own >= 0) & (place >= 0)
        apart &= np.arange(count) > np.arange(start, rows.stop)[:, None]
        if sketches.picture is not None:
            apart &= sketches.picture[rows] @ sketches.picture.T >= PICTURE
        first, second = np.nonzero(apart)
        first += start
        for chunk in range(0, len(first), CHUNK):
            one, other = first[chunk : chunk + CHUNK], second[chunk : chunk + CHUNK]
            values = sound_similarity(sketches, one, other)
            for hit in np.flatnonzero(values >= threshold):
                yield int(one[hit]), int(other[hit]), float(values[hit])
