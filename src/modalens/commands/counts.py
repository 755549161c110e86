"""Clips per class and split of each task of a study, as planned: from its lists alone, no media is fetched."""

import argparse
from pathlib import Path

import pandas as pd

from modalens.config import resolve, resolved
from modalens.curation import manifest, splitting, targets
from modalens.stats.targets import CLASSES, MULTILABEL
from modalens.utils.words import counted

LABELLED = ["clip_id", "group", "split"]
COLUMNS = ["task", "label", *splitting.NAMES, "all"]


def planned(labels: pd.DataFrame, fractions: dict[str, float], seed: int) -> tuple[pd.Series, str]:
    """clip_id, group, split, label -> (split of each clip, how it was split), as the stage `splits` does it."""
    given = set(labels["split"])
    if not given - {""}:
        return splitting.assign(labels, fractions, seed), "by group"
    if {"train", "test"} <= given:
        return splitting.official(labels, fractions, seed)
    return labels["split"], f"official, {' and '.join(sorted(given))} only"


def counts(
    clips: pd.DataFrame, task: str, fractions: dict[str, float], seed: int, kind: str = CLASSES
) -> tuple[pd.DataFrame, str]:
    """Manifest -> (COLUMNS, one row a class, tag or range of numbers and one for `all`, how it was split), by the
    stage `splits` itself.

    That stage drops what failed after it has split: later counts are these less the clips that could not be had. A
    list that has clips of one split only is counted as it is.
    """
    labels = clips.loc[clips[task] != "", [*LABELLED, task]].set_axis([*LABELLED, "label"], axis=1)
    strata = labels.assign(label=targets.strata(labels["label"], labels["group"], kind))
    split, origin = planned(strata, fractions, seed)
    rows = (strata if kind != MULTILABEL else labels).assign(split=split)
    rows = targets.by_tag(rows) if kind == MULTILABEL else rows
    table = pd.crosstab(rows["label"], rows["split"]).reindex(columns=list(splitting.NAMES), fill_value=0)
    table.loc["all"] = split.value_counts().reindex(table.columns, fill_value=0)
    table["all"] = table.sum(axis=1)
    table = table.rename_axis(index="label", columns=None).reset_index()
    table.insert(0, "task", task)
    shared = len(splitting.shared_groups(labels, split))
    return table, f"split {origin}" + (
        f"; {counted(shared, 'source is', 'sources are')} in more than one split" if shared else ""
    )


def main(arguments: argparse.Namespace) -> None:
    study = resolve.resolve(resolve.load(arguments.configfile))
    clips = manifest.of_study(study, study["tasks"])
    manifest.check(clips, study["tasks"], study["targets"])
    fractions = {name: study["splits"][name] for name in splitting.NAMES}
    tables = []
    for task in study["tasks"]:
        table, origin = counts(clips, task, fractions, study["splits"]["seed"], resolved.target_of(study, task))
        tables.append(table)
        if not arguments.csv:
            labelled = clips[clips[task] != ""]
            clips_there, sources = counted(len(labelled), "clip"), counted(labelled["group"].nunique(), "source")
            print(f"{task}: {clips_there} of {sources}, {origin}")
            print(table.drop(columns="task").to_string(index=False), end="\n\n")
    if arguments.csv:
        print(pd.concat(tables).to_csv(index=False, lineterminator="\n"), end="")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--configfile", type=Path, default=Path("config/config.yaml"), help="of the study")
    parser.add_argument("--csv", action="store_true", help="print CSV, not a table to read")
