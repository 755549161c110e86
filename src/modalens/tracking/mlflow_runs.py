"""What MLflow is to show of a study: the tree of its runs, from its records."""

import re
from collections import defaultdict
from pathlib import Path

from modalens.tracking import records
from modalens.tracking.mlflow_entry import LEVELS, Entry, cleaned, entry, identity
from modalens.utils.errors import UserError

OF = "/of "  # before the score that a number is in, where a measure gives several
# A sum over shards means something for counts, seconds and bytes only.
NOT_SUMMED = re.compile(r"_per_|mean|median|rate\b|share|fraction|accuracy|loss|max|min|peak")


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
