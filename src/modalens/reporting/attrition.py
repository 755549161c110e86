"""Which clips a study lost, and what the clips of its splits share: a study folder -> tables and sentences."""

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from modalens.curation.splitting import NAMES
from modalens.media.failure_causes import BY_NAME
from modalens.reporting.study_results import Study
from modalens.reporting.tables import read
from modalens.utils.words import counted

# One-sided, after a Bonferroni correction over the classes or splits of a task.
SIGNIFICANT = 0.05
CHANGES = {
    "lost": "good then, not to be had now",
    "found": "not to be had then, good now",
    "recoded": "another file that looks and sounds the same",
    "changed": "another file with another content",
    "same": "the same file",
    "absent": "not to be had, then and now",
}


def by_cause(attrition: pd.DataFrame) -> pd.DataFrame:
    """task, cause, sentence, stage, clips lost in train, validation, test and all, and all as a share of the task's."""
    rows = []
    for task, part in attrition.groupby("task", sort=False) if len(attrition) else ():
        lost = part[part["cause"] != ""]
        counts = lost.pivot_table(
            index=["cause", "stage"], columns="split", values="clips", aggfunc="sum", fill_value=0
        )
        for row in counts.reset_index().to_dict("records"):
            cause, stage = str(row["cause"]), row["stage"]
            split = {name: int(row.get(name, 0)) for name in NAMES}
            total = sum(split.values())
            sentence = BY_NAME[cause].sentence if cause in BY_NAME else ""
            key = {"task": task, "cause": cause, "sentence": sentence, "stage": stage}
            rows.append(key | split | {"all": total, "share": total / part["clips"].sum()})
    return (
        pd.DataFrame(rows).sort_values(["task", "all"], ascending=[True, False], kind="stable")
        if rows
        else pd.DataFrame()
    )


def shares(attrition: pd.DataFrame, by: str) -> pd.DataFrame:
    """Of one task: per class or split (by = label, split) clips, lost, the share lost, and p, the chance of as many.

    p: of as many losses or more if each clip were as likely to be lost (Fisher's exact test, one-sided), times the
    number of rows.
    """
    table = pd.DataFrame(
        {
            "clips": attrition.groupby(by)["clips"].sum(),
            "lost": attrition[attrition["cause"] != ""].groupby(by)["clips"].sum(),
        }
    ).fillna(0)
    total, lost = table["clips"].sum(), table["lost"].sum()
    table["share"] = table["lost"] / table["clips"]
    table["p"] = np.minimum(hypergeom.sf(table["lost"] - 1, total, lost, table["clips"]) * len(table), 1)
    return table.sort_values("share", ascending=False, kind="stable")


def uneven(attrition: pd.DataFrame) -> list[str]:
    """A sentence for each task and each of class and split where one lost more than chance would take."""
    said = []
    for task, part in attrition.groupby("task", sort=False) if len(attrition) else ():
        for by, noun in (("label", "class"), ("split", "split")):
            table = shares(part, by)
            hit = table[table["p"] < SIGNIFICANT]
            if hit.empty:
                continue
            rest = table.drop(hit.index)
            names = [
                f"{name} lost {row['share']:.0%} ({row['lost']:.0f} of {row['clips']:.0f})"
                for name, row in hit.head(3).iterrows()
            ]
            more = f" and {len(hit) - 3} more like them" if len(hit) > 3 else ""
            others = f", the others {rest['lost'].sum() / rest['clips'].sum():.0%}" if len(rest) else ""
            said.append(f"{task}: {noun} {', '.join(names)}{more}{others}: what is left is not a fair sample.")
    return said


def untold(attrition: pd.DataFrame) -> list[str]:
    """A sentence for each task whose lost clips are too few to show an uneven loss, were all of them of one class or
    split."""
    said = []
    for task, part in attrition.groupby("task", sort=False) if len(attrition) else ():
        tables = {noun: shares(part, by) for by, noun in (("label", "class"), ("split", "split"))}
        blind = [noun for noun, table in tables.items() if table["lost"].sum() and not _can_show(table)]
        if blind:
            lost, clips = (int(tables["class"][name].sum()) for name in ("lost", "clips"))
            which = " or ".join(f"a {noun}" for noun in blind)
            said.append(
                f"{task}: whether {which} lost more of its clips than chance would take, {lost} lost of "
                f"{counted(clips, 'clip')} cannot show."
            )
    return said


