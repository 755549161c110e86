"""Measures that the page does not know: a chart and a table of whatever a plugin returned."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from modalens.plugins import introspection, registry
from modalens.reporting import charts
from modalens.reporting.drawings import DRAWN_ROWS, of
from modalens.reporting.rendering import RenderedChart, render
from modalens.reporting.study_results import Study

KNOWN = ("leave_one_out", "shapley", "sample_relevance")  # the page has a place for each
SHOWN_ROWS = 200
LONGEST_TITLE = 40  # letters
VALUES = ("value", "difference", "drop")
AXES = ("level", "epoch")
DRAWN_POINTS = 2000
MENUS = ("value_function", "metric", "quantity", "replacement")  # one of each is drawn at a time
OTHER = "_other"  # ends a word that is about the second modality of a pair
DETAILS = {"groups_low", "groups_high", "seeds_low", "seeds_high", "seed_std", "clips", "groups", "seeds"}


def sections(study: Study, task: str) -> list[dict[str, Any]]:
    """name, title, words (what the measure is), all_models (whether its chart is of all), rows_drawn and most_rows
    (rows of its chart, and how many are drawn), columns, rows, cut (rows left out), numbers (names of columns)."""
    found = []
    for name in study.measures():
        table = summaries(of(study.measure(name), task))
        if name in KNOWN or table.empty:
            continue
        first = study.headline(task)
        ordered = pd.concat([table[table["model"] == first], table[table["model"] != first]])
        columns = [name for name in ordered if name not in DETAILS | {"task"} and ordered[name].notna().any()]
        columns = [name for name in columns if not (ordered[name] == "").all()]
        found.append({
            "name": name,
            "title": title(name),
            "words": describe(name),
            "all_models": compares_models(name),
            "rows_drawn": _rows_drawn(study, task, name),
            "most_rows": DRAWN_ROWS,
            "columns": columns,
            "rows": ordered[columns].head(SHOWN_ROWS).to_dict("records"),
            "cut": max(0, len(ordered) - SHOWN_ROWS),
            "numbers": [name for name in columns if pd.api.types.is_numeric_dtype(ordered[name])],
        })  # fmt: skip
    return found


def title(measure: str) -> str:
    """What stands before the colon of that line, else the measure's name."""
    before, colon, _ = describe(measure).partition(":")
    return before if colon and len(before) <= LONGEST_TITLE else measure.replace("_", " ").capitalize()


def summaries(table: pd.DataFrame) -> pd.DataFrame:
    """Without what is told of single patches and clips, which is drawn elsewhere."""
    if "kind" not in table:
        return table
    return table[table["kind"] == "modality"].drop(columns=["kind", "patch", "clip_id", "target"], errors="ignore")


def describe(measure: str) -> str:
    """The first line that the file of a measure says of itself."""
    if measure not in registry.names("measures"):
        return ""
    lines = introspection.docstring("measures", measure).splitlines()
    return lines[0] if lines else ""


def chart(study: Study, task: str, name: str) -> RenderedChart | None:
    """Value and interval of each row of the headline model, or of all where the measure compares models, along `level`
    or `epoch` where the measure has these.

    None where the measure has no column of VALUES with `low` and `high` around it.
    """
    found = _drawable(study, task, name)
    if not found:
        return None
    table, value, axis, menus = found
    words = title(name).lower() if title(name)[1:2].islower() else title(name)
    along = _axis(name, words, menus)
    choices = [charts.choice(menu.replace("_", " "), menu, of_menu) for menu, of_menu in _choices(table, menus, study)]
    if axis:
        columns = [axis, "modality", value, "low", "high", *menus]
        made = charts.curves(charts.rounded(table, columns).head(DRAWN_POINTS), axis, value, along)
    else:
        columns = ["row", "modality", value, "low", "high", "clear", *menus]
        shown = charts.rounded(table.assign(row=_names(table, menus)), columns)
        shown = shown.groupby(menus, sort=False).head(DRAWN_ROWS) if menus else shown.head(DRAWN_ROWS)
        made = charts.points(shown.head(DRAWN_POINTS), value, "row", along)
    return render(f"{task}-{name}", charts.chosen(made, choices), f"{task}: {words} with intervals")


