"""Say what a study's config comes to before anything runs: every mistake at once, clips, classes, smallest effect."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.commands import _fetched
from modalens.commands._survey import Survey, of_study
from modalens.config import yaml_file
from modalens.config.mistakes import mistakes
from modalens.curation import manifest
from modalens.utils.errors import UserError
from modalens.utils.words import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="of the study")


def main(arguments: argparse.Namespace) -> None:
    config = yaml_file.load(arguments.config)
    lines, study = mistakes(config)
    found = Survey(mistakes=lines)
    if study and study["dataset"] == config.get("dataset"):
        found.told.append(
            f"{study['name']}: {counted(len(study['tasks']), 'task')}, {counted(len(study['models']), 'model')} "
            f"({', '.join(study['models'])}), {counted(len(study['seeds']), 'seed')}"
        )
        found.add(of_lists(study, [task for task in study["tasks"] if task in config["tasks"]]))
        from modalens.search import rehearsal  # imports PyTorch: seconds, which a list that cannot be read does without

        # Of a modality that is wrong, what is left is not what its user meant.
        found.told += [
            line
            for name, line in _fetched.fetched(study).items()
            if not any(wrong.startswith(f"config: modalities.{name}.") for wrong in lines)
        ]
        found.mistakes += rehearsal.problems(study, found.classes)
    found.show()
    if found.mistakes:
        raise UserError(f"{arguments.config}: {len(set(found.mistakes))} to mend before the study can run")
    print(f"next: snakemake --cores 4 --configfile {arguments.config}")


def of_lists(study: dict[str, Any], tasks: list[str]) -> Survey:
    """Of a resolved config: its data set's lists, one task at a time where they cannot be read for all."""
    clips, found = _read(study, tasks)
    if clips is not None:
        found.add(of_study(clips, study | {"tasks": tasks}))
        return found
    if len(tasks) > 1:
        for task in tasks:
            found.add(of_lists(study, [task]))
    return found


def _read(study: dict[str, Any], tasks: list[str]) -> tuple[pd.DataFrame | None, Survey]:
    try:
        return manifest.of_study(study, tasks), Survey()
    except UserError as error:
        return None, Survey(mistakes=[str(error)])
