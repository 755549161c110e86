"""The answer of a study as lines for a terminal: per task its numbers and its verdict, then what limits them."""

import textwrap
from collections.abc import Iterator, Sequence

from modalens.reporting.caveats import caveats
from modalens.reporting.study_results import Study, weights
from modalens.reporting.summary import Finding
from modalens.stats.targets import in_words
from modalens.terminal.run import printable
from modalens.terminal.tables import aligned

WIDTH = 110


def lines(study: Study, findings: Sequence[Finding], sentences: bool = False) -> Iterator[str]:
    """sentences: with what each verdict rests on, in words."""
    yield from header(study, findings)
    yield from map(printable, aligned([cells(finding) for finding in findings]))
    for finding in findings:
        for line in (*([finding.text] if sentences else []), *finding.notes):
            yield _item(f"{finding.task}: {line}")
    yield from map(_item, caveats(study, weights(study)))


def header(study: Study, findings: Sequence[Finding]) -> list[str]:
    models = sorted({finding.model for finding in findings})
    share = round(100 * study.config["relevance"]["confidence"])
    return [
        f"Which modality counts for {', '.join(models)}? Score with all of them, and what it loses without each:",
        f"the drop and its {share} % interval ({study.replacement or 'nothing'} takes its place)",
    ]


def cells(finding: Finding) -> list[str]:
    """Task, score, drop without each modality, verdict."""
    if finding.full is None:
        return [finding.task, finding.lead]
    found = [finding.task, f"{in_words(finding.metric)} {finding.full['full']:.2f}"]
    for part in finding.parts:
        if part.drop:
            drop, low, high = (round(part.drop[name], 2) + 0.0 for name in ("drop", "low", "high"))
            found.append(f"{part.modality} {drop:.2f} [{low:.2f}, {high:.2f}]")
    return [*found, finding.lead]


def _item(text: str) -> str:
    return textwrap.fill(printable(text), WIDTH, initial_indent="- ", subsequent_indent="  ")
