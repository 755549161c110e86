"""What withholding a modality did to each test clip: the headline model's predictions -> tables a row a clip."""

from typing import Any

import numpy as np
import pandas as pd

from modalens.reporting.study_results import Study
from modalens.stats.coalitions import to_text
from modalens.utils import parquet

KEY = ["clip_id", "modality"]


def pairs(study: Study, task: str) -> pd.DataFrame:
    """A row for each clip, seed and withheld modality: group, label, predicted with all modalities, log_probability
    (of the true class, nats), without and log_probability_without. Empty for a model of one modality."""
    model = study.headline(task)
    names = study.scores[task][model].modalities
    columns = ["clip_id", "group", "seed", "replacement", "coalition", "label", "predicted", "log_probability"]
    if len(names) < 2 or not study.replacement:
        return pd.DataFrame()
    table = parquet.read(study.predictions(task, model), columns, [("replacement", "in", ["", study.replacement])])
    full = table[table["replacement"] == ""].drop(columns=["replacement", "coalition"])
    parts = []
    for name in names:
        kept = to_text(other for other in names if other != name)
        less = table[(table["replacement"] == study.replacement) & (table["coalition"] == kept)]
        less = less[["clip_id", "seed", "predicted", "log_probability"]]
        less = less.rename(columns={"predicted": "without", "log_probability": "log_probability_without"})
        parts.append(full.merge(less, on=["clip_id", "seed"]).assign(modality=name))
    return pd.concat(parts, ignore_index=True)


def by_clip(pairs: pd.DataFrame) -> pd.DataFrame:
    """clip_id, label, modality, predicted and without (what most seeds named), right (share of seeds with all
    modalities), changed (share of seeds), drop (of the true class's log-probability, nats, mean over seeds), drop_std.

    Those that change most come first.
    """
    if pairs.empty:
        return pairs
    table = pairs.assign(
        right=pairs["predicted"] == pairs["label"],
        changed=pairs["predicted"] != pairs["without"],
        drop=pairs["log_probability"] - pairs["log_probability_without"],
    )
    grouped = table.groupby(KEY, sort=False)
    made = grouped.agg(label=("label", "first"), right=("right", "mean"), changed=("changed", "mean"))
    made["drop"], made["drop_std"] = grouped["drop"].mean(), grouped["drop"].std()
    for column in ("predicted", "without"):
        counts = table.groupby([*KEY, column], sort=True).size().rename("seeds").reset_index()
        counts = counts.sort_values("seeds", ascending=False, kind="stable").drop_duplicates(KEY)
        made[column] = counts.set_index(KEY)[column]
    made = made.reset_index()
    most = made.groupby("clip_id")["changed"].transform("max")
    made = made.assign(most=most, size=made.groupby("clip_id")["drop"].transform(lambda drops: drops.abs().max()))
    made = made.sort_values(["most", "size", *KEY], ascending=[False, False, True, True], kind="stable")
    order = ["clip_id", "label", "modality", "predicted", "without", "right", "changed", "drop", "drop_std"]
    return made[order].reset_index(drop=True)


def by_outcome(pairs: pd.DataFrame) -> pd.DataFrame:
    """outcome (right, wrong: with all modalities), modality, predictions (clips times seeds), changed of these, turned
    (from right to wrong, or from wrong to right), drop (mean, nats)."""
    rows: list[dict[str, Any]] = []
    for name, part in pairs.groupby("modality", sort=True) if len(pairs) else ():
        right = part["predicted"] == part["label"]
        for outcome, some in (("right", part[right]), ("wrong", part[~right])):
            after = some["without"] == some["label"]
            drop = (some["log_probability"] - some["log_probability_without"]).mean() if len(some) else np.nan
            row = {"outcome": outcome, "modality": name, "predictions": len(some)}
            row |= {"changed": int((some["predicted"] != some["without"]).sum())}
            rows.append(row | {"turned": int((~after if outcome == "right" else after).sum()), "drop": drop})
    return pd.DataFrame(rows).sort_values(["outcome", "modality"], kind="stable") if rows else pd.DataFrame()
