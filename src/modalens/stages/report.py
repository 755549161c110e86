"""Stage `report`: all results of a study -> one HTML page with its figures and tables."""

import argparse
from pathlib import Path

import yaml

from modalens.reporting.page import page
from modalens.reporting.study_results import Study
from modalens.tracking import records
from modalens.utils import cli, files
from modalens.utils.secrets import redacted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="folder results/<study>")
    parser.add_argument("--config", type=Path, required=True, help="resolved config, YAML")
    parser.add_argument("--output", type=Path, required=True, help="the page; tables/ and figures/ appear beside it")
    cli.add_common(parser, "record")


def main(arguments: argparse.Namespace) -> None:
    config_text = redacted(arguments.config.read_text(encoding="utf-8"))
    study = Study(arguments.study, yaml.safe_load(config_text))
    html, tables, made, findings = page(study, config_text)
    folder = arguments.output.parent
    wanted = {arguments.output}
    for name, table in tables.items():
        if len(table):
            wanted.add(folder / "tables" / f"{name}.csv")
            files.write_text(folder / "tables" / f"{name}.csv", table.to_csv(index=False))
    for name, drawing in made.items():
        wanted |= {folder / "figures" / f"{name}.svg", folder / "figures" / f"{name}.png"}
        files.write_text(folder / "figures" / f"{name}.svg", drawing.svg)
        with files.atomic(folder / "figures" / f"{name}.png") as hidden:
            hidden.write_bytes(drawing.png)
    files.write_text(arguments.output, html)
    # A task that the study no longer has must not leave its figures behind.
    for path in [*folder.glob("tables/*.csv"), *folder.glob("figures/*.svg"), *folder.glob("figures/*.png")]:
        if path not in wanted:
            path.unlink()
    runs = [records.Run(key={}, params=dict(study.settings), artifacts=[str(arguments.output)])]
    for finding in findings:
        made_of = [str(path) for path in sorted(wanted) if path.match(f"figures/{finding.task}-*.png")]
        metrics = {"accuracy": finding.full["full"]} if finding.full else {}
        runs.append(records.Run({"task": finding.task}, {"verdict": finding.lead}, metrics, artifacts=made_of))
    records.write(arguments.record, "report", runs)
