"""Numbers -> plain sentences: which modality counts, which is not needed, and what a reader must not overlook."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import numpy as np
import pandas as pd

from modalens.curation.splitting import off
from modalens.reporting.attrition import lacking
from modalens.reporting.study_results import Study
from modalens.reporting.tables import read
from modalens.reporting.verdict import MARGIN, Estimate, Evidence, divisible, judge, needed, not_needed
from modalens.stats.coalitions import Coalition, from_text
from modalens.stats.targets import CLASSES, MULTILABEL, in_words
from modalens.utils.words import counted

TOLERANCE = 0.10
# Drops under two stand-ins that differ by less are told apart in the tables, not in the first lines.
CONTRADICTION = 0.2
# Under so many clips of a class the calibration finds intervals of balanced accuracy that cover too little.
FEW_OF_A_CLASS = 20


@dataclass
class ModalityFinding:
    """One modality of one model. drop: the row of leave_one_out, in the finding's metric. used, available: rows of
    shapley, or None. alone: the row of leave_one_out of the model of this modality alone, or None. learned: the row of
    probe, what the modality's sub-network inside the model knows, or None."""

    modality: str
    drop: dict[str, Any] | None
    used: dict[str, Any] | None
    available: dict[str, Any] | None
    alone: dict[str, Any] | None
    learned: dict[str, Any] | None = None


@dataclass
class Finding:
    """One task's answer. metric: what it is told in. payoff: what is divided. lead: a few words. text: the sentence.
    notes: what else must be said plainly. divided: whether shares of the score mean anything."""

    task: str
    model: str
    metric: str
    chance: float
    parts: list[ModalityFinding]
    full: dict[str, Any] | None
    lead: str = ""
    text: str = ""
    notes: tuple[str, ...] = ()
    payoff: str = "accuracy"
    divided: bool = False


def find(study: Study, task: str) -> Finding:
    model = study.headline(task)
    scored = study.scores[task][model]
    metric = study.metric(task)
    drops = _rows(study.measure("leave_one_out"), task, metric=metric, replacement=study.replacement)
    payoff = "accuracy" if scored.target == CLASSES else metric
    values = _rows(study.measure("shapley"), task, value_function=payoff)
    probes = _rows(study.measure("probe"), task, metric=metric)
    parts = []
    for modality in scored.modalities:
        expert = study.expert(task, modality)
        parts.append(
            ModalityFinding(
                modality,
                _one(drops, model=model, modality=modality),
                _one(values, model=model, modality=modality, notion="used", replacement=study.replacement),
                _one(values, model=model, modality=modality, notion="available"),
                _one(drops, model=expert, modality=modality) if expert else None,
                _one(probes, model=model, modality=modality),
            )
        )
    chance = 1 / np.count_nonzero(scored.full[0].sum(axis=1)) if scored.imbalanced else scored.chance
    full = next((part.drop for part in parts if part.drop), None)
    finding = Finding(task, model, metric, chance, parts, full, payoff=payoff)
    if full is None or any(part.drop is None for part in parts):
        finding.lead = "not measured"
        finding.text = "leave_one_out is not among this study's measures, or was not run for this model."
        return finding
    evidence = Evidence(
        in_words(metric),
        chance,
        scored.modalities,
        Estimate(full["full"], full["full_low"], full["full_high"]),
        Estimate(full["full"] - full["chance"], full["above_low"], full["above_high"]),
        _lost(study, task, finding),
        # F1 of nothing is 0 however many tags two modalities tell apart: what adds up over tags is their decisions.
        _interaction(study, task, finding, "tag_accuracy" if scored.target == MULTILABEL else metric),
        scored.target != MULTILABEL,
        scored.seeds > 1,
        _interaction(study, task, finding, "log_probability") if scored.target == CLASSES else {},
        {part.modality: part.alone["full"] for part in parts if part.alone},
    )
    judged = judge(evidence)
    finding.lead, finding.text, finding.divided = judged.lead, judged.text, divisible(evidence.above)
    finding.notes = tuple(_notes(finding, _compared(study, finding))) if len(parts) > 1 else ()
    return finding


