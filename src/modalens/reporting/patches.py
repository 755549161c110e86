"""What MM-SHAP says of patches, drawn where a reader sees them: on a frame or a spectrogram, else as a list of bars."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from modalens.modalities import Modality
from modalens.reporting.previews import Previews, shown
from modalens.reporting.study_results import Study

MEASURES = ("mm_shap", "mm_shap_input")
RANGE = re.compile(r"(\w+) (\d+):(\d+)")
DRAWN_BARS = 24  # of a clip's modality: those that weigh most
Ranges = dict[str, tuple[int, int]]  # axis -> first place, and the one after the last
Rows = list[tuple[Ranges, float]]


def examples(study: Study, task: str, measure: str) -> pd.DataFrame:
    """Rows of single clips and of the mean over clips, of the headline model."""
    table = study.measure(measure)
    if table.empty or "kind" not in table:
        return pd.DataFrame()
    return table[(table["task"] == task) & (table["model"] == study.headline(task)) & (table["kind"] != "modality")]


def clips_of(study: Study) -> list[str]:
    """Clips of all tasks that are drawn on."""
    found: list[str] = []
    for task in study.tasks:
        for measure in MEASURES:
            table = examples(study, task, measure)
            found += list(table[table["kind"] == "clip"]["clip_id"]) if len(table) else []
    return list(dict.fromkeys(map(str, found)))


def drawn(study: Study, task: str, measure: str, previews: Previews) -> list[dict[str, Any]]:
    """Cards: of each example clip, then of the mean over clips. title, words, parts: of each modality its name, and
    drawings (picture or "", words, marks) or bars (name, value, share of the greatest)."""
    table = examples(study, task, measure)
    if table.empty:
        return []
    cards = []
    for clip_id, rows in table[table["kind"] == "clip"].groupby("clip_id", sort=False):
        first = rows.iloc[0]
        words = "right" if first["predictions"] == "correct" else "wrong"
        words = f"of class {first['label']}, predicted {words}; what speaks for {first['target']}, and against"
        cards.append(_card(str(clip_id), words, rows, previews, str(clip_id)))
    whole = table[(table["kind"] == "patch") & (table["quantity"] == "size")]
    if len(whole):
        cards.append(_card("mean over clips", "size of each patch, whichever way it pulls", whole, previews, ""))
    return cards


def _card(title: str, words: str, table: pd.DataFrame, previews: Previews, clip_id: str) -> dict[str, Any]:
    greatest = float(table["value"].abs().max()) or 1.0
    parts = []
    for name, rows in table.groupby("modality", sort=True):
        kind = previews.kinds.get(str(name))
        read = [(ranges(str(patch)), float(value)) for patch, value in zip(rows["patch"], rows["value"], strict=True)]
        row = previews.rows.get(clip_id, {}).get(str(name))
        seen = previews.parts.get(clip_id, {}).get(str(name), {})
        drawings = _drawings(kind, row, read, greatest) if kind and (row is not None or not clip_id) else []
        part = {"modality": name, "drawings": drawings, "text": seen.get("text", "")}
        if not drawings:
            part["bars"] = _bars(kind, read, greatest)
            part["picture"] = seen.get("picture", "")
        parts.append(part)
    return {"title": title, "words": words, "parts": parts, "signed": bool(clip_id)}


def ranges(patch: str) -> Ranges:
    """ "mel 0:16, time 25:50" """
    return {axis: (int(first), int(end)) for axis, first, end in RANGE.findall(patch)}


def _drawings(kind: Modality, row: Any, rows: Rows, greatest: float) -> list[dict[str, Any]]:
    """A picture for each stretch of the axes that the picture does not have; [] where these cannot be drawn.

    row: None for no picture beneath.
    """
    if kind.shown_axes is None or any(not one for one, _ in rows):
        return []
    inside = [axis.lstrip("-") for axis in kind.shown_axes]
    sizes = {axis: max(one[axis][1] for one, _ in rows) for axis in rows[0][0]}
    groups: dict[tuple[tuple[str, tuple[int, int]], ...], Rows] = {}
    for one, value in rows:
        outside = tuple((axis, ends) for axis, ends in one.items() if axis not in inside)
        groups.setdefault(outside, []).append((one, value))
    if any(axis not in kind.axes for outside in groups for axis, _ in outside):
        return []
    made = []
    for outside, part in groups.items():
        picture = {} if row is None else shown(kind, _cut(kind, row, outside, sizes))
        words = ", ".join(kind.stretch(axis, *ends) for axis, ends in outside)
        marks = [_mark(kind, one, value, sizes, greatest) for one, value in part]
        made.append({"picture": picture.get("picture", ""), "words": words, "marks": marks})
    return made


def _cut(kind: Modality, row: Any, outside: Sequence[tuple[str, tuple[int, int]]], sizes: Mapping[str, int]) -> Any:
    """The part of a decoded row that stretches of features were made from, as far as both run alike."""
    for axis, (first, end) in outside:
        place = kind.axes.index(axis)
        length = row.shape[place]
        begin = min(first * length // sizes[axis], length - 1)
        row = row.take(range(begin, max(begin + 1, end * length // sizes[axis])), axis=place)
    return row


def _mark(kind: Modality, one: Ranges, value: float, sizes: Mapping[str, int], greatest: float) -> dict[str, Any]:
    """A rectangle in percent of the picture. strength: 0 to 1."""
    assert kind.shown_axes is not None
    ends = []
    for axis in kind.shown_axes:
        name = axis.lstrip("-")
        low, high = (100 * place / sizes[name] for place in one[name]) if name in one else (0.0, 100.0)
        ends.append((100 - high, 100 - low) if axis.startswith("-") else (low, high))
    (top, bottom), (left, right) = ends
    words = ", ".join(kind.stretch(axis, *places) for axis, places in one.items())
    box = {"x": round(left, 2), "y": round(top, 2), "width": round(right - left, 2), "height": round(bottom - top, 2)}
    return {**box, "value": value, "strength": round(abs(value) / greatest, 3), "words": words}


def _bars(kind: Modality | None, rows: Rows, greatest: float) -> list[dict[str, Any]]:
    named: list[dict[str, Any]] = []
    for one, value in rows:
        words = [kind.stretch(axis, *ends) if kind else f"{axis} {ends[0]}" for axis, ends in one.items()]
        named.append({"name": ", ".join(words) or "all of it", "value": value, "share": abs(value) / greatest})
    return sorted(named, key=lambda bar: float(bar["share"]), reverse=True)[:DRAWN_BARS]
