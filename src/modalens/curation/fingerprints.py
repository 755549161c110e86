"""What tells a clip from others: digests of its decoded rows, and sketches of them that survive re-encoding.

A digest finds the same content, also under another id or in another container; a sketch finds what looks and sounds
the same. Neither depends on an encoder or its weights.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalens.modalities import Modality
from modalens.utils import hdf5

Array = NDArray[Any]


def columns(decoded: str) -> list[str]:
    """Of the table of fingerprints, for one decoded form: digest of the row, word of its sketch."""
    return [decoded, f"{decoded}_sketch"]


def distance(one: str, other: str) -> float:
    """Share of the bits in which two words of equal length differ."""
    differing = int(one, 16) ^ int(other, 16)
    return differing.bit_count() / (4 * len(one))


def digest(row: Array) -> str:
    """SHA-256 of an array's bytes, shortened to 128 bits."""
    return hashlib.sha256(row.tobytes()).hexdigest()[:32]


def write_sketches(
    modality: Modality,
    source: Path,
    output: Path,
    attributes: dict[str, Any],
    cached: dict[Path, dict[str, str]],
    missing: dict[str, str],
) -> Iterator[tuple[str, str, str]]:
    """Copy cached sketches, compute the missing ones; yield (clip_id, digest, word) of the new.

    A modality without sketches gets rows without numbers, so that the file tells which clips were seen.
    """
    with hdf5.write(output, attributes) as writer:
        for path, rows in cached.items():
            writer.take(path, rows)
        for ids, decoded in hdf5.batches(source, 16, missing):
            for clip_id, row in zip(ids, decoded, strict=True):
                sketch = modality.sketch(row)
                writer.append(clip_id, np.zeros(0, np.float16) if sketch is None else sketch, missing[clip_id])
                yield clip_id, digest(row), "" if sketch is None else modality.word(sketch)
