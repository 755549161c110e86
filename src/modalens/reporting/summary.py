"""Numbers -> plain sentences: which modality counts, and which is not needed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np

from modalens.reporting.study_results import Study
from modalens.reporting.tables import read, row_of, rows_of
from modalens.reporting.verdict import MARGIN, Estimate, Evidence, divisible, judge, needed, not_needed
from modalens.stats.coalitions import Coalition, from_text
from modalens.stats.targets import CLASSES, MULTILABEL, in_words


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
    drops = rows_of(study.measure("leave_one_out"), task, metric=metric, replacement=study.replacement)
    payoff = "accuracy" if scored.target == CLASSES else metric
    values = rows_of(study.measure("shapley"), task, value_function=payoff)
    probes = rows_of(study.measure("probe"), task, metric=metric)
    parts = []
    for modality in scored.modalities:
        expert = study.expert(task, modality)
        parts.append(
            ModalityFinding(
                modality,
                row_of(drops, model=model, modality=modality),
                row_of(values, model=model, modality=modality, notion="used", replacement=study.replacement),
                row_of(values, model=model, modality=modality, notion="available"),
                row_of(drops, model=expert, modality=modality) if expert else None,
                row_of(probes, model=model, modality=modality),
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
        scored.groups,
    )
    judged = judge(evidence)
    finding.lead, finding.text, finding.divided = judged.lead, judged.text, divisible(evidence.above)
    finding.notes = tuple(_notes(finding, _compared(study, finding))) if len(parts) > 1 else ()
    return finding


def _lost(study: Study, task: str, finding: Finding) -> dict[Coalition, Estimate]:
    """What each coalition loses against all modalities. Without the measure of coalitions, what leave_one_out tells."""
    rows = rows_of(
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
    rows = rows_of(
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
    rows = read(path, "leaderboard", finding.task).to_dict("records") if path.exists() else []
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