def _lost(study: Study, task: str, finding: Finding) -> dict[Coalition, Estimate]:
    """What each coalition loses against all modalities. Without the measure of coalitions, what leave_one_out tells."""
    rows = _rows(
        study.measure("coalition_values"),
        task,
        model=finding.model,
        metric=finding.metric,
        replacement=study.replacement,
    )
    if rows:
        return {from_text(row["coalition"]): _estimate(row, "lost") for row in rows}
    names = [part.modality for part in finding.parts]
    return {
        tuple(name for name in names if name != part.modality): _estimate(part.drop, "drop")
        for part in finding.parts
        if part.drop
    }


def _interaction(study: Study, task: str, finding: Finding, payoff: str) -> dict[tuple[str, str], Estimate]:
    rows = _rows(
        study.measure("interaction"),
        task,
        model=finding.model,
        value_function=payoff,
        replacement=study.replacement,
    )
    return {(row["modality"], row["other"]): _estimate(row, "value") for row in rows}


def _estimate(row: Mapping[str, Any], name: str) -> Estimate:
    return Estimate(row[name], row["low"], row["high"], row.get("detectable", float("nan")))


def _compared(study: Study, finding: Finding) -> dict[str, dict[str, Any]]:
    """model -> its row of the leaderboard, where that compares with the finding's model."""
    path = study.root / "leaderboard" / f"{finding.task}.csv"
    rows = read(path).to_dict("records") if path.exists() else []
    return {str(row["model"]): row for row in rows if row["reference"] == finding.model}  # type: ignore[misc]


