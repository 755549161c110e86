"""Stage `track`: records of all stages -> MLflow, by key and digest."""

import argparse
import contextlib
import json
from pathlib import Path

from modalens.tracking.mlflow_database import check_database, database, locked
from modalens.tracking.mlflow_pages import serve, show_models
from modalens.tracking.mlflow_runs import entries
from modalens.tracking.mlflow_store import experiment_id, quiet, sync
from modalens.utils import files
from modalens.utils.cli import log
from modalens.utils.errors import UserError
from modalens.utils.secrets import redacted, resolved


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tracking-uri", required=True, help="sqlite:///results/mlflow.db, or a server's address")
    parser.add_argument("--study", type=Path, help="the study's folder; its name marks the study's runs")
    parser.add_argument("--records", type=Path, help="text file, one record's path a line")
    parser.add_argument("--experiment", help="MLflow experiment, made when absent")
    parser.add_argument("--output", type=Path, help="what was brought, as JSON")
    parser.add_argument("--serve", action="store_true", help="start MLflow's pages on this machine instead")
    parser.add_argument("--port", type=int, default=5000)


def main(arguments: argparse.Namespace) -> None:
    quiet()
    if arguments.serve:
        serve(resolved(arguments.tracking_uri, "mlflow.tracking_uri"), arguments.port, arguments.experiment)
    elif not (arguments.study and arguments.records and arguments.output and arguments.experiment):
        raise UserError("--study, --records, --experiment and --output are needed, or --serve")
    else:
        track(arguments)


def track(arguments: argparse.Namespace) -> None:
    address = resolved(arguments.tracking_uri, "mlflow.tracking_uri")
    path = database(address)
    lines = arguments.records.read_text(encoding="utf-8").splitlines()
    wanted = entries(arguments.study, [Path(line) for line in lines if line])
    study = arguments.study.resolve().name
    if path:
        check_database(path)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with locked(path) if path else contextlib.nullcontext() as file:
            client = MlflowClient(f"sqlite:///{file}" if file else address)
            experiment = experiment_id(client, arguments.experiment, path)
            counts = sync(client, experiment, study, wanted)
            show_models(client, experiment, wanted)
    except (MlflowException, SQLAlchemyError) as error:
        reason = "it does not answer" if "Max retries exceeded" in str(error) else str(error).splitlines()[0][:300]
        raise UserError(
            f"MLflow at {redacted(arguments.tracking_uri)} cannot be used: {redacted(reason)}; "
            "the records are kept, and the next run brings them"
        ) from error
    log.info("MLflow: %s", ", ".join(f"{number} {what}" for what, number in counts.items()))
    place = {"tracking_uri": redacted(arguments.tracking_uri), "experiment": arguments.experiment, "study": study}
    files.write_text(arguments.output, json.dumps({**place, **counts, "runs": sorted(wanted)}, indent=1))
