"""What a reader of a study's answer must not overlook, in plain words: few seeds or clips, lost clips, stand-ins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modalens.curation.splitting import off
from modalens.reporting.attrition import lacking
from modalens.reporting.study_results import Study
from modalens.reporting.tables import rows_of
from modalens.stats.significance import FEWEST_GROUPS
from modalens.stats.targets import in_words
from modalens.tracking import records
from modalens.utils.words import counted, listed

# Of a training, that a record has as the config has them.
SETTINGS = ("epochs", "steps", "batch_size", "learning_rate", "weight_decay", "patience")
# Drops under two stand-ins that differ by less are told apart in the tables, not in the first lines.
CONTRADICTION = 0.2
# Under so many clips of a class the calibration finds intervals of balanced accuracy that cover too little.
FEW_OF_A_CLASS = 20


def caveats(study: Study, weights: dict[str, str]) -> list[str]:
    """Plain words on what limits the answer. weights: modality -> its encoder and the identity of its weights."""
    said = untrained(study.config.get("modalities") or {}, weights)
    scored = [models[study.headline(task)] for task, models in study.scores.items()]
    seeds = min(one.seeds for one in scored)
    if seeds == 1:
        said.append("Only 1 seed: all that is said is of this one model; another training may tell otherwise.")
    elif seeds < 5:
        said.append(f"Only {seeds} seeds: make no claim from fewer than five.")
    groups, clips = min(one.groups for one in scored), min(one.clips for one in scored)
    least = "at least " if len({(one.clips, one.groups, one.seeds) for one in scored}) > 1 else ""
    tested = f"{least}{counted(clips, 'clip')} of {counted(groups, 'group')}"
    said.append(f"Tested on {tested}, trained from {counted(seeds, 'seed')}.")
    if 1 < groups < FEWEST_GROUPS:
        few = "no test over so few has a p below 0.05, and the intervals are rough"
        said.append(f"Only {counted(groups, 'test group')} in the smallest task: {few}.")
    elif groups < 30:
        said.append(f"Only {counted(groups, 'test group')} in the smallest task: the intervals are rough.")
    said += [rare_class(study, task) for task in study.scores]
    said += [f"Splits of {task}: {text}." for task, text in uneven_splits(study).items()]
    said.append(disagreement(study))
    said.append(trained_otherwise(study))
    for measure, tasks in study.unmeasured().items():
        of = "any task" if len(tasks) == len(study.tasks) > 1 else ", ".join(tasks)
        said.append(f"{measure} was asked for, and there is no table of it for {of}: the next run makes it.")
    said.append(lost_clips(study.attrition(), lacking(study)))
    return [text for text in said if text]


def untrained(modalities: Mapping[str, Mapping[str, Any]], weights: Mapping[str, str]) -> list[str]:
    """A sentence for each encoder whose parameters were drawn, of all modalities that it reads."""
    found: dict[str, list[str]] = {}
    for modality, entry in sorted(modalities.items()):
        if "untrained" in weights.get(modality, ""):
            found.setdefault(entry["encoder"], []).append(modality)
    return [
        f"The encoder {encoder} was not trained: {listed(names)} may tell more with trained weights."
        for encoder, names in sorted(found.items())
    ]


def trained_otherwise(study: Study) -> str:
    """Of models whose records tell of other settings than the config's: Snakemake may write a page before it trains."""
    models = study.config.get("models")
    # A page of predictions knows its models by name alone.
    if (study.config.get("search") or {}).get("budget", 0) or not isinstance(models, dict):
        return ""
    found: dict[str, None] = {}
    for task in study.tasks:
        for model in study.models:
            asked = (models.get(model) or {}).get("training") or {}
            path = study.root / "train" / task / model / "record.json"
            params = _first(path).params if asked and path.is_file() else {}
            told = {name: params[f"training.{name}"] for name in SETTINGS if f"training.{name}" in params}
            if any(told[name] != asked[name] for name in told if name in asked):
                found[model] = None
    if not found:
        return ""
    was = "was" if len(found) == 1 else "were"
    return f"{listed(list(found))} {was} trained with other settings than the config has now: call snakemake once more."


def _first(path: Path) -> records.Run:
    """Of a record; one that is damaged, which the next run of its stage mends, has no params."""
    try:
        return records.read(path)[1][0]
    except (ValueError, KeyError, IndexError, TypeError):
        return records.Run({})


def rare_class(study: Study, task: str) -> str:
    """Where a task is told in balanced accuracy, in which each class counts as much, and one has few test clips."""
    scored = study.scores[task][study.headline(task)]
    if not scored.imbalanced or scored.rarest[1] >= FEW_OF_A_CLASS:
        return ""
    name, clips = scored.rarest
    share = 100 / np.count_nonzero(scored.full[0].sum(axis=1))
    return (
        f"{task}: the class {name!r} has {counted(clips, 'test clip')} and makes {share:.0f} % of the balanced "
        "accuracy: its intervals are rough, mostly too narrow."
    )


def uneven_splits(study: Study) -> dict[str, str]:
    """task -> how far its splits are from what was asked for, where they are."""
    tables = study.split_sizes()
    return {task: text for task, table in tables.items() if (text := off(table))}


def disagreement(study: Study) -> str:
    """The task where two ways of withholding the same modality from the headline model tell the most different story.

    Silence or black that a model never met puts it off balance, which is no proof that it used what was there.
    """
    drops, worst, words = study.measure("leave_one_out"), 0.0, ""
    for task in study.scores:
        metric = study.metric(task)
        of = in_words(metric)
        rows = rows_of(drops, task, model=study.headline(task), metric=metric)
        for modality in sorted({str(row["modality"]) for row in rows}):
            own = sorted((row for row in rows if row["modality"] == modality), key=lambda row: row["drop"])
            least, most = own[0], own[-1]
            if least["high"] < most["low"] and most["drop"] - least["drop"] > worst:
                worst = most["drop"] - least["drop"]
                words = (
                    f"What stands in for the missing modality matters: on {task}, without {modality} {of} falls by "
                    f"{most['drop']:.2f} under {most['replacement']} and by {max(least['drop'], 0):.2f} under "
                    f"{least['replacement']}. A stand-in that the model never met can mislead it."
                )
    return words if worst > CONTRADICTION else ""


def lost_clips(attrition: pd.DataFrame, lacking: Mapping[str, int] | None = None) -> str:
    """lacking: task -> how many of its kept clips lack a modality."""
    if attrition.empty:
        return ""
    kept = lacking or {}
    if len(set(kept.values())) == 1:
        told = counted(next(iter(kept.values())), "clip") + (" of each task" if len(kept) > 1 else "")
    else:
        told = ", ".join(f"{counted(clips, 'clip')} of {task}" for task, clips in kept.items())
    stayed = f"{told} stayed without one of the modalities: see clips that lack a modality."
    whole = f"; {stayed}" if kept else "."
    losses = []
    for task, rows in attrition.groupby("task", sort=False):
        lost = rows.loc[rows["cause"] != "", "clips"].sum()
        losses.append((lost / max(rows["clips"].sum(), 1), int(lost), int(rows["clips"].sum()), task))
    share, lost, total, task = max(losses)
    if not lost:
        return f"No clip was {'left out' if lacking else 'lost'}{whole}"
    where = f" (task {task}, the worst)" if len({loss[1:3] for loss in losses}) > 1 else ""
    return f"{lost:,} of {counted(total, 'clip')} ({share:.1%}) could not be used{where}: see clips lost{whole}"
