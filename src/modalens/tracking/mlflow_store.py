"""Brings the records of a study to MLflow, so that a rerun never doubles a run. The only module that talks to MLflow.

A run stands for one (stage, key). Its digest covers all that MLflow shows of it: equal runs are left alone, changed
ones replaced, runs without a record removed. Removed runs lie in MLflow's trash until `mlflow gc`.
"""

import contextlib
import fcntl
import logging
import os
import socket
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from modalens.tracking.mlflow_runs import Entry
from modalens.utils import files
from modalens.utils.errors import UserError
from modalens.utils.secrets import redacted

# Tags by which a run is known as ours; a run without STUDY is the user's own and never touched.
STUDY, KEY, DIGEST = "modalens.study", "modalens.key", "modalens.digest"
LOCATION = "modalens.artifacts"  # of the experiment: where its files were put when it was made

# MLflow's limits on one request and on one value.
PARAMS_PER_BATCH = 100
METRICS_PER_BATCH = 1000 - PARAMS_PER_BATCH

# MLflow shows the first line, and the rest on a click.
DESCRIPTION = """Type `tags.stage = "evaluate"` into the search box, select all and press Compare, or open the charts.

- `tags.stage = "evaluate"`: test results, one run for each task, model and seed
- `tags.stage = "train"`: loss and accuracy curves (metrics `epoch/...`)
- `tags.stage = "leaderboard"`: the models of a task side by side, one run each over all seeds
- `tags.stage = "search"`: what was tried for each model, where the study searches
- `tags.stage = "relevance"`: how much each modality matters
- `tags.stage = "evaluate" and tags.task = "seen"`: one task

Stages that work in shards (clips, frames, ...) have one run each, with the shards summed. Written by modalens: a rerun
replaces the runs that changed and leaves runs of your own alone."""


def sync(client: Any, experiment_id: str, study: str, wanted: dict[str, Entry]) -> Counter[str]:
    """Make the experiment's runs of `study` equal to `wanted`. Returns how many were new, replaced, equal, removed."""
    present: dict[str, list[Any]] = defaultdict(list)
    token = None
    while True:
        page = client.search_runs([experiment_id], f"tags.`{STUDY}` = '{study}'", max_results=1000, page_token=token)
        for run in page:
            present[run.data.tags.get(KEY, "")].append(run)
        token = page.token
        if not token:
            break
    counts: Counter[str] = Counter(new=0, replaced=0, equal=0, removed=0)
    for name, one in wanted.items():
        digest = one.digest()
        old = present.pop(name, [])
        whole = (run for run in old if run.info.status == "FINISHED" and run.data.tags.get(DIGEST) == digest)
        keep = next((run.info.run_id for run in whole), None)
        counts["equal" if keep else "replaced" if old else "new"] += 1
        if not keep:
            create(client, experiment_id, study, one, digest)
        # The old run goes after the new one is whole: a kill in between leaves both, and the next sync tidies.
        for run in old:
            if run.info.run_id != keep:
                client.delete_run(run.info.run_id)
    for orphans in present.values():
        for run in orphans:
            client.delete_run(run.info.run_id)
            counts["removed"] += 1
    return counts


def create(client: Any, experiment_id: str, study: str, one: Entry, digest: str) -> None:
    from mlflow.entities import Metric, Param

    tags = {**one.tags, STUDY: study, KEY: one.identity, DIGEST: digest}
    run_id = client.create_run(experiment_id, one.start_ms, tags, one.name).info.run_id
    params = [Param(name, value) for name, value in one.params.items()]
    metrics = [Metric(name, value, one.end_ms, 0) for name, value in one.metrics.items()]
    metrics += [Metric(name, value, one.end_ms, step) for step, name, value in one.history]
    while params or metrics:
        client.log_batch(run_id, metrics[:METRICS_PER_BATCH], params[:PARAMS_PER_BATCH])
        params, metrics = params[PARAMS_PER_BATCH:], metrics[METRICS_PER_BATCH:]
    for path, folder in one.artifacts:
        client.log_artifact(run_id, str(path), None if folder == "." else folder)
    # Last of all: a run that is not finished was cut short, and the next sync replaces it.
    client.set_terminated(run_id, "FINISHED", one.end_ms)


