"""Numbers -> plain sentences: which modality decides, which is ignored, and what a reader must not overlook."""

from dataclasses import dataclass
from math import isnan
from typing import Any

import pandas as pd

from modalens.reporting.study_results import Study

NOUNS = {"audio": "sound", "video": "picture", "text": "text"}
TOLERANCE = 0.10
# A drop this small would hardly matter even at the far end of its interval.
SMALL = 0.05
MOSTLY = 0.65
# Drops under two stand-ins that differ by less are told apart in the tables, not in the first lines.
CONTRADICTION = 0.2


@dataclass
class ModalityFinding:
    """One modality of one model. drop: the row of leave_one_out. used, available: rows of shapley, or None. alone: the
    expert's row of leave_one_out, or None."""

    modality: str
    drop: dict[str, Any] | None
    used: dict[str, Any] | None
    available: dict[str, Any] | None
    alone: dict[str, Any] | None

    @property
    def needed(self) -> bool:
        """Withholding it costs something, and not so little that it hardly matters."""
        return self.drop is not None and self.drop["low"] > 0 and self.drop["high"] > SMALL

    @property
    def harmful(self) -> bool:
        return self.drop is not None and self.drop["high"] < 0

    @property
    def share(self) -> float:
        return self.used["share"] if self.used else float("nan")


@dataclass
class Finding:
    """One task's answer. lead: a few words. text: the sentence. notes: what else must be said plainly."""

    task: str
    model: str
    chance: float
    parts: list[ModalityFinding]
    full: dict[str, Any] | None
    lead: str = ""
    text: str = ""
    notes: tuple[str, ...] = ()


def find(study: Study, task: str) -> Finding:
    model = study.headline(task)
    scored = study.scores[task][model]
    drops = _rows(study.measure("leave_one_out"), task, metric="accuracy", replacement=study.replacement)
    values = _rows(study.measure("shapley"), task, payoff="accuracy")
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
            )
        )
    finding = Finding(task, model, scored.chance, parts, next((part.drop for part in parts if part.drop), None))
    _describe(finding)
    return finding


def _describe(finding: Finding) -> None:
    full, parts, chance = finding.full, finding.parts, finding.chance
    if full is None or any(part.drop is None for part in parts):
        finding.lead = "not measured"
        finding.text = "leave_one_out is not among this study's measures, or was not run for this model."
        return
    if isnan(full["full_low"]):
        finding.lead = "too few test groups to tell"
        finding.text = f"accuracy {full['full']:.2f} (chance {chance:.2f}), of which no interval can be given."
        return
    if full["full_low"] <= chance:
        finding.lead = "nothing learned"
        finding.text = f"accuracy {full['full']:.2f} is not clearly above chance ({chance:.2f}): nothing to divide."
        finding.notes = tuple(f"Yet {_alone(part)}." for part in parts if len(parts) > 1 and _able(part, chance))
        return
    needed, spared = ([part for part in parts if part.needed is wanted] for wanted in (True, False))
    needed.sort(key=_without)
    unmoved = "".join(f", without {part.modality} it {_moves(part)} ({_without(part):.2f})" for part in spared)
    if len(parts) == 1:
        finding.lead = f"from {_noun(parts[0])} alone"
        finding.text = f"accuracy {full['full']:.2f} (chance {chance:.2f}); no model of several modalities was studied."
    elif not needed:
        finding.lead = "any one modality will do"
        finding.text = f"accuracy is {full['full']:.2f} (chance {chance:.2f}){unmoved}."
    else:
        finding.lead = _decides(needed, len(parts), full["full"], chance)
        falls = ", ".join(f"without {part.modality} to {_without(part):.2f}" for part in needed[1:])
        finding.text = (
            f"without {needed[0].modality} accuracy falls from {full['full']:.2f} to {_without(needed[0]):.2f}"
        )
        finding.text += f" (chance {chance:.2f}){', ' if falls else ''}{falls}{unmoved}."
    if len(parts) > 1:
        finding.notes = tuple(_unmissed(part) for part in spared if _able(part, chance))


def _decides(needed: list[ModalityFinding], count: int, full: float, chance: float) -> str:
    if len(needed) == 1:
        # The other one makes up for nearly all of it when this one is withheld.
        redundant = needed[0].share < MOSTLY
        return "each nearly does alone" if redundant else f"the {_noun(needed[0])} decides"
    if all(_without(part) < chance + 0.1 * (full - chance) for part in needed):
        return "only together do they tell"
    most = max(needed, key=lambda part: -1 if isnan(part.share) else part.share)
    if most.share >= MOSTLY:
        return f"mostly the {_noun(most)}"
    return "both count" if count == 2 else "several count"


