"""Brings the records of a study to MLflow, so that a rerun never doubles a run. The only module that talks to MLflow.

A run stands for one (stage, key). Its digest covers all that MLflow shows of it: equal runs are left alone, changed
ones replaced, runs without a record removed. Removed runs lie in MLflow's trash until `mlflow gc`.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import socket
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlparse

from modalens.tracking.mlflow_models import log_model
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

PARENT = "mlflow.parentRunId"
VIEW = "mlflow.sharedViewState.modalens"  # what MLflow writes when someone shares a view of its table
MODELS = 'tags.level = "model"'
MODEL = "modalens.model"  # id of the network that was logged for the run

# MLflow shows the first line, and the rest on a click.
DESCRIPTION = """Select models and press Compare: accuracy beside `drop/<modality>` says which model uses what.

- `tags.level = "model"`: one run for each task and model, over all seeds: accuracy with its interval (`low`, `high`),
  what it loses without a modality (`drop/...`), Shapley values (`used/...`, `available/...`), interactions
- `tags.level = "seed"`: one training each: settings, curves (`epoch/...`), test results, the network
- `tags.level = "task"`: the clips and the answer, as the report says it; `"study"`: the report
- `tags.level = "stage"`: what was decoded and encoded, with the shards summed, and a search's trials
- `tags.level = "model" and tags.task = "seen"`: one task

Written by modalens: a rerun replaces the runs that changed and leaves runs of your own alone."""


def sync(client: Any, experiment_id: str, study: str, wanted: dict[str, Entry]) -> Counter[str]:
    """Make the experiment's runs of `study` equal to `wanted`. Returns how many were new, replaced, equal, removed."""
    present = _present(client, experiment_id, study)
    counts: Counter[str] = Counter(new=0, replaced=0, equal=0, removed=0)
    ids: dict[str, str] = {}
    for name, one in wanted.items():
        digest, parent = one.digest(), ids.get(one.parent, "")
        old = present.pop(name, [])
        keep = next((run for run in old if _is_whole(run) and run.data.tags.get(DIGEST) == digest), None)
        counts["equal" if keep else "replaced" if old else "new"] += 1
        if keep is None:
            ids[name] = create(client, experiment_id, study, one, digest, parent)
        else:
            ids[name] = keep.info.run_id
            if keep.data.tags.get(PARENT, "") != parent:
                client.set_tag(ids[name], PARENT, parent)
        # The old run goes after the new one is whole: a kill in between leaves both, and the next sync tidies.
        for run in old:
            if run is not keep:
                remove(client, run)
    for orphans in present.values():
        for run in orphans:
            remove(client, run)
            counts["removed"] += 1
    return counts


def _present(client: Any, experiment_id: str, study: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    token = None
    while True:
        page = client.search_runs([experiment_id], f"tags.`{STUDY}` = '{study}'", max_results=1000, page_token=token)
        for run in page:
            found[run.data.tags.get(KEY, "")].append(run)
        token = page.token
        if not token:
            return found


def _is_whole(run: Any) -> bool:
    return bool(run.info.status == "FINISHED")


def create(client: Any, experiment_id: str, study: str, one: Entry, digest: str, parent: str = "") -> str:
    """Returns the run's id. parent: id of the run that it hangs under."""
    from mlflow.entities import Metric, Param

    tags = {**one.tags, STUDY: study, KEY: one.identity, DIGEST: digest} | ({PARENT: parent} if parent else {})
    run_id = str(client.create_run(experiment_id, one.start_ms, tags, one.name).info.run_id)
    params = [Param(name, value) for name, value in one.params.items()]
    metrics = [Metric(name, value, one.end_ms, 0) for name, value in one.metrics.items()]
    metrics += [Metric(name, value, one.end_ms, step) for step, name, value in one.history]
    while params or metrics:
        client.log_batch(run_id, metrics[:METRICS_PER_BATCH], params[:PARAMS_PER_BATCH])
        params, metrics = params[PARAMS_PER_BATCH:], metrics[METRICS_PER_BATCH:]
    for path, folder in one.artifacts:
        client.log_artifact(run_id, str(path), None if folder == "." else folder)
    if one.dataset:
        client.log_inputs(run_id, [_dataset(one.dataset)])
    if one.model:
        client.set_tag(run_id, MODEL, log_model(client, experiment_id, run_id, one.name, one.model))
    # Last of all: a run that is not finished was cut short, and the next sync replaces it.
    client.set_terminated(run_id, "FINISHED", one.end_ms)
    return run_id


def remove(client: Any, run: Any) -> None:
    if model := run.data.tags.get(MODEL):
        with contextlib.suppress(Exception):  # someone has removed it in MLflow already
            client.delete_logged_model(model)
    client.delete_run(run.info.run_id)


def _dataset(told: dict[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source, profile = json.dumps({"uri": told["source"]}), json.dumps(told["profile"])
    made = Dataset(told["name"], told["digest"], "local", source, profile=profile)
    return DatasetInput(made, [InputTag("mlflow.data.context", "study")])


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


def follow(path: Path) -> None:
    """A results folder was moved, database and files together: the addresses of our experiments' files follow it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        ours = (
            "SELECT experiment_id, name, artifact_location FROM experiments JOIN experiment_tags USING (experiment_id)"
        )
        for number, name, old in file.execute(f"{ours} WHERE key = ?", (LOCATION,)).fetchall():
            new = (artifact_root(path) / name).as_uri()
            if old == new:
                continue
            if not (artifact_root(path) / name).is_dir():
                raise UserError(
                    f"{path} was moved, and the files of experiment {name!r} were not: expected them in "
                    f"{artifact_root(path) / name}, move them there from {unquote(urlparse(old).path)}"
                )
            file.execute("BEGIN IMMEDIATE")
            file.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (new, number))
            file.execute(
                "UPDATE experiment_tags SET value = ? WHERE experiment_id = ? AND key = ?", (new, number, LOCATION)
            )
            for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location")):
                file.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, number, len(old) + 1, f"{old}/"),
                )
            file.execute("COMMIT")


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
        follow(path)
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
    return str(found.experiment_id)


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
