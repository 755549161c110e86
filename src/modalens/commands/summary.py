"""The answer of a finished study in the terminal: a line per task with its numbers and verdict, and the report."""

import argparse
from pathlib import Path

from modalens.config.yaml_file import load
from modalens.reporting.answer import lines
from modalens.reporting.study_results import Study
from modalens.reporting.summary import find
from modalens.utils.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=Path, help="the study's folder, such as results/demo")
    parser.add_argument("--sentences", action="store_true", help="what each verdict rests on, in words")


def main(arguments: argparse.Namespace) -> None:
    config = arguments.study / "config.yaml"
    if not config.is_file():
        raise UserError(f"not found: {config} (expected the folder of a study that has run, such as results/demo)")
    study = Study(arguments.study, load(config))
    print(*lines(study, [find(study, task) for task in study.tasks], arguments.sentences), sep="\n")
    page = arguments.study / "report" / "index.html"
    if page.is_file():
        print(f"report: {page}")
