"""A study in the layout of the relevancy study: its Tables 1-3 and its Figure 4."""

import numpy as np
import pandas as pd

from modalens.reporting import appearance
from modalens.reporting.appearance import withheld
from modalens.reporting.model_scores import ModelScores
from modalens.reporting.study_results import Study
from modalens.stats.coalitions import to_text
from modalens.stats.metrics import confusion_metrics
from modalens.stats.targets import CLASSES

METRIC_NAMES = {
    "accuracy": "Acc.",
    "balanced_accuracy": "Balanced Acc.",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "top3_accuracy": "Top-3 Acc.",
    "top5_accuracy": "Top-5 Acc.",
}


def results(study: Study) -> pd.DataFrame:
    """The seed paper's Tables 1-3 for each multimodal model, in percent: task, model, row, metric, mean, std, seeds."""
    rows = []
    for task in study.tasks:
        for model in study.multimodal(task) or list(study.scores[task]):
            for name, (scored, condition) in _cases(study, task, model).items():
                metrics = confusion_metrics(scored.confusion[condition]) | scored.top.get(condition, {})
                for metric, values in metrics.items():
                    std = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
                    key = {"task": task, "model": model, "row": name, "metric": metric}
                    rows.append(key | {"mean": 100 * float(values.mean()), "std": 100 * std, "seeds": len(values)})
    return pd.DataFrame(rows)


def _cases(study: Study, task: str, model: str) -> dict[str, tuple[ModelScores, tuple[str, str]]]:
    """Row of the table -> whose scores, under which condition."""
    scored = study.scores[task][model]
    if scored.target != CLASSES:
        return {}
    kinds = appearance.kinds(study.config)
    cases = {}
    if len(scored.modalities) > 1:
        for modality in scored.modalities:
            name = study.expert(task, modality)
            if name is not None:
                cases[f"{appearance.label(modality, kinds.get(modality, ''))} Model"] = _full(study.scores[task][name])
    cases[f"{model} (full)"] = _full(scored)
    for replacement in stand_ins(scored, study.replacement):
        for modality in scored.modalities:
            kept = to_text(name for name in scored.modalities if name != modality)
            if (replacement, kept) in scored.confusion:
                cases[withheld(modality, replacement, kinds.get(modality, ""))] = scored, (replacement, kept)
    return cases


def stand_ins(scored: ModelScores, reported: str) -> list[str]:
    """What is in the place of a missing modality: noise and blank input, as in the paper, or where neither was measured
    what the answer is told by."""
    measured = {replacement for replacement, _ in scored.confusion}
    papers: list[str] = [name for name in ("gaussian@input", "blank@input") if name in measured]
    return papers or [reported]


def _full(scored: ModelScores) -> tuple[ModelScores, tuple[str, str]]:
    return scored, ("", to_text(scored.modalities))


def per_class(study: Study) -> pd.DataFrame:
    """The seed paper's Figure 4: task, model, case, modality, label, mean, std over seeds of the accuracy in a class.

    case: `full`; `only`, the multimodal model with this modality alone (the others blank); `expert`, the model trained
    on this modality alone.
    """
    rows = []
    for task in study.tasks:
        for model in study.multimodal(task) or list(study.scores[task]):
            scored = study.scores[task][model]
            if scored.target != CLASSES:
                continue
            cases = [("full", "", scored.classes, scored.full)]
            for modality in scored.modalities if len(scored.modalities) > 1 else ():
                for replacement in ("blank@input", study.replacement):
                    if (replacement, modality) in scored.confusion:
                        cases.append(("only", modality, scored.classes, scored.confusion[replacement, modality]))
                        break
                name = study.expert(task, modality)
                if name is not None:
                    other = study.scores[task][name]
                    cases.append(("expert", modality, other.classes, other.full))
            for case, modality, classes, confusion in cases:
                totals = confusion.sum(axis=2)
                right = np.diagonal(confusion, axis1=1, axis2=2)
                for index, label in enumerate(classes):
                    if totals[0, index] == 0:
                        continue
                    values = right[:, index] / totals[:, index]
                    std = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
                    key = {"task": task, "model": model, "case": case, "modality": modality, "label": label}
                    rows.append(key | {"mean": float(values.mean()), "std": std, "clips": int(totals[0, index])})
    return pd.DataFrame(rows)
