"""Labels that are no classes: cells of a list -> numbers or tags, and what stands for a class where clips are split."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from modalens.stats.targets import CLASSES, LARGEST, MULTILABEL, REGRESSION, SEPARATOR, lost_spread, tags_of
from modalens.utils.errors import UserError

STRATA = 5  # ranges that numbers are split by, of as many clips each
ANY = "any number"  # in place of classes, where these are counted
PER_STRATUM = 10  # groups at least: fewer cannot be spread over three splits


def read(clips: pd.DataFrame, targets: Mapping[str, str]) -> pd.DataFrame:
    """A manifest with the labels of these tasks as later stages have them. targets: task -> regression or multilabel.

    A number is written as Python has it. Tags stand between `;` or `|`, and come out sorted and joined by SEPARATOR; a
    cell of a separator alone is a clip without any, an empty one a clip that nobody has labelled. Raises UserError.
    """
    known = {task: _KINDS[kind] for task, kind in targets.items() if kind != CLASSES and task in clips}
    return clips.assign(**{task: _mapped(clips, task, reader) for task, reader in known.items()}) if known else clips


def _mapped(clips: pd.DataFrame, task: str, reader: object) -> "pd.Series[str]":
    cells = clips[task].fillna("").astype("str").str.strip()
    found = {cell: reader(cell) if cell else "" for cell in cells.unique()}  # type: ignore[operator]
    bad = cells.map(lambda cell: found[cell] is None)
    if bad.any():
        clip, cell = clips.loc[bad, "clip_id"].iloc[0], cells[bad].iloc[0]
        raise UserError(
            f"task {task!r}: clip {str(clip)!r}: expected a finite number, as `targets` says, got {cell!r}"
            + (f" ({int(bad.sum())} of {len(cells)} clips)" if bad.sum() > 1 else "")
        )
    return cells.map(found).astype("str")


def _number(cell: str) -> str | None:
    try:
        value = float(cell.replace("_", "x"))  # Python reads 1_0 as ten
    except ValueError:
        return None
    return repr(value + 0.0) if math.isfinite(value) else None


def _tags(cell: str) -> str:
    tags = {tag.strip() for tag in cell.replace(";", SEPARATOR).split(SEPARATOR)} - {""}
    return SEPARATOR.join(sorted(tags)) or SEPARATOR


_KINDS = {REGRESSION: _number, MULTILABEL: _tags}


def mistake(labels: "pd.Series[str]", target: str) -> str:
    """Why nothing can be learned from these labels, of clips that have one; "" where it can."""
    if target == REGRESSION:
        distinct = labels.nunique()
        if distinct < 2:
            return "one number only" if distinct else "no label"
        values = pd.to_numeric(labels).to_numpy(np.float64)
        if (largest := np.abs(values).max()) > LARGEST:
            return (
                f"expected numbers from -{LARGEST:g} to {LARGEST:g}: squares of larger ones overflow; got {largest:g}"
            )
        return lost_spread(values)
    tags = exploded(labels)
    if tags.empty:
        return "no tag"
    everywhere = tags.value_counts() == len(labels)
    return f"every clip has the tag {everywhere.idxmax()!r}, and no other one" if everywhere.all() else ""


def strata(labels: "pd.Series[str]", groups: "pd.Series[str]", target: str) -> "pd.Series[str]":
    """What is spread evenly over the splits: a clip's class, the range that its number lies in, or its rarest tag."""
    if target == CLASSES or labels.empty:
        return labels
    if target == MULTILABEL:
        counts = exploded(labels).value_counts()
        return labels.map(lambda text: min(tags_of(text), key=lambda tag: (counts[tag], tag), default="no tag"))
    values = pd.to_numeric(labels).to_numpy(np.float64)
    count = min(STRATA, max(1, groups.nunique() // PER_STRATUM))
    ends = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)))
    place = np.clip(np.searchsorted(ends, values, side="right") - 1, 0, max(len(ends) - 2, 0))
    names = [f"{low:g} to {high:g}" for low, high in zip(ends, [*ends[1:], ends[-1]], strict=True)]
    return pd.Series([names[at] for at in place], labels.index, "str")


def exploded(labels: "pd.Series[str]") -> "pd.Series[str]":
    """One row a tag of a clip, index of the clip; clips without any are not there."""
    return labels.map(tags_of).explode().dropna()


def by_tag(clips: pd.DataFrame) -> pd.DataFrame:
    """clip_id, label and more -> one row a tag of a clip, its name in `label`."""
    tags = exploded(clips["label"])
    return clips.drop(columns="label").join(tags.rename("label"), how="inner").reset_index(drop=True)
