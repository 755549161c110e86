"""Clips that are near-identical in every modality that can tell: the quick ones screen, the others confirm.

No modality alone says enough: clips of one speaker share the video, clips of one tune the audio.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalens.modalities import Similarity

BLOCK = 1024  # clips that are screened against all others at once
CHUNK = 512  # pairs that are confirmed at once
Array = NDArray[Any]


def near_duplicate_pairs(
    similarities: Sequence[Similarity], places: Array, threshold: float | None = None
) -> Iterator[tuple[int, int, float]]:
    """(clip, clip, similarity) of clips in different splits of some task that are near-identical in all modalities.

    similarities: by modality; none of them is reported where none is sufficient. places: (N, tasks) number of the
    clip's split, -1 for none. threshold: instead of that of each sufficient modality. Memory: BLOCK x N numbers, and
    CHUNK pairs of sketches.
    """
    deciding = [one for one in similarities if one.sufficient]
    if not deciding:
        return
    count = len(places)
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        apart = np.zeros((rows.stop - start, count), bool)
        for place in places.T:
            own = place[rows, None]
            apart |= (own != place) & (own >= 0) & (place >= 0)
        apart &= np.arange(count) > np.arange(start, rows.stop)[:, None]
        for one in similarities:
            screened = one.screen(rows)
            if screened is not None:
                apart &= screened
        first, second = np.nonzero(apart)
        first += start
        for chunk in range(0, len(first), CHUNK):
            pair = first[chunk : chunk + CHUNK], second[chunk : chunk + CHUNK]
            values = np.stack([one.of_pairs(*pair) for one in deciding])
            limits = [one.threshold if threshold is None else threshold for one in deciding]
            hits = (values >= np.array(limits)[:, None]).all(axis=0)
            for hit in np.flatnonzero(hits):
                yield int(pair[0][hit]), int(pair[1][hit]), float(values[:, hit].min())
