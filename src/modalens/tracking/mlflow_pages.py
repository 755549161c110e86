"""MLflow's own pages on this machine, opened at the table of the models."""

import contextlib
import json
import os
import re
import socket
import sqlite3
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from modalens.tracking.mlflow_database import artifact_root, check_database, database, follow
from modalens.tracking.mlflow_entry import Entry
from modalens.utils.errors import UserError
from modalens.utils.secrets import redacted

VIEW = "mlflow.sharedViewState.modalens"  # what MLflow writes when someone shares a view of its table
MODELS = 'tags.level = "model"'


def free_port(first: int) -> int:
    for port in range(first, first + 20):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise UserError(f"ports {first} to {first + 19} are all taken; choose another with --port")


def show_models(client: Any, experiment_id: str, wanted: dict[str, Entry]) -> None:
    """A view of MLflow's table that `page` opens: the models with what they lose without a modality beside them."""
    models = [one for one in wanted.values() if one.level == "model"]
    names = {name for one in models for name in one.metrics}
    shown = [
        "accuracy",
        "low",
        "high",
        *sorted({one.score for one in models} - {"", "accuracy"}),
        *sorted(name for name in names if re.fullmatch(r"(drop|interaction)/[^/]+", name)),
    ]
    columns = [f"metrics.`{name}`" for name in shown if name in names] + ["params.`verdict`"]
    view = {"searchFilter": MODELS, "selectedColumns": columns, "runsHiddenMode": "SHOW_ALL"}
    client.set_experiment_tag(experiment_id, VIEW, json.dumps(view))


def page(path: Path, experiment: str | None) -> str:
    """Where to begin: the table of the models. MLflow's own first page is about chat models."""
    found = viewed = None
    if experiment:
        # Asked of the file itself, as importing mlflow takes several seconds.
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as file:
            found = file.execute("SELECT experiment_id FROM experiments WHERE name = ?", (experiment,)).fetchone()
            tags = "SELECT 1 FROM experiment_tags WHERE experiment_id = ? AND key = ?"
            viewed = found and file.execute(tags, (found[0], VIEW)).fetchone()
    if not found:
        return "/#/experiments?workflowType=machine_learning"
    query = {"workflowType": "machine_learning"}
    # MLflow takes a view from its tag only where the address says nothing else of it.
    query |= {"viewStateShareKey": VIEW.rpartition(".")[2]} if viewed else {"searchFilter": MODELS}
    return f"/#/experiments/{found[0]}/runs?{urlencode(query, quote_via=quote)}"


def serve(uri: str, port: int, experiment: str | None) -> None:
    """Become MLflow's own server, for this machine's browser only."""
    path = database(uri)
    if path is None:
        raise UserError(f"{redacted(uri)} is a server already: open it in a browser")
    if not path.is_file():
        raise UserError(f"there is no MLflow database {path} yet; run the study first")
    check_database(path)
    follow(path)
    port = free_port(port)
    print(
        f"MLflow, a few seconds from now (Ctrl-C ends it): http://127.0.0.1:{port}{page(path, experiment)}", flush=True
    )
    options = {"host": "127.0.0.1", "port": port, "workers": 1, "backend-store-uri": uri}
    options["artifacts-destination"] = artifact_root(path).as_uri()
    # A line for each picture of a page, and libraries' warnings to one another, would bury the address.
    options["uvicorn-opts"] = "--log-level warning"
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    command = [sys.executable, "-m", "mlflow", "server", *(f"--{name}={value}" for name, value in options.items())]
    os.execv(sys.executable, command)
