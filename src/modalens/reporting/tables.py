"""Our CSV files as tables: text stays text, and what another version or another hand wrote is one line."""

import io
import shlex
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.tracking import records
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
WORDS = {
    "predictions",
    "quantity",
    "patch",
    "target",
}  # read as they look: a measure of another's may have such numbers


# What the page and the terminal read of each table. Other columns are shown as they are.
_COUNTED = "groups_low groups_high seeds_low seeds_high seed_std"
OF_MEASURES = {
    "leave_one_out": "task model replacement modality metric full full_low full_high withheld chance above_low "
    f"above_high drop low high {_COUNTED} detectable p_holm",
    "shapley": "task model notion replacement value_function modality value low high share share_low share_high none "
    "full",
    "coalition_values": "task model replacement coalition metric lost low high detectable",
    "interaction": "task model replacement value_function modality other value low high detectable",
    "probe": "task model modality metric inside inside_low inside_high",
    "sample_relevance": "task model replacement clip_id modality verdict",
    "mm_shap": "task model kind modality predictions label quantity value patch clip_id target",
    "mm_shap_input": "task model kind modality predictions label quantity value patch clip_id target",
}
NEEDED = OF_MEASURES | {
    "leaderboard": "task rank model seeds metric low high difference difference_low difference_high p p_holm reference "
    "verdict",
    "attrition": "split label cause stage clips",
    "incomplete": "split modality cause clips",
    "since": "clip_id split cause since",
    "sizes": "split clips share asked",
    "duplicates": "kind similarity clip_id split label other other_split other_label",
    "leakage": "group",
    "split": "clip_id",
    "history": "epoch train_loss validation_loss",
    "status": "clip_id status",
    "trials": "trial chosen status",
}


def read(path: Path, kind: str, task: str = "") -> pd.DataFrame:
    """A CSV of ours. A class may well be called `NA` or `01`: text stays text, an empty number is not-a-number.

    kind: of NEEDED, whose columns it must have, or anything else of another measure. task: of all its rows, where it
    says so. Raises UserError, with what makes the table anew.
    """
    try:
        content = path.read_bytes()
        header = pd.read_csv(io.BytesIO(content), nrows=0).columns
        numbers = {name: [""] for name in header if name not in TEXT}
        types = dict.fromkeys(TEXT & set(header), str)
        table = pd.read_csv(io.BytesIO(content), dtype=types, keep_default_na=False, na_values=numbers)
    except FileNotFoundError as error:
        raise UserError(f"not found: {path}: {_remedy(path)}") from error
    except (ValueError, pd.errors.ParserError) as error:  # pandas calls an empty file and other bytes so
        raise UserError(f"{path} is damaged ({' '.join(str(error).split())[:100]}): {_remedy(path)}") from error
    needed = NEEDED.get(kind, "task model").split()
    if table.empty and "model" in needed:  # a measure of several modalities, of a model of one
        needed = ["task", "model"]
    if kind == "leaderboard":  # the score that it is by
        needed += [f"{name}{part}" for name in sorted(set(table.get("metric", ()))) for part in ("", "_std")]
    if fault := _fault(path, content, table, needed):
        raise UserError(f"{path} {fault}: {_remedy(path)}")
    if task and not (table["task"] == task).all():
        raise UserError(f"{path} is of another task than {task!r}: {_remedy(path)}")
    return table


def _fault(path: Path, content: bytes, table: pd.DataFrame, needed: list[str]) -> str:
    if not records.fits(path.with_suffix(".json"), content):
        return "is not what the study wrote: its content does not fit the checksum in the record beside it"
    if not content.endswith(b"\n"):
        return "is damaged (it breaks off)"
    if absent := [name for name in needed if name not in table]:
        return f"has no column {absent[0]!r}, which this version of modalens writes"
    numbers = [name for name in needed if name not in TEXT | WORDS]
    words = [name for name in numbers if len(table) and not pd.api.types.is_numeric_dtype(table[name])]
    if words:
        return f"is damaged (its column {words[0]!r} holds other than numbers)"
    return ""


def _remedy(path: Path) -> str:
    return f"run again with `--forcerun {shlex.quote(str(path))}`, which makes it anew"


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
