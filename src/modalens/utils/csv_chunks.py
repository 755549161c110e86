"""Lists of millions of rows: Python's own cells for a part of the rows at a time, Arrow's compact text for all others.

A part is a table of text. Its index is the rows' numbers in the list, for what is said of a row that is wrong.
"""

import csv
import gc
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from modalens.utils.errors import UserError

PART = 50_000  # rows; a million Python strings are 60 MB and more
# Which rows have it, and what is said of one of them.
Fault = tuple["pd.Series[bool]", Callable[[Any], str]]


def gathered(rows: Iterable[tuple[int, Sequence[str]]], columns: list[Any] | range) -> Iterator[pd.DataFrame]:
    """(number, cells), as many as columns -> parts. The rows before an error come first, then the error."""
    waiting = iter(rows)
    error = None
    while error is None:
        numbers: list[int] = []
        cells: list[Sequence[str]] = []
        try:
            with _no_search_for_cycles():
                for number, row in islice(waiting, PART):
                    numbers.append(number)
                    cells.append(row)
        except UserError as caught:
            error = caught
        if numbers:
            texts = [pa.array(column, pa.large_string()) for column in zip(*cells, strict=True)]
            table: pd.DataFrame = pa.table(texts, [str(name) for name in columns]).to_pandas()
            yield table.set_axis(columns, axis=1).set_axis(numbers)
        elif error is None:
            return
    raise error


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Rows of text hold none. Python would look for some at every few hundred rows, a third of the time in all."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def parts(table: Any) -> Iterator[Any]:
    """A large table or column, a part at a time."""
    for start in range(0, len(table), PART):
        yield table.iloc[start : start + PART]


def stripped(part: pd.DataFrame) -> pd.DataFrame:
    """Without blanks at the ends of cells, and without rows that are blank."""
    part = part.apply(lambda cells: cells.str.strip())
    return part[(part != "").any(axis=1)]


def each(cells: "pd.Series[str]", function: Callable[[str], Any], dtype: Any = "str") -> Any:
    """function of every cell, called once for each distinct one."""
    codes, distinct = pd.factorize(cells)
    values = pd.Series([function(cell) for cell in distinct.tolist()], dtype=dtype)
    return values.take(codes).set_axis(cells.index)


def sound(part: pd.DataFrame, place: Callable[[int], str], faults: Sequence[Fault]) -> Iterator[pd.DataFrame]:
    """The rows before the first that has a fault; then UserError for that row, by the first of its faults.

    Whoever checks these rows further so comes upon their faults first: the first wrong row of a list is the one told.
    """
    wrong = np.array([mask.to_numpy() for mask, _ in faults])
    if not wrong.any():
        yield part
        return
    row = int(wrong.any(axis=0).argmax())
    if row:
        yield part.iloc[:row]
    _, said = faults[int(wrong[:, row].argmax())]
    raise UserError(f"{place(part.index[row])}: {said(part.iloc[row])}")


def lines(table: pd.DataFrame) -> Iterator[str]:
    """The CSV, a part at a time, as csv.writer makes it."""
    yield ",".join(table.columns) + "\n"
    commas = len(table.columns) - 1
    for part in parts(table):
        cells = [pa.array(part[name], pa.large_string()) for name in part]
        rows = pc.binary_join_element_wise(*cells, pa.scalar(",", pa.large_string())).to_pylist()
        if _odd("\n".join(rows), commas * len(rows), len(rows) - 1):
            # Few cells want quotes, and Python's writer knows how.
            for number in [number for number, row in enumerate(rows) if _odd(row, commas, 0)]:
                quoted = io.StringIO()
                csv.writer(quoted, lineterminator="\n").writerow(part.iloc[number])
                rows[number] = quoted.getvalue()[:-1]
        yield "\n".join([*rows, ""])


def _odd(text: str, commas: int, line_ends: int) -> bool:
    """Whether cells that were joined hold what wants quotes."""
    return '"' in text or "\r" in text or text.count(",") > commas or text.count("\n") > line_ends