def _drawable(study: Study, task: str, name: str) -> tuple[pd.DataFrame, str, str, list[str]] | None:
    """Rows of a measure that a chart may have, the columns of their value and axis (or ""), and those of the menus."""
    table = summaries(of(study.measure(name), task))
    if len(table) and not compares_models(name):
        table = table[table["model"] == study.headline(task)]
    value = next((column for column in VALUES if column in table), "")
    if table.empty or not value or not {"low", "high"} <= set(table):
        return None
    axis = next((column for column in AXES if column in table and table[column].notna().sum() > 1), "")
    table = table[table[value].notna() & (table[axis].notna() if axis else True)].assign(clear=True)
    # An interval that is not around its value is of something else.
    if table.empty or ((table["low"] > table[value]) | (table["high"] < table[value])).any():
        return None
    table = table.assign(modality=table["modality"].fillna("").replace("", "all") if "modality" in table else "all")
    if "other" in table:
        table = of_pairs(table)
    menus = [column for column in MENUS if column in table and len(set(table[column])) > 1]
    for column in menus:
        table[column] = table[column].fillna(charts.ANY)
    return table, value, axis, menus


def _rows_drawn(study: Study, task: str, name: str) -> int:
    """Most rows that a choice of a chart has; 0 of a chart along a number."""
    found = _drawable(study, task, name)
    if not found or found[2]:
        return 0
    table, _, _, menus = found
    return int(table.groupby(menus).size().max()) if menus else len(table)


def of_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """`modality` of a row of two names both. A word such as `unique` that stands beside `unique_other` is of the first
    of them, and that of the second."""
    other = table["other"].fillna("")
    made = table.assign(modality=table["modality"] + (" and " + other).where(other != "", ""))
    for column in table.select_dtypes(exclude=["number", "bool"]).columns.difference(["modality", "other"]):
        words = table[column].fillna("").astype(str)
        second = words[words.str.endswith(OTHER)]
        if second.empty:
            continue
        first = words.isin(second.str.removesuffix(OTHER)) & (other != "")
        made.loc[first, column] = words[first] + ": " + table.loc[first, "modality"]
        made.loc[second.index, column] = second.str.removesuffix(OTHER) + ": " + other[second.index]
    return made


def _axis(measure: str, words: str, menus: Sequence[str]) -> str:
    """What stands along the values: what the measure says these are, or its name."""
    if measure in registry.names("measures") and (said := introspection.attribute("measures", measure, "unit", "")):
        return str(said)
    return "the chosen quantity" if "quantity" in menus else words


def _names(table: pd.DataFrame, menus: Sequence[str]) -> list[str]:
    """Of each row, the words that tell it from the others."""
    telling = [
        column
        for column in table
        if column not in {"task", "model", "modality", "other", "clear", *menus}
        and not pd.api.types.is_numeric_dtype(table[column])
        and len(set(table[column])) > 1
    ]
    shown = table[telling].fillna("").astype(str)
    return [", ".join(filter(None, row)) for row in shown.itertuples(index=False)]


def _choices(table: pd.DataFrame, menus: Sequence[str], study: Study) -> list[tuple[str, list[str]]]:
    """Of each menu its values, first those of one row, so that what is shown at first is something."""
    first = table.iloc[0]
    if "replacement" in menus:
        reported = table[table["replacement"].isin([study.replacement, charts.ANY])]
        first = reported.iloc[0] if len(reported) else first
    found = []
    for menu in menus:
        values = [value for value in dict.fromkeys(table[menu]) if value != charts.ANY]
        wanted = study.replacement if first[menu] == charts.ANY else first[menu]
        found.append((menu, sorted(values, key=str(wanted).__ne__)))
    return found


def compares_models(measure: str) -> bool:
    named = measure in registry.names("measures")
    return named and bool(introspection.attribute("measures", measure, "compares_models", False))
