"""What the source papers print beside what a study measured, where task and data set are the published ones."""

from pathlib import Path

import pandas as pd

from modalens.reporting.paper_tables import METRIC_NAMES
from modalens.reporting.study_results import Study

FACTS = Path(__file__).parent / "published.csv"


def beside(study: Study, results: pd.DataFrame) -> pd.DataFrame:
    """task, model, row, metric, paper, published, ours, std, seeds, difference: in percent and points.

    results: of study_results.results. A row is matched by data set, task, model and what was withheld.
    """
    facts = pd.read_csv(FACTS, dtype={"task": str, "row": str})
    facts = facts[facts["dataset"] == (study.config.get("dataset") or {}).get("name")]
    if facts.empty or results.empty:
        return pd.DataFrame()
    ours = results.rename(columns={"mean": "ours"})
    # The full model's row bears the model's name, which is a column of the facts already.
    ours = ours.assign(row=ours["row"].mask(ours["row"] == ours["model"] + " (full)", "full"))
    table = facts.merge(ours, on=["task", "model", "row", "metric"])
    table["difference"] = table["ours"] - table["value"]
    table = table.assign(metric=table["metric"].map(METRIC_NAMES)).rename(columns={"value": "published"})
    columns = ["task", "model", "row", "metric", "paper", "published", "ours", "std", "seeds", "difference"]
    return table[columns].reset_index(drop=True)
