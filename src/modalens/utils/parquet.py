"""All Parquet: tables that bear their digest, and one line for what cannot be read.

A table that another program made has no digest of ours and is read as it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from modalens.utils import checksums
from modalens.utils.errors import UserError


def write(path: str | Path, table: pd.DataFrame) -> None:
    with checksums.sealed(path) as hidden:
        table.to_parquet(hidden, index=False, write_page_checksum=True)


def columns(path: str | Path, stage: str = "evaluate") -> list[str]:
    """Names of a table's columns. stage: as in `read`."""
    if not Path(path).exists():
        raise checksums.not_found(path, stage)
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise checksums.damaged(path, error) from error


def read(
    path: str | Path, columns: Sequence[str], filters: list[tuple[str, str, Any]] | None = None, stage: str = "evaluate"
) -> pd.DataFrame:
    """Some columns, and the rows that pass the filters. stage: which stage writes such a file."""
    if not Path(path).exists():
        raise checksums.not_found(path, stage)
    checksums.check(path, optional=True)
    try:
        present = pq.read_schema(path).names
        if absent := [name for name in columns if name not in present]:
            raise UserError(f"{path}: expected the column {absent[0]!r}, got {', '.join(present)[:300]}")
        return pd.read_parquet(path, columns=list(columns), filters=filters, page_checksum_verification=True)
    # Arrow's errors are OSError, ValueError, KeyError and others of its own, as the bytes would have it.
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise checksums.damaged(path, error) from error