def _can_show(table: pd.DataFrame) -> bool:
    """Whether any row would be significant if it had all the losses that fit in it."""
    clips, lost = table["clips"], table["lost"].sum()
    worst = np.minimum(clips, lost)
    return bool(np.any(hypergeom.sf(worst - 1, clips.sum(), lost, clips) * len(table) < SIGNIFICANT))


def incomplete(study: Study) -> pd.DataFrame:
    """task, modality, cause, sentence, clips in train, validation, test and all, and all as a share of the clips that
    the task kept; empty where the study keeps whole clips only."""
    rows = []
    for task, table in _of_tasks(study, "incomplete", "splits/{task}/incomplete.csv").items():
        kept = sum(len(read(study.root / "splits" / task / f"{name}.csv", "split")) for name in NAMES)
        for (modality, cause), part in table.groupby(["modality", "cause"]):
            split = {name: int(part.loc[part["split"] == name, "clips"].sum()) for name in NAMES}
            sentence = BY_NAME[cause].sentence if cause in BY_NAME else ""
            total = sum(split.values())
            key = {"task": task, "modality": modality, "cause": cause, "sentence": sentence}
            rows.append(key | split | {"all": total, "share": total / kept})
    return pd.DataFrame(rows)


def lacking(study: Study) -> dict[str, int]:
    """task -> clips that it kept although they lack a modality; one that lacks two counts once."""
    found = {}
    for task in _of_tasks(study, "incomplete", "splits/{task}/incomplete.csv"):
        tables = [read(study.root / "splits" / task / f"{name}.csv", "split") for name in NAMES]
        found[task] = sum(int(table["lacks"].replace("", None).notna().sum()) for table in tables if "lacks" in table)
    return {task: count for task, count in found.items() if count}


def since(study: Study) -> pd.DataFrame:
    """task, since, meaning, cause, clips: against the frozen list; empty where the study has none."""
    tables = [table.assign(task=task) for task, table in _of_tasks(study, "since", "splits/{task}/clips.csv").items()]
    table = pd.concat(tables) if tables else pd.DataFrame(columns=["task", "since", "cause"])
    counts = (
        table[table["since"] != ""].groupby(["task", "since", "cause"], sort=False).size().rename("clips").reset_index()
    )
    counts.insert(2, "meaning", counts["since"].map(CHANGES))
    order = counts["since"].map({name: place for place, name in enumerate(CHANGES)})
    return counts.iloc[order.argsort(kind="stable")].sort_values("task", kind="stable")


def pairs(study: Study) -> pd.DataFrame:
    """task and the columns of duplicates/<task>.csv: clips in two splits that are, or almost are, the same."""
    tables = [
        table.assign(task=task) for task, table in _of_tasks(study, "duplicates", "duplicates/{task}.csv").items()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def shared(study: Study) -> pd.DataFrame:
    """task, groups in two splits, pairs identical and near_identical across splits; empty where nobody looked."""
    leakage, found = (
        _of_tasks(study, "leakage", "splits/{task}/leakage.csv"),
        _of_tasks(study, "duplicates", "duplicates/{task}.csv"),
    )
    rows = []
    for task in [task for task in study.tasks if task in found]:
        kinds = found[task]["kind"].value_counts()
        numbers = {"identical": int(kinds.get("identical", 0)), "near_identical": int(kinds.get("near-identical", 0))}
        rows.append({"task": task, "groups": len(leakage.get(task, ())), **numbers})
    return pd.DataFrame(rows)


def _of_tasks(study: Study, kind: str, pattern: str) -> dict[str, pd.DataFrame]:
    paths = {task: study.root / pattern.format(task=task) for task in study.tasks}
    return {task: read(path, kind) for task, path in paths.items() if path.exists()}
