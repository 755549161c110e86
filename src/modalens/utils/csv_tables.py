"""CSV tables that stages hand on: every cell is text, as a clip may be called `NA` or `007`."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.utils.errors import UserError


def read_table(path: str | Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """The table of `path`; an absent file or one of `columns` raises UserError."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise UserError(f"{path} is not there; run the study first") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    absent = [column for column in columns if column not in table]
    if absent:
        raise UserError(f"{path} has no column {absent[0]!r}")
    return table


def earlier_table(path: str | Path, columns: Iterable[str]) -> pd.DataFrame:
    """The table that an earlier run of a job left at `path`; one that is not there, or is another one, has no rows."""
    columns = list(columns)
    with contextlib.suppress(UserError):
        return read_table(path, columns)
    return pd.DataFrame(columns=columns, dtype="str")


def neutral(text: str) -> str:
    """A cell that a spreadsheet would take for a formula -> the same with a ' before it."""
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    with contextlib.suppress(ValueError):
        float(text)
        return text  # a negative number is one
    return f"'{text}"


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A table that people open in a spreadsheet: its texts and the names of its columns `neutral`."""
    safe = table.copy()
    for name, values in table.items():
        if not pd.api.types.is_numeric_dtype(values):
            safe[name] = values.map(lambda cell: neutral(cell) if isinstance(cell, str) else cell)
    return safe.rename(columns=lambda name: neutral(str(name)))


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
