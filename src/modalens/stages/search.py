"""Stage `search`: settings of one model on one task, chosen on the validation split with a stated number of trials.

The first trial is the config's own settings, and every model gets the same number of trials. Reads the training and
validation splits, never the test one.

Trials are compared as epochs are: by the calibrated cross-entropy of the validation labels, at the epoch that training
keeps, mean over the trial's seeds. Not by accuracy: on few clips it moves in steps, many trials are equal, and luck
decides. Not by the training loss: its size may be what is varied, as the weight of a teacher is.

Finished trials are cached: an interrupted search resumes, and a larger budget adds to them.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from modalens.config import code_version
from modalens.plugins import registry
from modalens.search.space import SCORE, Settings, sample_trials, value_of
from modalens.search.trial import Result, Trial, make_trial, run_trial, with_teachers
from modalens.tracking import records
from modalens.training import setup
from modalens.training.setup import Job, read
from modalens.utils import cli, device, files
from modalens.utils.cli import log, mapping
from modalens.utils.errors import UserError


class TrialCache:
    """Results of trials by a digest of all that decides them. The file is not an output of the rule: Snakemake deletes
    the outputs of a job that failed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._results: dict[str, Result] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._results = {}

    def get(self, key: str) -> Result | None:
        return self._results.get(key)

    def put(self, key: str, result: Result) -> None:
        self._results[key] = result
        files.write_text(self._path, json.dumps(self._results, indent=1))


def _key(trial: Trial, seeds: Sequence[int], shared: str) -> str:
    decides = [trial.whole, list(seeds), shared]
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()


def _shared(job: Job, seeds: Sequence[int]) -> str:
    """Digest of what decides the results of all trials: data, teachers, code."""
    kinds = ("fusions", "balancing")
    named = [f"{kind}/{name}" for kind in kinds for name in registry.names(kind)]
    code = code_version.code_digest("stages/search", f"models/{job.model}", *named)
    digest = hashlib.sha256(
        json.dumps([job.digest, job.labels, job.target, job.device.type, torch.__version__, code]).encode()
    )
    for name in sorted(job.teachers):
        for seed in seeds:
            digest.update((job.teachers[name] / str(seed) / "model.pt").read_bytes())
    return digest.hexdigest()


def _row(index: int, trial: Trial, result: Mapping[str, Any], chosen: bool, space: Mapping[str, Any]) -> dict[str, Any]:
    values = {path: value_of(trial.whole, path) for path in sorted(space)}
    return {"trial": index, "chosen": chosen, **result, **values}


def main(arguments: argparse.Namespace) -> None:
    device.set_deterministic(arguments.threads)
    settings: Settings = {name: getattr(arguments, name) for name in ("options", "training", "balancing")}
    kept = TrialCache(arguments.output / "kept.json")
    with with_teachers(read(arguments), arguments.seeds, arguments.teacher_seeds) as job:
        drawn = sample_trials(arguments.space, arguments.budget, arguments.draw_seed)
        trials = [make_trial(job, settings, one) for one in drawn]
        shared = _shared(job, arguments.seeds)
        results = []
        for index, trial in enumerate(trials):
            key = _key(trial, arguments.seeds, shared)
            result = kept.get(key)
            if result is None:
                result = run_trial(trial.job, arguments.seeds)
                kept.put(key, result)
            results.append(result)
            log.info(
                "%s trial %d of %d: %s, validation loss %.3f",
                job.model,
                index + 1,
                len(trials),
                trial.drawn,
                result[SCORE],
            )
    # The earlier of equals, so that nothing is changed for nothing.
    best = min(range(len(trials)), key=lambda index: results[index][SCORE])
    if math.isinf(results[best][SCORE]):
        raise UserError(f"search: every trial of {job.model} diverged; lower training.learning_rate and its range")
    rows = [_row(i, trials[i], results[i], i == best, arguments.space) for i in range(len(trials))]
    files.write_text(arguments.output / "trials.csv", pd.DataFrame(rows).to_csv(index=False))
    runs = []
    for row in rows:
        metrics = {name: float(value) for name, value in results[row["trial"]].items() if name != "status"}
        params = {path: row[path] for path in arguments.space} | {name: row[name] for name in ("status", "chosen")}
        artifacts = [str(arguments.output / "trials.csv")] if row["chosen"] else []
        runs.append(records.Run({**arguments.key, "trial": row["trial"]}, params, metrics, artifacts=artifacts))
    files.write_text(arguments.output / "chosen.json", json.dumps(trials[best].settings, indent=1))
    records.write(arguments.record, "search", runs)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    setup.add_arguments(parser)
    parser.add_argument("--space", type=mapping, default={}, help="{path: choices or {low, high, log}}, JSON")
    parser.add_argument("--budget", type=int, required=True, help="trials, the settings above being the first")
    parser.add_argument("--draw-seed", type=int, default=0, help="of the draws")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="trainings of each trial")
    parser.add_argument("--teacher-seeds", type=int, nargs="*", default=[], help="seeds that the teachers have")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets chosen.json and trials.csv")
    cli.add_common(parser, "key", "threads", "record")
