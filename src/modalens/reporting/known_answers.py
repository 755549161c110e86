"""What is known of made clips against what a study measured of them."""

from math import nan

import pandas as pd

from modalens.reporting.study_results import Study
from modalens.reporting.summary import Finding

TOLERANCE = 0.10


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
