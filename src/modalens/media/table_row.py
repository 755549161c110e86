"""Cells of a table -> numbers and codes of categories, raw: what is learnt of them is learnt from training clips."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from modalens.media.array_file import MISSING
from modalens.media.failure_causes import ClipError

CODES = 2**24 - 1  # whole numbers that float32 holds
LARGEST = float(np.finfo(np.float32).max)


def read_row(cells: tuple[str, ...], columns: list[str], categories: list[str]) -> tuple[NDArray[np.float32], str]:
    """((fields, 3), name of the decoder): number, whether there is a value, code. Raises ClipError.

    A number has the code 0, a category the number 0; what is missing has neither. A code is a digest of the category's
    name: the same in every study, so that no list of names is needed.
    """
    row = np.zeros((len(columns), 3), np.float32)
    for place, (name, cell) in enumerate(zip(columns, cells, strict=True)):
        cell = cell.strip()
        if cell.lower() in MISSING:
            continue
        row[place] = (0, 1, code(cell)) if name in categories else (_number(name, cell), 1, 0)
    if not row[:, 1].any():
        raise ClipError("absent", "all cells are empty")
    return row, "cells"


def code(category: str) -> int:
    """1 to CODES. Two categories share one by a chance of 1 in 17 million."""
    return 1 + int.from_bytes(hashlib.sha256(category.encode()).digest()[:8], "big") % CODES


def _number(name: str, cell: str) -> float:
    try:
        value = float(cell.replace("_", "x"))
    except ValueError:
        raise ClipError("damaged", f"{name}: expected a number, got {cell!r}; or name it in `categories`") from None
    if not abs(value) <= LARGEST:
        raise ClipError("damaged", f"{name}: expected a finite number, got {cell!r}")
    return value
