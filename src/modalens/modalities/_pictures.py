"""Sketches of pictures: mean colours over the cells of a grid, and the word of such a sketch."""

import numpy as np

from modalens.modalities._base import Array

GRID = 8  # the sketch has GRID x GRID cells


def grid_of(picture: Array) -> Array:
    """(H, W, 3) -> (GRID, GRID, 3) float16: mean colours of the cells."""
    mean: Array = picture.astype(np.float32)
    for axis in (0, 1):
        edges = np.linspace(0, mean.shape[axis], GRID, endpoint=False).astype(int)
        sizes = np.diff([*edges, mean.shape[axis]])
        shape = [-1 if other == axis else 1 for other in range(3)]
        mean = np.add.reduceat(mean, edges, axis=axis) / sizes.reshape(shape)
    return mean.astype(np.float16)


def word_of(sketch: Array) -> str:
    """48 hexadecimal digits: a bit for each number of the sketch, whether it is above a threshold of its own.

    The thresholds lie evenly over the range, as in ordered dithering: a small change of a flat picture flips few bits.
    """
    levels = sketch.astype(np.float32).ravel()
    order = np.arange(len(levels)) * 37 % len(levels)
    return np.packbits(levels > (order + 0.5) * 256 / len(levels)).tobytes().hex()
