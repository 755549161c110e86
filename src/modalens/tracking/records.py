"""What a stage leaves for MLflow: one small JSON file, written last. Only `track` talks to MLflow."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from modalens.utils.files import write_text
from modalens.utils.secrets import redacted


@dataclass
class Run:
    """One MLflow run to be.

    key: what the run is, unique within the study, e.g. {"task": "seen", "model": "late_fusion", "seed": 0}.
    params: settings. metrics: final numbers. history: one dict an epoch, with "epoch".
    artifacts: paths of files worth opening from the UI. model: the network of this run, where it has one. dataset: the
    clips behind it: name, digest, source, and numbers under "profile".
    """

    key: dict[str, Any]
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    model: "Model | None" = None
    dataset: dict[str, Any] = field(default_factory=dict)


@dataclass
class Model:
    """path: file of models.TrainedModel. shapes: {modality: lengths of the axes of one clip's features}, {} of a model
    that runs encoders itself, which takes ids alone. features: {modality: folder of them, or of what clips are decoded
    to}. example: a clip's id."""

    path: str
    labels: list[str]
    shapes: dict[str, list[int]]
    features: dict[str, str]
    example: str
    target: str = "classes"  # of stats.targets


def write(path: str | Path, stage: str, runs: list[Run], made: str = "", table: Path | None = None) -> None:
    """Not-a-number is no JSON and no MLflow metric: such metrics are left out. made: digest of what the stage's output
    is made from, where it keeps what it has. table: the CSV that it wrote, whose digest the record bears."""
    rows = []
    for run in runs:
        row = asdict(run)
        row["metrics"] = {name: value for name, value in row["metrics"].items() if math.isfinite(value)}
        rows.append(redacted(row))
    digests = {"made": made, "table": _digest(table.read_bytes()) if table else ""}
    content = {"stage": stage, "runs": rows} | {name: value for name, value in digests.items() if value}
    write_text(path, json.dumps(content, indent=1, default=str))


def read(path: str | Path) -> tuple[str, list[Run]]:
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    return content["stage"], [_run(**row) for row in content["runs"]]


def made(path: str | Path) -> str:
    """What `write` was told, "" where it was not."""
    return str(json.loads(Path(path).read_text(encoding="utf-8")).get("made", ""))


def holds(path: str | Path, wanted: str) -> bool:
    """Whether a record is there, whole, and of what is made from `wanted`."""
    try:
        return made(path) == wanted
    except (OSError, ValueError, AttributeError):
        return False


def fits(path: str | Path, table: bytes) -> bool:
    """Whether the content of a CSV is what its record was told of; True where there is no record that says so."""
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8")).get("table", "")
    except (OSError, ValueError, AttributeError):
        return True
    return not told or told == _digest(table)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _run(model: dict[str, Any] | None = None, **row: Any) -> Run:
    return Run(**row, model=Model(**model) if model else None)
