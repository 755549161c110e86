"""Brings the records of a study to MLflow, so that a rerun never doubles a run. The only module that talks to MLflow.

A run stands for one (stage, key). Its digest covers all that MLflow shows of it: equal runs are left alone, changed
ones replaced, runs without a record removed. Removed runs lie in MLflow's trash until `mlflow gc`.
"""

import contextlib
import json
import logging
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from modalens.tracking.mlflow_database import LOCATION, artifact_root
from modalens.tracking.mlflow_entry import Entry
from modalens.tracking.mlflow_models import log_model
from modalens.utils.errors import UserError

# Tags by which a run is known as ours; a run without STUDY is the user's own and never touched.
STUDY, KEY, DIGEST = "modalens.study", "modalens.key", "modalens.digest"

# MLflow's limits on one request and on one value.
PARAMS_PER_BATCH = 100
METRICS_PER_BATCH = 1000 - PARAMS_PER_BATCH

PARENT = "mlflow.parentRunId"
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
    from mlflow.entities import Metric, Param, RunTag

    tags = {**one.tags, STUDY: study, KEY: one.identity, DIGEST: digest} | ({PARENT: parent} if parent else {})
    run_id = str(client.create_run(experiment_id, one.start_ms, tags, one.name).info.run_id)
    params = [Param(name, value) for name, value in one.params.items()]
    metrics = [Metric(name, value, one.end_ms, 0) for name, value in one.metrics.items()]
    metrics += [Metric(name, value, one.end_ms, step) for step, name, value in one.history]
    own = [RunTag(MODEL, log_model(client, experiment_id, run_id, one.name, one.model))] if one.model else []
    while params or metrics or own:
        client.log_batch(run_id, metrics[:METRICS_PER_BATCH], params[:PARAMS_PER_BATCH], own)
        own = []
        params, metrics = params[PARAMS_PER_BATCH:], metrics[METRICS_PER_BATCH:]
    for path, folder in one.artifacts:
        client.log_artifact(run_id, str(path), None if folder == "." else folder)
    if one.dataset:
        client.log_inputs(run_id, [_dataset(one.dataset)])
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
