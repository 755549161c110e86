"""Confusion matrices of the headline model, with all modalities and with each one withheld: as tables and charts."""

import numpy as np
import pandas as pd

from modalens.reporting.study_results import Study
from modalens.stats.coalitions import to_text

SHOWN_CLASSES = 25
SHOWN_CONFUSIONS = 20
FULL = "all modalities"


def matrices(study: Study, task: str) -> pd.DataFrame:
    """case, label, predicted, clips (mean over seeds), share of the class's clips; cells that are empty everywhere in
    the case are left out."""
    scored = study.scores[task][study.headline(task)]
    cases = {FULL: scored.full}
    for name in scored.modalities if len(scored.modalities) > 1 else ():
        kept = to_text(other for other in scored.modalities if other != name)
        if (study.replacement, kept) in scored.confusion:
            cases[f"without {name}"] = scored.confusion[study.replacement, kept]
    tables = []
    names = np.array(scored.classes, object)
    for case, confusion in cases.items():
        mean = confusion.mean(axis=0)
        totals = mean.sum(axis=1)
        rows, columns = np.nonzero(mean)
        cells = {"case": case, "label": names[rows], "predicted": names[columns], "clips": mean[rows, columns]}
        tables.append(pd.DataFrame(cells | {"share": mean[rows, columns] / totals[rows]}))
    return pd.concat(tables, ignore_index=True)


def most_confused(cells: pd.DataFrame, limit: int = SHOWN_CLASSES) -> list[str]:
    """All classes in their order, or where they are more than `limit` those with the most errors."""
    labels = sorted({*cells["label"], *cells["predicted"]})
    if len(labels) <= limit:
        return labels
    wrong = cells[(cells["label"] != cells["predicted"]) & (cells["case"] == FULL)]
    errors = wrong.groupby("label")["clips"].sum().add(wrong.groupby("predicted")["clips"].sum(), fill_value=0)
    chosen = errors.sort_values(ascending=False, kind="stable").index[:limit]
    return [label for label in labels if label in set(chosen)]


def squares(cells: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """The cells among some classes, also the empty ones."""
    cases = list(dict.fromkeys(cells["case"]))
    index = pd.MultiIndex.from_product([cases, labels, labels], names=["case", "label", "predicted"])
    return cells.set_index(index.names)[["clips", "share"]].reindex(index, fill_value=0).reset_index()


def worst(cells: pd.DataFrame) -> pd.DataFrame:
    """label, predicted and the clips of each case: the pairs of classes that are confused most with all modalities."""
    wrong = cells[cells["label"] != cells["predicted"]]
    table = wrong.pivot_table(index=["label", "predicted"], columns="case", values="clips", fill_value=0, sort=False)
    table.columns.name = None
    if table.empty:
        return table.reset_index()
    first = FULL if FULL in table else table.columns[0]
    order = [first, *(name for name in table if name != first)]
    return table[order].sort_values(first, ascending=False, kind="stable").head(SHOWN_CONFUSIONS).reset_index()
