"""Our CSV files as tables: text stays text."""

from pathlib import Path
from typing import Any

import pandas as pd

from modalens.utils.errors import UserError

TEXT = {
    "task",
    "model",
    "notion",
    "replacement",
    "value_function",
    "modality",
    "metric",
    "split",
    "label",
    "cause",
    "stage",
}
TEXT |= {"coalition", "value_function"}
TEXT |= {"clip_id", "status", "detail", "decoder", "group", "shard", "since"}
TEXT |= {"kind", "other", "other_split", "other_label", "reference", "verdict"}


def read(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """A CSV of ours. A class may well be called `NA` or `01`: text stays text, an empty number is not-a-number."""
    try:
        header = pd.read_csv(path, nrows=0).columns
        numbers = {name: [""] for name in header if name not in TEXT}
        types = dict.fromkeys(TEXT & set(header), str)
        return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=numbers, usecols=columns)
    except (ValueError, pd.errors.ParserError) as error:  # pandas calls an empty file, other bytes and columns so
        raise UserError(f"{path} is damaged ({' '.join(str(error).split())[:100]}); delete it and run again") from error


def rows_of(table: pd.DataFrame, task: str, **equal: str) -> list[dict[str, Any]]:
    """Those of a task that have these values."""
    if table.empty:
        return []
    mask = table["task"] == task
    for column, value in equal.items():
        mask &= table[column] == value
    return table[mask].to_dict("records")  # type: ignore[return-value]


def row_of(rows: list[dict[str, Any]], **equal: str) -> dict[str, Any] | None:
    """The first with these values."""
    return next((row for row in rows if all(row[column] == value for column, value in equal.items())), None)