def database(uri: str) -> Path | None:
    """The file of an SQLite address; None for a server."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme == "file":
        raise UserError(
            f"mlflow.tracking_uri {redacted(uri)!r} is a folder, where MLflow 3 keeps no runs; "
            "set sqlite:///results/mlflow.db, or the http(s):// address of a server"
        )
    return Path(rest.removeprefix("/").partition("?")[0]) if scheme.startswith("sqlite") else None


def check_database(path: Path, wait_s: float = 30.0) -> None:
    """Raises UserError for a file that MLflow cannot use; it would say so in 70 lines. One not there is no fault."""
    if path.is_dir():
        raise UserError(f"mlflow.tracking_uri: expected an SQLite database, got the folder {path}")
    if not path.exists() or not path.stat().st_size:
        return
    keeps = "the records are kept, and the next run brings them"
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=wait_s, isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            found = file.execute("PRAGMA quick_check(1)").fetchone()[0]
            file.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise UserError(f"{path} was locked by another program for {wait_s:g} s; end that one; {keeps}") from error
        raise UserError(f"{path} cannot be used ({error}); {keeps}") from error
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise UserError(
            f"{path} is damaged ({' '.join(found.split())[:120]}); move it away and run again: the records fill a new "
            "one; runs of your own are in the old one only"
        )


def artifact_root(path: Path) -> Path:
    # Absolute, as MLflow resolves relative ones against whatever directory a process happens to start in.
    return path.resolve().parent / "mlartifacts"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One sync at a time on an SQLite file; makes the file, whole or not at all, when it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        if not path.exists():
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            with files.atomic(path) as hidden:
                SqlAlchemyStore(f"sqlite:///{hidden}", artifact_root(path).as_uri()).engine.dispose()
        yield


def experiment_id(client: Any, name: str, path: Path | None) -> str:
    """The experiment's id; makes it on first use. path: the SQLite file, beside which its files then lie."""
    location = (artifact_root(path) / name).as_uri() if path else None
    found = client.get_experiment_by_name(name)
    if found is None:
        tags = {"mlflow.note.content": DESCRIPTION, "mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(name, location, tags | ({LOCATION: location} if location else {})))
    if found.lifecycle_stage != "active":
        raise UserError(
            f"experiment {name!r} is in MLflow's trash; restore it with `mlflow experiments restore "
            f"-x {found.experiment_id}`, or set mlflow.experiment to another name"
        )
    if location and found.tags.get(LOCATION, location) != location:
        raise UserError(
            f"{path} was moved: experiment {name!r} keeps its files in {found.artifact_location}; "
            "set mlflow.experiment to another name: the records fill it, and the old one stays as it is"
        )
    return str(found.experiment_id)


def free_port(first: int) -> int:
    for port in range(first, first + 20):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise UserError(f"ports {first} to {first + 19} are all taken; choose another with --port")


def page(path: Path, experiment: str | None) -> str:
    """Where to begin: the charts of the test results. MLflow's own first page is about chat models."""
    found = None
    if experiment:
        # Asked of the file itself, as importing mlflow takes several seconds.
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as file:
            found = file.execute("SELECT experiment_id FROM experiments WHERE name = ?", (experiment,)).fetchone()
    if not found:
        return "/#/experiments?workflowType=machine_learning"
    query = {"workflowType": "machine_learning", "searchFilter": 'tags.stage = "evaluate"', "compareRunsMode": "CHART"}
    return f"/#/experiments/{found[0]}/runs?{urlencode(query, quote_via=quote)}"


def serve(uri: str, port: int, experiment: str | None) -> None:
    """Become MLflow's own server, for this machine's browser only."""
    path = database(uri)
    if path is None:
        raise UserError(f"{redacted(uri)} is a server already: open it in a browser")
    if not path.is_file():
        raise UserError(f"there is no MLflow database {path} yet; run the study first")
    port = free_port(port)
    print(
        f"MLflow, a few seconds from now (Ctrl-C ends it): http://127.0.0.1:{port}{page(path, experiment)}", flush=True
    )
    options = {"host": "127.0.0.1", "port": port, "workers": 1, "backend-store-uri": uri}
    options["artifacts-destination"] = artifact_root(path).as_uri()
    command = [sys.executable, "-m", "mlflow", "server", *(f"--{name}={value}" for name, value in options.items())]
    os.execv(sys.executable, command)


def quiet() -> None:
    """Before mlflow is imported: nothing sent home, no schema log, and no minutes spent on a server that is away."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
