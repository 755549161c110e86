"""One MLflow run to be: what a record says, in MLflow's terms."""

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from modalens.tracking import records
from modalens.utils import checksums
from modalens.utils.cli import log

# MLflow's limits on one value.
PARAM_LENGTH = 6000
NAME_LENGTH = 250

DIGITS = 8  # of a final number: MLflow's tables show all that a float has, 0.34400000000000003
ARTIFACT_BYTES = 16 * 2**20  # larger files are no reading matter for a web page
# A study's runs are a tree: the study, its tasks, their models, the models' seeds. A record belongs to the run of its
# stage's level, and what several stages say of one model stands in one row, which MLflow can compare and plot.
LEVELS = {"study": (), "task": ("task",), "model": ("task", "model"), "seed": ("task", "model", "seed")}
LEVEL_OF = {
    "splits": "task",
    "duplicates": "task",
    "leaderboard": "model",
    "relevance": "model",
    "train": "seed",
    "evaluate": "seed",
}
# What tells runs apart comes first, as legends cut the end.
NAME_ORDER = ("model", "encoder", "measure", "trial", "seed", "task")


@dataclass
class Entry:
    """One MLflow run to be, in MLflow's terms.

    level: of LEVELS, or "stage" for what is none of them. parent: identity of the run that it hangs under, "" for none.
    history: (step, metric, value). artifacts: (file, folder in the UI). score: of a task and its models, the metric
    that the answer is told in.
    """

    level: str
    stage: str
    key: dict[str, Any]
    params: dict[str, str]
    metrics: dict[str, float]
    history: list[tuple[int, str, float]]
    artifacts: list[tuple[Path, str]]
    end_ms: int
    model: records.Model | None = None
    dataset: dict[str, Any] = field(default_factory=dict)
    parent: str = ""
    score: str = ""

    @property
    def identity(self) -> str:
        return identity(self.level if self.level in LEVELS else self.stage, self.key)

    @property
    def name(self) -> str:
        """`late_fusion · seed 3 · seen`, `late_fusion · seen`, `seen`, `features · audio`."""
        names = sorted(self.key, key=lambda name: (NAME_ORDER.index(name) if name in NAME_ORDER else 99, name))
        values = [str(self.key[n]) if isinstance(self.key[n], str) else f"{n} {self.key[n]}" for n in names]
        return " · ".join([*([self.stage] if self.level == "stage" else []), *values]) or self.level

    @property
    def tags(self) -> dict[str, str]:
        """Key and level to filter and group by. The source is a column of MLflow's table as it opens."""
        source = {"mlflow.source.name": self.stage, "mlflow.source.type": "LOCAL"}
        if self.score:
            source["metric"] = self.score
        if self.level == "model":
            source["mlflow.runType"] = "evaluation"  # MLflow opens the runs above these, so that its table shows them
        return {**cleaned({name: str(value) for name, value in self.key.items()}), "level": self.level, **source}

    @property
    def start_ms(self) -> int:
        return self.end_ms - round(1000 * max(0.0, self.metrics.get("seconds", 0.0)))

    def digest(self) -> str:
        """Over all that MLflow shows but times: a record written again with equal content is the same run."""
        files = [[folder, path.name, _sha256(path)] for path, folder in self.artifacts]
        content = [self.name, self.tags, self.params, self.metrics, self.history, files, self.dataset]
        if self.model:
            network = Path(self.model.path)
            content += [asdict(self.model), checksums.stored(network) or _sha256(network)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def take(self, other: "Entry") -> None:
        """What another stage says of the same run. A name that both have keeps the first one's value, and the other's
        stands under its stage."""
        for own, more in ((self.params, other.params), (self.metrics, other.metrics)):
            values: dict[str, Any] = own
            for name, value in more.items():
                if name == "seconds":
                    values[name] = values.get(name, 0.0) + value
                elif values.setdefault(name, value) != value:
                    values[f"{other.stage}.{name}"] = value
        self.history += other.history
        self.artifacts += [one for one in other.artifacts if one not in self.artifacts]
        self.end_ms = max(self.end_ms, other.end_ms)
        self.model, self.dataset = self.model or other.model, self.dataset or other.dataset


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def identity(stage: str, key: dict[str, Any]) -> str:
    """stage: a level of the tree, or the stage of a run that is none of these."""
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
    for path in (_where(name, study) for name in run.artifacts):
        if path.is_file() and path.stat().st_size <= ARTIFACT_BYTES:
            inside = path.is_relative_to(study)
            artifacts.append((path, path.relative_to(study).parent.as_posix() if inside else "."))
        else:
            log.warning("%s is not there or larger than %d MiB: not shown in MLflow", path, ARTIFACT_BYTES >> 20)
    metrics = {name: float(f"{value:.{DIGITS}g}") for name, value in run.metrics.items() if math.isfinite(value)}
    level = level_of(stage, run.key)
    key = {name: run.key[name] for name in LEVELS[level]} if level in LEVELS else run.key
    # A measure's options are the study's, and of no use to tell its models apart.
    params = cleaned(flat({**({} if stage == "relevance" else run.params), **key}))
    model = run.model
    if model:
        folders = {name: str(_where(folder, study)) for name, folder in model.features.items()}
        model = replace(model, path=str(_where(model.path, study)), features=folders)
        if not Path(model.path).is_file():
            log.warning("%s is not there: its network is not shown in MLflow", model.path)
            model = None
    return Entry(level, stage, key, params, cleaned(metrics), history, artifacts, end_ms, model, run.dataset)


def _where(name: str, study: Path) -> Path:
    """A path of a record as it is now: the study's folder may have been moved since."""
    path = Path(name)
    if not path.exists() and study.name in path.parts:
        after = len(path.parts) - path.parts[::-1].index(study.name)
        return study.joinpath(*path.parts[after:])
    return path


def level_of(stage: str, key: dict[str, Any]) -> str:
    if stage == "report":
        return "task" if "task" in key else "study"
    level = LEVEL_OF.get(stage, "stage")
    return level if set(LEVELS.get(level, ())) <= set(key) else "stage"
