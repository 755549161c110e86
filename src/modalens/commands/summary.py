"""The answer of a finished study in the terminal: a line per task with its numbers and verdict, and the report."""

import argparse
import textwrap
from pathlib import Path

from modalens.config.yaml_file import load
from modalens.reporting.study_results import Study, weights
from modalens.reporting.summary import Finding, caveats, find
from modalens.stats.targets import in_words
from modalens.terminal.run import printable
from modalens.terminal.tables import aligned
from modalens.utils.errors import UserError

WIDTH = 110


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=Path, help="the study's folder, such as results/demo")
    parser.add_argument("--sentences", action="store_true", help="what each verdict rests on, in words")


def main(arguments: argparse.Namespace) -> None:
    config = arguments.study / "config.yaml"
    if not config.is_file():
        raise UserError(f"not found: {config} (expected the folder of a study that has run, such as results/demo)")
    study = Study(arguments.study, load(config))
    findings = [find(study, task) for task in study.tasks]
    print(*header(study, findings), sep="\n")
    for row in aligned([cells(finding) for finding in findings]):
        print(printable(row))
    for finding in findings:
        for line in (*([finding.text] if arguments.sentences else []), *finding.notes):
            _print(f"{finding.task}: {line}", "- ")
    for line in caveats(study, weights(study)):
        _print(line, "- ")
    page = arguments.study / "report" / "index.html"
    if page.is_file():
        print(f"report: {page}")


def header(study: Study, findings: list[Finding]) -> list[str]:
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


def _print(text: str, first: str) -> None:
    print(textwrap.fill(printable(text), WIDTH, initial_indent=first, subsequent_indent=" " * len(first)))
