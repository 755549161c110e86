"""The answer of a finished study in the terminal: a verdict per task with its numbers, and where the report is."""

import argparse
import textwrap
from pathlib import Path

from modalens.config.yaml_file import load
from modalens.reporting.study_results import Study, weights
from modalens.reporting.summary import caveats, find
from modalens.utils.errors import UserError

WIDTH = 110


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=Path, help="the study's folder, such as results/demo")


def main(arguments: argparse.Namespace) -> None:
    config = arguments.study / "config.yaml"
    if not config.is_file():
        raise UserError(f"not found: {config} (expected the folder of a study that has run, such as results/demo)")
    study = Study(arguments.study, load(config))
    findings = [find(study, task) for task in study.tasks]
    models = sorted({finding.model for finding in findings})
    print(f"Which modality counts for {', '.join(models)}? Withheld by {study.replacement or 'nothing'}.")
    for finding in findings:
        print(f"\n{finding.task}: {finding.lead}")
        for line in (finding.text, *finding.notes):
            print(textwrap.fill(line[:1].upper() + line[1:], WIDTH, initial_indent="  ", subsequent_indent="  "))
    print()
    for line in caveats(study, weights(study)):
        print(textwrap.fill(line, WIDTH, initial_indent="- ", subsequent_indent="  "))
    page = arguments.study / "report" / "index.html"
    if page.is_file():
        print(f"\nreport: {page}")
