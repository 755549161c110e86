"""The first rows of what modalities read from cells, decoded as the study would: no file is opened for it."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from modalens.media.failure_causes import ClipError
from modalens.modalities import load_modality
from modalens.plugins import introspection
from modalens.utils.words import counted

FIRST = 200  # rows


def unreadable(clips: pd.DataFrame, study: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """clips: manifest. What is wrong with some of the first rows of a table, and whether it is wrong with all."""
    for name, entry in study["modalities"].items():
        if introspection.attribute("modalities", entry["kind"], "source", "media") != "columns":
            continue
        decode, options = load_modality(entry["kind"], entry["decode"]).attempts()[0]
        rows = list(clips[entry["columns"]].head(FIRST).itertuples(index=False, name=None))
        said = [detail for detail in (_detail(decode, row, options) for row in rows) if detail is not None]
        faults = [detail for detail in said if detail]
        if faults:
            most = max(dict.fromkeys(faults), key=faults.count)
            line = f"modalities.{name}: {len(faults)} of the first {counted(len(rows), 'row')} cannot be read: {most}"
            yield line, len(faults) == len(said)


def _detail(decode: Any, row: tuple[str, ...], options: tuple[Any, ...]) -> str | None:
    """ "" of a row that is read, None of one without a value."""
    try:
        decode(row, *options)
    except ClipError as error:
        return None if error.cause == "absent" else error.detail
    return ""