def _notes(finding: Finding, compared: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What a reader would otherwise miss: a joint model that is worse than one modality, a modality that could do the
    task and is not missed."""
    full = finding.full
    for part in finding.parts:
        if part.alone is None or full is None or part.drop is None:
            continue
        alone = f"{part.modality} alone reaches {part.alone['full']:.2f}"
        paired = compared.get(str(part.alone.get("model")), {})
        better = paired.get("verdict") == "better" and paired["difference_low"] > 0
        if better or part.alone["full_low"] > full["full_high"]:
            yield f"The joint model is worse than one of {part.modality} alone: {_by_how_much(finding, part, paired)}."
        elif part.alone["above_low"] > 0:
            if part.drop["high"] < 0:
                yield f"It does better without {part.modality}, although {alone}."
            elif not_needed(_estimate(part.drop, "drop")) and full["above_low"] > 0:
                yield f"It does not need {part.modality}, although {alone}."
            elif part.alone["full"] >= full["full"] - MARGIN and (missed := _missed(finding, part)):
                yield f"It loses without {missed}, although {alone}."


def _missed(finding: Finding, alone: ModalityFinding) -> str:
    """The other modalities, where all of them are needed."""
    others = [part for part in finding.parts if part is not alone]
    every = all(part.drop and needed(_estimate(part.drop, "drop")) for part in others)
    return " or ".join(part.modality for part in others) if every else ""


def _by_how_much(finding: Finding, part: ModalityFinding, paired: Mapping[str, Any]) -> str:
    """The leaderboard's paired difference is one of accuracy (of another target its first metric), whatever the finding
    is told in."""
    of = in_words(str(paired.get("metric", "accuracy")))
    full, alone = (finding.full or {}).get("full", float("nan")), (part.alone or {}).get("full", float("nan"))
    numbers = f"{in_words(finding.metric)} {full:.2f} against {alone:.2f}"
    if not paired or isnan(paired["difference_low"]):
        return f"{numbers}, and their intervals do not overlap"
    points = [100 * paired[name] for name in ("difference", "difference_low", "difference_high")]
    return f"{numbers}, {points[0]:.0f} points of {of} lower, interval {points[1]:.0f} to {points[2]:.0f}"


def known(study: Study, findings: list[Finding]) -> pd.DataFrame:
    """Known against measured: task, quantity, modality, known, measured, low, high, difference, within (of 0.10)."""
    rows = []
    answers = study.answers()
    for finding in findings:
        answer = answers.get(finding.task, {})
        for part in finding.parts:
            truth = answer.get("share", {}).get(part.modality)
            for notion, row in (("available", part.available), ("used", part.used)):
                if truth is not None and row is not None:
                    told = (row["share"], row["share_low"], row["share_high"])
                    measured = told if finding.divided else (nan, nan, nan)
                    rows.append(_against(finding.task, f"share {notion}", part.modality, truth, *measured))
        bayes = answer.get("bayes_accuracy", {})
        cases = [(part.modality, part.alone) for part in finding.parts if len(finding.parts) > 1]
        cases.append((",".join(part.modality for part in finding.parts), finding.full))
        for key, row in cases:
            if key in bayes and row is not None:
                measured = (row["full"], row["full_low"], row["full_high"])
                rows.append(_against(finding.task, "accuracy of a model of", key, bayes[key], *measured))
    return pd.DataFrame(rows)


def _against(task: str, quantity: str, modality: str, truth: float, value: float, low: float, high: float) -> dict:
    row = {"task": task, "quantity": quantity, "modality": modality, "known": truth}
    row |= {"measured": value, "low": low, "high": high, "difference": value - truth}
    return row | {"within": bool(abs(value - truth) <= TOLERANCE)}


def caveats(study: Study, weights: dict[str, str]) -> list[str]:
    """Plain words on what limits the answer. weights: modality -> its encoder and the identity of its weights."""
    said = []
    for modality, entry in sorted((study.config.get("modalities") or {}).items()):
        if "untrained" in weights.get(modality, ""):
            said.append(
                f"The encoder {entry['encoder']} was not trained: {modality} may tell more with trained weights."
            )
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
    if groups < 30:
        said.append(f"Only {counted(groups, 'test group')} in the smallest task: the intervals are rough.")
    said += [rare_class(study, task) for task in study.scores]
    said += [f"Splits of {task}: {text}." for task, text in uneven_splits(study).items()]
    said.append(disagreement(study))
    for measure, tasks in study.unmeasured().items():
        of = "any task" if len(tasks) == len(study.tasks) > 1 else ", ".join(tasks)
        said.append(f"{measure} was asked for, and there is no table of it for {of}: the next run makes it.")
    said.append(lost_clips(study.attrition(), lacking(study)))
    return [text for text in said if text]


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
        rows = _rows(drops, task, model=study.headline(task), metric=metric)
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
    kept = [f"{counted(clips, 'kept clip')} of {task}" for task, clips in (lacking or {}).items()]
    whole = f"; {', '.join(kept)} without one of the modalities: see clips that lack a modality." if kept else "."
    losses = []
    for task, rows in attrition.groupby("task", sort=False):
        lost = rows.loc[rows["cause"] != "", "clips"].sum()
        losses.append((lost / max(rows["clips"].sum(), 1), int(lost), int(rows["clips"].sum()), task))
    share, lost, total, task = max(losses)
    if not lost:
        return f"No clip was {'left out' if lacking else 'lost'}{whole}"
    where = f" (task {task}, the worst)" if len({loss[1:3] for loss in losses}) > 1 else ""
    return f"{lost:,} of {counted(total, 'clip')} ({share:.1%}) could not be used{where}: see clips lost{whole}"


def _rows(table: pd.DataFrame, task: str, **equal: str) -> list[dict[str, Any]]:
    if table.empty:
        return []
    mask = table["task"] == task
    for column, value in equal.items():
        mask &= table[column] == value
    return table[mask].to_dict("records")  # type: ignore[return-value]


def _one(rows: list[dict[str, Any]], **equal: str) -> dict[str, Any] | None:
    return next((row for row in rows if all(row[column] == value for column, value in equal.items())), None)
