"""The page of `modalens compare`: one file, no request, a table for each task and quantity."""

from importlib.resources import files

import jinja2
import pandas as pd


def page(table: pd.DataFrame, notes: list[str], confidence: float) -> str:
    """table: of `stats.paired.compare`, with a column `task`. notes: sentences on what was left out."""
    source = files("modalens.reporting").joinpath("templates", "comparison.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    parts = [
        {"task": task, "quantity": quantity, "rows": rows.to_dict("records"), "ends": _ends(rows)}
        for (task, quantity), rows in table.groupby(["task", "quantity"], sort=False)
    ]
    return environment.from_string(source).render(
        parts=parts, notes=notes, share=round(100 * confidence), first=table.iloc[0].to_dict()
    )


def _ends(rows: pd.DataFrame) -> tuple[float, float]:
    """Of the scale on which the differences of a table are drawn: zero is in its middle."""
    values = rows[["difference", "difference_low", "difference_high"]].abs().max().max()
    most = float(values) if values == values and values > 0 else 1.0
    return -most, most
