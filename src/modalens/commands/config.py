"""A study's config with every default written out, checked as the workflow checks it."""

import argparse
from pathlib import Path

import yaml

from modalens.config.resolve import load, resolve
from modalens.curation.manifest import build
from modalens.utils.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--configfile", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--print", choices=["config", "report", "tracking_uri", "experiment"], default="config")


def main(arguments: argparse.Namespace) -> None:
    config = resolve(load(arguments.configfile))
    for path in build(config["dataset"], config["tasks"]).inputs():
        if not path.exists():
            raise UserError(f"config: dataset: not found: {path} (paths count from {Path.cwd()})")
    values = {
        "config": yaml.safe_dump(config, sort_keys=False),
        "report": f"{config['results']}/{config['name']}/report/index.html",
        "tracking_uri": config["mlflow"]["tracking_uri"],
        "experiment": config["mlflow"]["experiment"],
    }
    print(values[arguments.print])
