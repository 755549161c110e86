"""Stage `report`: all results of a study, or predictions of any model -> one HTML page with its figures and tables."""

import argparse
from pathlib import Path

from modalens import api
from modalens.config.yaml_file import load
from modalens.reporting.answer import lines
from modalens.reporting.page import page
from modalens.reporting.study_results import Study
from modalens.tracking import records
from modalens.utils import csv_tables, files
from modalens.utils.errors import UserError
from modalens.utils.secrets import redacted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, help="folder results/<study>")
    parser.add_argument("--config", type=Path, help="resolved config, YAML")
    parser.add_argument(
        "--output", type=Path, default=Path("report.html"), help="the page; of a study also its tables/ and figures/"
    )
    parser.add_argument("--answer", type=Path, help="where a study's answer is written for a terminal, text")
    parser.add_argument("--record", type=Path, help="where the record of a study's page is written, JSON")
    alone = parser.add_argument_group("without a study", "the page of predictions that another program made")
    alone.add_argument(
        "--predictions",
        nargs="+",
        metavar="[TASK=]PATH",
        help="tables of predictions, Parquet or CSV, or folders of these",
    )
    alone.add_argument("--title", default="How much does each modality matter?", help="of the page")
    alone.add_argument("--model", default="", help="that the findings are about; else the first of several modalities")
    alone.add_argument("--replacement", default="", help="that the findings are about; else the first by name")
    alone.add_argument("--bootstrap", type=int, default=1000, help="replicates behind each interval")
    alone.add_argument("--confidence", type=float, default=0.95, help="coverage of the intervals")


def main(arguments: argparse.Namespace) -> None:
    if arguments.predictions:
        if arguments.study:
            raise UserError("report: expected --study or --predictions, got both")
        of_predictions(arguments)
        return
    for name in ("study", "config", "record"):
        if getattr(arguments, name) is None:
            raise UserError(f"report: expected --predictions, or --study, --config and --record; --{name} is missing")
    of_study(arguments)


def of_predictions(arguments: argparse.Namespace) -> None:
    tables: dict[str, list[str]] = {}
    for given in arguments.predictions:
        task, _, path = given.rpartition("=") if not Path(given).exists() else ("", "", given)
        tables.setdefault(task or "task", []).append(path)
    options = {name: getattr(arguments, name) for name in ("title", "model", "replacement", "bootstrap", "confidence")}
    replaced = " (in place of an earlier one)" if arguments.output.exists() else ""
    print(f"report: {api.report(tables, arguments.output, **options)}{replaced}")


def of_study(arguments: argparse.Namespace) -> None:
    study = Study(arguments.study, redacted(load(arguments.config)))
    config_text = redacted(arguments.config.read_text(encoding="utf-8"))
    html, tables, made, findings = page(study, config_text)
    folder = arguments.output.parent
    wanted = {arguments.output}
    for name, table in tables.items():
        if len(table):
            wanted.add(folder / "tables" / f"{name}.csv")
            files.write_text(folder / "tables" / f"{name}.csv", csv_tables.readable(table).to_csv(index=False))
    for name, drawing in made.items():
        wanted |= {folder / "figures" / f"{name}.svg", folder / "figures" / f"{name}.png"}
        files.write_text(folder / "figures" / f"{name}.svg", drawing.svg)
        with files.atomic(folder / "figures" / f"{name}.png") as hidden:
            hidden.write_bytes(drawing.png)
    files.write_text(arguments.output, html)
    if arguments.answer:
        told = [*lines(study, findings), f"report: {arguments.output}"]
        files.write_text(arguments.answer, "".join(f"{line}\n" for line in told))
    # A task that the study no longer has must not leave its figures behind.
    for path in [*folder.glob("tables/*.csv"), *folder.glob("figures/*.svg"), *folder.glob("figures/*.png")]:
        if path not in wanted:
            path.unlink()
    runs = [records.Run(key={}, params=dict(study.settings), artifacts=[str(arguments.output)])]
    for finding in findings:
        made_of = [str(path) for path in sorted(wanted) if path.match(f"figures/{finding.task}-*.png")]
        metrics = {finding.metric: finding.full["full"]} if finding.full else {}
        params = {"verdict": finding.lead, "metric": finding.metric}
        runs.append(records.Run({"task": finding.task}, params, metrics, artifacts=made_of))
    records.write(arguments.record, "report", runs)
