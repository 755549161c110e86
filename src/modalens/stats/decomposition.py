"""Partial information decomposition of two modalities about a label, of many distributions at once.

BROJA: Bertschinger, Rauh, Olbrich, Jost and Ay 2014 (Entropy 16, 2161). What either modality alone can be known to tell
is the least that both tell together among all distributions with the same pairs (label, first), (label, second):
the union information. Redundancy, unique parts and synergy follow from it by subtraction.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Bits by which the union information may still fall over as many steps: far below what any sample can tell.
LEAST_PROGRESS, CHECK_EVERY, MOST_STEPS = 1e-6, 20, 5000
# Numbers of one array that are worked on at once: more fit in no cache.
AT_ONCE = 2**18
# Probabilities below it are nothing: their logarithms overflow.
TINY = 1e-150


def entropy(table: Array, axes: int = 1) -> Array:
    """Bits over the last `axes` axes: (..., K, ...) -> (...). 0 log 0 = 0."""
    terms = table * np.log2(np.where(table > 0, table, 1.0))
    found: Array = -terms.sum(axis=tuple(range(-axes, 0)))
    return found


def information(table: Array) -> Array:
    """I(label; symbol) in bits of p(label, symbol): (..., labels, symbols) -> (...)."""
    found: Array = entropy(table.sum(axis=-1)) + entropy(table.sum(axis=-2)) - entropy(table, axes=2)
    return found


def parts(first: Array, second: Array, together: Array) -> dict[str, Array]:
    """`redundant`, `unique_first`, `unique_second`, `synergy` in bits, (...) each; they sum to `together`.

    first: p(label, symbol of the first modality), (..., labels, symbols); second: likewise, with the same p(label).
    together: I(label; both), (...). With estimates the parts may fall below zero, by what the estimates are off.
    """
    union = union_information(first, second)
    one, other = information(first), information(second)
    return {
        "redundant": one + other - union,
        "unique_first": union - other,
        "unique_second": union - one,
        "synergy": together - union,
    }


def union_information(first: Array, second: Array) -> Array:
    """Least I(label; both) in bits of all distributions with these two pairs: (..., labels, symbols) twice -> (...)."""
    shape = first.shape[:-2]
    flat = [table.reshape(-1, *table.shape[-2:]) for table in (first, second)]
    count = max(1, AT_ONCE // (flat[0].shape[1] * flat[0].shape[2] * flat[1].shape[2]))
    starts = range(0, len(flat[0]), count)
    found = [_union_information(*(table[start : start + count] for table in flat)) for start in starts]
    return np.concatenate(found).reshape(shape)


def _union_information(first: Array, second: Array) -> Array:
    """(B, Y, S), (B, Y, T) -> (B,).

    Alternates (Banerjee, Rauh and Montúfar 2018, arXiv:1709.07487) between r(s, t), what both symbols are on average
    over the labels, and for each label the distribution nearest to r that has its pairs, found by scaling the rows and
    columns of r. Both sets are convex, so this ends at the least. One scaling a step suffices: the factors are kept.
    """
    label = entropy(first.sum(axis=-1))
    columns = np.ones_like(second)
    r = np.einsum("bys,byt->bst", first, _ratio(second, second.sum(axis=-1, keepdims=True)))
    last = np.full(len(first), np.inf)
    for step in range(1, MOST_STEPS + 1):
        rows = _ratio(first, columns @ r.swapaxes(1, 2))
        columns = _ratio(second, rows @ r)
        before, r = r, r * (rows.swapaxes(1, 2) @ columns)
        if step % CHECK_EVERY == 0:
            joint = before[:, None] * rows[..., None] * columns[..., None, :]
            found = label + entropy(r, axes=2) - entropy(joint, axes=3)
            if np.abs(last - found).max() < LEAST_PROGRESS:
                return found
            last = found
    return last


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros(np.broadcast_shapes(above.shape, below.shape)), where=below > TINY)
