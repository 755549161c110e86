"""What MLflow is to show of a study: its records, in MLflow's terms."""

import hashlib
import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modalens.tracking import records
from modalens.utils.cli import log
from modalens.utils.errors import UserError

# MLflow's limits on one value.
PARAM_LENGTH = 6000
NAME_LENGTH = 250

ARTIFACT_BYTES = 16 * 2**20  # larger files are no reading matter for a web page
# Test results beside the settings they came from: MLflow plots a metric against params of the same run only.
PARAMS_FROM = {"evaluate": "train"}
NAME_ORDER = ("task", "model", "encoder", "measure", "trial", "seed")
# A sum over shards means something for counts, seconds and bytes only.
NOT_SUMMED = re.compile(r"_per_|mean|median|rate\b|share|fraction|accuracy|loss|max|min|peak")


@dataclass
class Entry:
    """One MLflow run to be, in MLflow's terms. history: (step, metric, value); artifacts: (file, folder in the UI)."""

    stage: str
    key: dict[str, Any]
    params: dict[str, str]
    metrics: dict[str, float]
    history: list[tuple[int, str, float]]
    artifacts: list[tuple[Path, str]]
    end_ms: int

    @property
    def identity(self) -> str:
        return identity(self.stage, self.key)

    @property
    def name(self) -> str:
        """`seen · late_fusion · seed 3 · evaluate`: what tells runs apart comes first, as legends cut the end."""
        names = sorted(self.key, key=lambda name: (NAME_ORDER.index(name) if name in NAME_ORDER else 99, name))
        values = [str(self.key[n]) if isinstance(self.key[n], str) else f"{n} {self.key[n]}" for n in names]
        return " · ".join([*values, self.stage])

    @property
    def tags(self) -> dict[str, str]:
        """Key and stage to filter and group by. The source is a column of MLflow's table as it opens."""
        source = {"mlflow.source.name": self.stage, "mlflow.source.type": "LOCAL"}
        return {**cleaned({name: str(value) for name, value in self.key.items()}), "stage": self.stage, **source}

    @property
    def start_ms(self) -> int:
        return self.end_ms - round(1000 * max(0.0, self.metrics.get("seconds", 0.0)))

    def digest(self) -> str:
        """Over all that MLflow shows but times: a record written again with equal content is the same run."""
        files = [[folder, path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path, folder in self.artifacts]
        content = [self.name, self.tags, self.params, self.metrics, self.history, files]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def identity(stage: str, key: dict[str, Any]) -> str:
    return json.dumps({**key, "stage": stage}, sort_keys=True, default=str)


def cleaned(values: dict[str, Any]) -> dict[str, Any]:
    """The same values under names that MLflow takes: letters, digits and `_-./: `, no path tricks, 250 at most."""
    result: dict[str, Any] = {}
    for name in sorted(values):
        parts = [part for part in re.sub(r"[^/\w.\- :]", "-", name).split("/") if part.strip(".")]
        clean = "/".join(parts)[: NAME_LENGTH - 10] or "-"
        while clean in result:
            clean += "-"
        result[clean] = values[name]
    return result


def flat(params: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """{"training": {"epochs": 5}} -> {"training.epochs": "5"}: one column each in MLflow's tables."""
    result: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = (value if isinstance(value, str) else json.dumps(value))[:PARAM_LENGTH]
    return result


def entry(stage: str, run: records.Run, study: Path, end_ms: int) -> Entry:
    # Curves are `epoch/...`: under a final number's own name the last epoch would hide that number in the tables.
    history = [
        (int(row["epoch"]), name, float(value))
        for row in run.history
        for name, value in cleaned({f"epoch/{key}": value for key, value in row.items() if key != "epoch"}).items()
        if math.isfinite(value)
    ]
    artifacts = []
    for path in map(Path, run.artifacts):
        if path.is_file() and path.stat().st_size <= ARTIFACT_BYTES:
            inside = path.is_relative_to(study)
            artifacts.append((path, path.relative_to(study).parent.as_posix() if inside else "."))
        else:
            log.warning("%s is not there or larger than %d MiB: not shown in MLflow", path, ARTIFACT_BYTES >> 20)
    metrics = {name: float(value) for name, value in run.metrics.items() if math.isfinite(value)}
    params = cleaned(flat({**run.params, **run.key}))
    return Entry(stage, run.key, params, cleaned(metrics), history, artifacts, end_ms)


def summed(shards: list[Entry]) -> Entry:
    """The shards of one stage as one run: hundreds of them would bury the runs that are compared.

    Counts and seconds are added; settings that differ between shards, rates and files are left out.
    """
    first = shards[0]
    key = {name: value for name, value in first.key.items() if name != "shard"}
    params = {
        name: value
        for name, value in first.params.items()
        if name != "shard" and all(shard.params.get(name) == value for shard in shards)
    }
    metrics: dict[str, float] = defaultdict(float)
    for shard in shards:
        for name, value in shard.metrics.items():
            if not NOT_SUMMED.search(name):
                metrics[name] += value
    params["shards"] = str(len(shards))
    return Entry(first.stage, key, params, dict(metrics), [], [], max(shard.end_ms for shard in shards))


def entries(study: Path, paths: list[Path]) -> dict[str, Entry]:
    """Runs by identity, from the records in `paths`."""
    result: dict[str, Entry] = {}
    shards: dict[str, list[Entry]] = defaultdict(list)
    for path in paths:
        try:
            stage, runs = records.read(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"record {path} cannot be read ({error}); delete it and run again") from error
        for run in runs:
            one = entry(stage, run, study, int(path.stat().st_mtime * 1000))
            if "shard" in run.key:
                shards[identity(stage, {**run.key, "shard": ""})].append(one)
            elif one.identity in result:
                raise UserError(f"{path} records {one.identity}, as an earlier record does")
            else:
                result[one.identity] = one
    for group in shards.values():
        one = summed(sorted(group, key=lambda shard: shard.identity))
        result[one.identity] = one
    for one in result.values():
        origin = result.get(identity(PARAMS_FROM.get(one.stage, ""), one.key))
        one.params = {**(origin.params if origin else {}), **one.params}
    return result
