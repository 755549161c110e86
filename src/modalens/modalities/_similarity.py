"""How alike the sketches of two clips are: vectors by their angle, sequences by their correlation at the best shift."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Numbers = NDArray[np.int64]


class Similarity(Protocol):
    """Of N clips, one modality.

    sufficient: whether this modality alone can tell a copy; pictures of one place cannot. threshold: similarity from
    which two clips may be copies, where the config does not give one.
    """

    sufficient: bool
    threshold: float

    def screen(self, rows: slice) -> NDArray[np.bool_] | None:
        """(rows, N): pairs that may be copies, where that is quick to tell; None where it is not."""

    def of_pairs(self, first: Numbers, second: Numbers) -> Array:
        """(n,) of the pairs; NaN where there is too little to tell by."""


class VectorSimilarity:
    """Cosine of standardised vectors, 0 where one of them is not there. Memory: N vectors."""

    def __init__(self, sketches: Array, threshold: float, *, sufficient: bool) -> None:
        """sketches: (N, ...), NaN for a clip that lacks the modality."""
        self.vectors = normalize_vectors(sketches)
        self.threshold, self.sufficient = threshold, sufficient

    def screen(self, rows: slice) -> NDArray[np.bool_]:
        return np.asarray(self.vectors[rows] @ self.vectors.T >= self.threshold)

    def of_pairs(self, first: Numbers, second: Numbers) -> Array:
        return np.einsum("nd,nd->n", self.vectors[first], self.vectors[second])


class SequenceSimilarity:
    """Correlation over time at the shift where it is largest; at least half of what is heard of either must meet."""

    def __init__(self, sketches: Array, threshold: float, step_s: float, shift_s: float) -> None:
        """sketches: (N, T, D), NaN in steps that hold nothing. step_s: between steps. shift_s: the largest shift."""
        self.values, self.present = normalize_sequences(sketches)
        self.threshold, self.sufficient = threshold, True
        self._step_s, self._shift_s = step_s, shift_s

    def screen(self, rows: slice) -> None:
        del rows

    def of_pairs(self, first: Numbers, second: Numbers) -> Array:
        a, b = (self.values[clips].astype(np.float32) for clips in (first, second))
        present_a, present_b = (self.present[clips].astype(np.float32) for clips in (first, second))
        energy_a, energy_b = (a**2).sum(axis=2), (b**2).sum(axis=2)
        steps = a.shape[1]
        enough = np.maximum(np.minimum(present_a.sum(axis=1), present_b.sum(axis=1)) / 2, 0.5 / self._step_s)
        best = np.full(len(first), np.nan, np.float32)
        reach = min(round(self._shift_s / self._step_s), steps // 2)
        for shift in range(-reach, reach + 1):
            left, right = slice(max(shift, 0), steps + min(shift, 0)), slice(max(-shift, 0), steps - max(shift, 0))
            product = np.einsum("ntb,ntb->n", a[:, left], b[:, right])
            met = (present_a[:, left] * present_b[:, right]).sum(axis=1)
            size_a = (energy_a[:, left] * present_b[:, right]).sum(axis=1)
            size_b = (energy_b[:, right] * present_a[:, left]).sum(axis=1)
            value = product / np.sqrt(size_a * size_b + 1e-6)
            best = np.fmax(best, np.where(met >= enough, value, np.nan).astype(np.float32))
        return best


def normalize_vectors(sketches: Array) -> Array:
    """(N, ...) -> (N, D) float32 of length 1: each number against its mean and deviation over the clips; NaN is 0."""
    vectors = sketches.reshape(len(sketches), -1).astype(np.float32)
    present = ~np.isnan(vectors).any(axis=1)
    flat = vectors[present]
    vectors[:] = 0
    if len(flat):
        flat -= flat.mean(axis=0)
        deviation = flat.std(axis=0)
        # A corner that is black in every clip says nothing, and its noise must not count as if it did.
        flat /= np.maximum(deviation, 0.05 * deviation.max() + 1e-6)
        vectors[present] = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return vectors


def normalize_sequences(sketches: Array) -> tuple[Array, Array]:
    """(N, T, D), NaN in steps that hold nothing -> ((N, T, D) float16, (N, T) whether a step holds something).

    Each clip's own mean of a dimension is taken off, so that a filter or another loudness does not count; then each
    dimension is divided by its deviation over all clips.
    """
    present: Array = np.asarray(~np.isnan(sketches).any(axis=2))
    result: Array = np.zeros(sketches.shape, np.float16)
    squares = np.zeros(sketches.shape[2])
    for clip in range(len(sketches)):
        steps = sketches[clip, present[clip]].astype(np.float32)
        if len(steps):
            steps -= steps.mean(axis=0)
            squares += (steps**2).sum(axis=0)
            result[clip, present[clip]] = steps
    deviation = np.sqrt(squares / max(int(present.sum()), 1))
    result /= np.maximum(deviation, 0.05 * deviation.max(initial=0) + 1e-3).astype(np.float16)
    return result, present
