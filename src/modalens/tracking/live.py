"""Curves of a training that goes on, where a tracking server is configured; `track` brings the rest in the end."""

import json
import logging
import os
import time
from typing import Any

from modalens.tracking.mlflow_database import database
from modalens.tracking.mlflow_entry import cleaned, identity
from modalens.tracking.mlflow_store import KEY, STUDY, experiment_id, quiet
from modalens.utils.secrets import redacted, resolved

log = logging.getLogger("modalens")

ENVIRONMENT = "MODALENS_TRACKING"  # JSON: tracking_uri, experiment, study; for the processes that the workflow starts


class Live:
    """A run on the server for each seed, while it learns. `track` replaces it by the whole one, as it has no digest.

    A server that is away costs its curves and nothing else: one warning, and the training goes on.
    """

    def __init__(self, key: dict[str, Any]) -> None:
        """key: of the model's runs, without the seed. Nothing happens where no server is configured."""
        self.key = key
        self.runs: dict[int, str] = {}
        self.client: Any = None
        told = json.loads(os.environ.get(ENVIRONMENT) or "{}")
        if told:
            self._try(self._connect, told)

    def epoch(self, seed: int, row: dict[str, float]) -> None:
        """One row of training.history."""
        if self.client:
            self._try(self._log, seed, row)

    def _connect(self, told: dict[str, str]) -> None:
        quiet()
        from mlflow.tracking import MlflowClient  # seconds, and not everywhere

        self.study = told["study"]
        address = resolved(told["tracking_uri"], "mlflow.tracking_uri")
        if database(address):
            return  # a file, which one process at a time may write
        client = MlflowClient(address)
        self.experiment = experiment_id(client, told["experiment"], None)
        self.client = client

    def _log(self, seed: int, row: dict[str, float]) -> None:
        from mlflow.entities import Metric

        if seed not in self.runs:
            key = {**self.key, "seed": seed}
            tags = {STUDY: self.study, KEY: identity("seed", key), "level": "seed"}
            tags |= {name: str(value) for name, value in key.items()}
            name = " · ".join(["learning", *(str(value) for value in key.values())])
            self.runs[seed] = self.client.create_run(self.experiment, tags=tags, run_name=name).info.run_id
        step = int(row["epoch"])
        named = cleaned({f"epoch/{name}": value for name, value in row.items() if name != "epoch"})
        metrics = [Metric(name, float(value), _now_ms(), step) for name, value in named.items()]
        self.client.log_batch(self.runs[seed], metrics)

    def _try(self, call: Any, *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as error:  # whatever a network and a server may do
            reason = redacted(" ".join(str(error).split())[:200])
            log.warning("no live curves in MLflow: %s", reason)
            self.client = None


def _now_ms() -> int:
    return int(time.time() * 1000)
