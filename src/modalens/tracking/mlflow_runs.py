"""What MLflow is to show of a study: its records, in MLflow's terms."""

import hashlib
import json
import math
import re
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from modalens.tracking import records
from modalens.utils import checksums
from modalens.utils.cli import log
from modalens.utils.errors import UserError

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
OF = "/of "  # before the score that a number is in, where a measure gives several
# A sum over shards means something for counts, seconds and bytes only.
NOT_SUMMED = re.compile(r"_per_|mean|median|rate\b|share|fraction|accuracy|loss|max|min|peak")


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
    end_ms = max(shard.end_ms for shard in shards)
    return Entry(first.level, first.stage, key, params, dict(metrics), [], [], end_ms)


def entries(study: Path, paths: list[Path]) -> dict[str, Entry]:
    """Runs by identity, from the records in `paths`; parents before their children."""
    result: dict[str, Entry] = {}
    shards: dict[str, list[Entry]] = defaultdict(list)
    seen: dict[str, Path] = {}
    for path in paths:
        try:
            stage, runs = records.read(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"record {path} cannot be read ({error}); delete it and run again") from error
        for run in runs:
            one = entry(stage, run, study, int(path.stat().st_mtime * 1000))
            if "shard" in run.key:
                shards[identity(stage, {**run.key, "shard": ""})].append(one)
                continue
            if (record := identity(stage, run.key)) in seen:
                raise UserError(f"{path} records {record}, as {seen[record]} does")
            seen[record] = path
            if one.identity in result:
                result[one.identity].take(one)
            else:
                result[one.identity] = one
    for group in shards.values():
        one = summed(sorted(group, key=lambda shard: shard.identity))
        result[one.identity] = one
    _settings_of_all_seeds(result)
    _reported(result)
    _datasets(result)
    for one in result.values():
        one.parent = _parent(one, result)
    order = [*LEVELS, "stage"]
    return dict(sorted(result.items(), key=lambda item: order.index(item[1].level)))


def _parent(one: Entry, runs: dict[str, Entry]) -> str:
    """The lowest level above, as far as the run's key tells."""
    above = list(LEVELS)[: list(LEVELS).index(one.level) if one.level in LEVELS else None]
    for level in reversed(above):
        if set(LEVELS[level]) <= set(one.key):
            found = identity(level, {name: one.key[name] for name in LEVELS[level]})
            if found in runs:
                return found
    return ""


def _settings_of_all_seeds(runs: dict[str, Entry]) -> None:
    """A model's run has the settings that its seeds share, under the same names: MLflow plots a metric against params
    of the same run only. And it lasted as long as they did together: of its own stages none counts seconds."""
    seeds: dict[str, list[Entry]] = defaultdict(list)
    for one in runs.values():
        if one.level == "seed":
            seeds[identity("model", {name: one.key[name] for name in LEVELS["model"]})].append(one)
    for model, group in seeds.items():
        if model in runs:
            shared = set.intersection(*(set(one.params.items()) for one in group))
            runs[model].params = dict(shared) | runs[model].params
            if seconds := sum(one.metrics.get("seconds", 0.0) for one in group):
                runs[model].metrics.setdefault("seconds", seconds)


def _reported(runs: dict[str, Entry]) -> None:
    """Of metrics under several replacements and in several scores those that the study reports, under the plain name:
    `drop/audio`. The score is a tag of the task and of its models."""
    study = runs.get(identity("study", {}))
    wanted = study.params.get("replacement", "") if study else ""
    known = {name for one in runs.values() for name in one.params.get("conditions", "").split()}
    ends = {"/" + next(iter(cleaned({name: 0}))): name for name in known}
    for one in runs.values():
        if one.level not in ("task", "model"):
            continue
        task = runs.get(identity("task", {"task": one.key["task"]}))
        one.score = task.params.get("metric", "") if task else ""
        if one.level == "model":
            plain = _plain(one.metrics, ends, wanted)
            scores = {name.rpartition(OF)[2] for name in plain if OF in name}
            one.metrics = _plain(plain, {OF + score: score for score in scores}, one.score)


def _plain(metrics: dict[str, float], ends: dict[str, str], wanted: str) -> dict[str, float]:
    """ends: end of a name -> what it is of. Of names with an end those of `wanted`, without it; all where none is."""
    if not wanted:
        return metrics
    plain: dict[str, float] = {}
    for name, value in metrics.items():
        end = next((end for end in ends if name.endswith(end)), "")
        if not end or ends[end] == wanted:
            plain[name.removesuffix(end)] = value
    return plain


def _datasets(runs: dict[str, Entry]) -> None:
    """A task's clips are those of its models and seeds."""
    for one in runs.values():
        if one.level in ("model", "seed"):
            task = runs.get(identity("task", {"task": one.key["task"]}))
            one.dataset = one.dataset or (task.dataset if task else {})