def _noun(part: ModalityFinding) -> str:
    return NOUNS.get(part.modality, part.modality)


def _moves(part: ModalityFinding) -> str:
    if part.harmful:
        return "rises"
    return "hardly falls" if part.drop is not None and part.drop["low"] > 0 else "stays"


def _without(part: ModalityFinding) -> float:
    return float(part.drop["withheld"]) if part.drop else float("nan")


def _able(part: ModalityFinding, chance: float) -> bool:
    """A model trained on this modality alone is better than chance, its whole interval."""
    return part.alone is not None and bool(part.alone["full_low"] > chance)


def _alone(part: ModalityFinding) -> str:
    return f"{part.modality} alone reaches {part.alone['full'] if part.alone else float('nan'):.2f}"


def _unmissed(part: ModalityFinding) -> str:
    """What to say of a modality that could do the task and is not missed when withheld from the multimodal model."""
    if part.harmful:
        return f"It does better without {part.modality}, although {_alone(part)}."
    if part.used is not None and part.used["low"] > 0 and part.share >= TOLERANCE:
        return f"It does not miss {part.modality} while the rest is there, but works from it too ({_alone(part)})."
    if part.drop is not None and not part.drop["high"] <= SMALL:
        limits = f"{part.drop['low']:+.2f} to {part.drop['high']:+.2f}"
        return f"It shows no clear need of {part.modality} (drop {limits}), although {_alone(part)}."
    verb = "hardly uses" if part.drop is not None and part.drop["low"] > 0 else "ignores"
    return f"It {verb} {part.modality}, although {_alone(part)}."


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
                    measured = (row["share"], row["share_low"], row["share_high"])
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
            said.append(f"The encoder {entry['encoder']} was not trained: results of {modality} are a lower bound.")
    scored = [models[study.headline(task)] for task, models in study.scores.items()]
    seeds = min(len(one.full) for one in scored)
    if seeds < 5:
        said.append(f"Only {seeds} seed{'s' * (seeds > 1)}: make no claim of fewer than five.")
    groups, clips = min(one.groups for one in scored), min(one.clips for one in scored)
    least = "at least " if len({(one.clips, one.groups, len(one.full)) for one in scored}) > 1 else ""
    said.append(f"Tested on {least}{clips:,} clips of {groups:,} groups, trained from {seeds} seed{'s' * (seeds > 1)}.")
    if groups < 30:
        said.append(f"Only {groups} test groups in the smallest task: the intervals are rough.")
    said.append(disagreement(study))
    said.append(lost_clips(study.attrition()))
    return [text for text in said if text]


def disagreement(study: Study) -> str:
    """The task where two ways of withholding the same modality from the headline model tell the most different story.

    Silence or black that a model never met puts it off balance, which is no proof that it used what was there.
    """
    drops, worst, words = study.measure("leave_one_out"), 0.0, ""
    for task in study.scores:
        rows = _rows(drops, task, model=study.headline(task), metric="accuracy")
        for modality in sorted({str(row["modality"]) for row in rows}):
            own = sorted((row for row in rows if row["modality"] == modality), key=lambda row: row["drop"])
            least, most = own[0], own[-1]
            if least["high"] < most["low"] and most["drop"] - least["drop"] > worst:
                worst = most["drop"] - least["drop"]
                words = (
                    f"What stands in for the missing modality matters: on {task}, without {modality} accuracy falls by "
                    f"{most['drop']:.2f} under {most['replacement']} and by {max(least['drop'], 0):.2f} under "
                    f"{least['replacement']}. A stand-in that the model never met can mislead it."
                )
    return words if worst > CONTRADICTION else ""


def lost_clips(attrition: pd.DataFrame) -> str:
    if attrition.empty:
        return ""
    losses = []
    for task, rows in attrition.groupby("task", sort=False):
        lost = rows.loc[rows["cause"] != "", "clips"].sum()
        losses.append((lost / max(rows["clips"].sum(), 1), int(lost), int(rows["clips"].sum()), task))
    share, lost, total, task = max(losses)
    if not lost:
        return "No clip was lost."
    where = f" (task {task}, the worst)" if len({loss[1:3] for loss in losses}) > 1 else ""
    return f"{lost:,} of {total:,} clips ({share:.1%}) could not be used{where}: see clips lost."


def _rows(table: pd.DataFrame, task: str, **equal: str) -> list[dict[str, Any]]:
    if table.empty:
        return []
    mask = table["task"] == task
    for column, value in equal.items():
        mask &= table[column] == value
    return table[mask].to_dict("records")  # type: ignore[return-value]


def _one(rows: list[dict[str, Any]], **equal: str) -> dict[str, Any] | None:
    return next((row for row in rows if all(row[column] == value for column, value in equal.items())), None)
