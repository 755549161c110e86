"""Tables of predictions from files: Parquet, CSV, folders of them, and frames."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from modalens.stats.metrics import RANK
from modalens.stats.prediction_columns import CLASS, TEXT, WHERE
from modalens.stats.predictions import validate
from modalens.utils import checksums
from modalens.utils.errors import UserError

Table = str | Path | pd.DataFrame


def load_predictions(source: Table | Iterable[Table], *, probabilities: bool = True) -> pd.DataFrame:
    """A table of predictions, checked, with every column of the contract.

    source: a DataFrame, a Parquet or CSV file, a folder of such files, or several of these, which become one table.
    A file without the column `model` is a model of the file's name. probabilities: False leaves out the columns
    p_<class>, after what the table lacks was made of them.

    Returns a new table: `model`, `clip_id`, `group`, `seed`, `replacement`, `coalition`, `label`, `predicted`,
    `log_probability`, p_<class>, then columns of the source's own. Text is text, also where it looks like a number;
    the names of a coalition are sorted. Raises UserError, one line with the column and the row, for what is not there
    or breaks the contract.
    """
    if not isinstance(probabilities, bool):
        raise UserError(f"{WHERE}: probabilities: expected True or False, got {type(probabilities).__name__}")
    frames = [_read(part, probabilities) for part in _parts(source)]
    if not frames:
        raise UserError(f"{WHERE}: expected a Parquet or CSV file, got none in {source!r}")
    table = validate(*frames)
    return table if probabilities else table[[name for name in table.columns if not name.startswith(CLASS)]]


def _parts(source: Table | Iterable[Table]) -> list[Table]:
    if isinstance(source, pd.DataFrame):
        return [source]
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            return sorted(file for pattern in ("*.parquet", "*.csv") for file in path.glob(pattern))
        return [path]
    if not isinstance(source, Iterable) or isinstance(source, bytes | Mapping):
        raise UserError(f"{WHERE}: expected a DataFrame, a path, or several of these, got {type(source).__name__}")
    return [part for one in source for part in _parts(one)]


def _read(source: Table, probabilities: bool) -> pd.DataFrame:
    if isinstance(source, pd.DataFrame):
        frame = source
    else:
        path = Path(source)
        try:
            frame = _read_csv(path) if ".csv" in path.suffixes else _read_parquet(path, probabilities)
        except FileNotFoundError as error:
            raise UserError(f"not found: {path}") from error
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as Parquet or CSV: {error}") from error
        if "model" not in frame:
            frame = frame.assign(model=path.name.partition(".csv")[0].removesuffix(".parquet"))
    return frame if probabilities else frame[_without_classes([str(name) for name in frame.columns])]


def _read_parquet(path: Path, probabilities: bool) -> pd.DataFrame:
    checksums.check(path, optional=True)
    names = None if probabilities else _without_classes(pq.read_schema(path).names)
    return pd.read_parquet(path, columns=names)


def _without_classes(names: list[str]) -> list[str]:
    if not {"predicted", "log_probability", RANK} <= set(names):
        return names
    return [name for name in names if not name.startswith(CLASS)]


def _read_csv(path: Path) -> pd.DataFrame:
    """A class may be called `NA` or `01`: text stays text, an empty number is not-a-number."""
    names = pd.read_csv(path, nrows=0).columns
    numbers = {name: [""] for name in names if name not in TEXT}
    types = {name: str for name in names if name in TEXT}
    return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=numbers)
