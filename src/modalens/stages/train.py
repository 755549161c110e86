"""Stage `train`: one model on one task, all its seeds from one reading of the features.

Reads the training and validation splits, never the test one.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modalens.balancing import Learner, unwrap
from modalens.stats.targets import SCORES
from modalens.tracking import live, records
from modalens.training import setup
from modalens.training.fit_job import checkpoint_path, log, method, train_group
from modalens.training.history import CALIBRATED_LOSS, History, summary
from modalens.training.setup import Job, read, seed_groups
from modalens.utils import cli, device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    setup.add_arguments(parser)
    parser.add_argument(
        "--chosen", type=Path, help="JSON file of a search: options, training and balancing to use instead"
    )
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder that gets {seed}/model.pt")
    cli.add_common(parser, "key", "threads", "record")


def main(arguments: argparse.Namespace) -> None:
    device.set_deterministic(arguments.threads)
    job = read(_settled(arguments))
    runs = []
    curves = live.Live(arguments.key)
    for learners in seed_groups(job, arguments.seeds):
        histories = train_group(job, learners, arguments.output, curves.epoch)
        for seed, learner in learners.items():
            done = _run(job, learner, seed, arguments.output / str(seed), histories[seed], arguments.key)
            runs.append(done)
            log.info(
                "%s seed %d (%d of %d): best epoch %.0f of %.0f%s, validation loss %.3f, %s %.3f, %.1f s",
                job.model, seed, len(runs), len(arguments.seeds), done.metrics["best_epoch"], done.metrics["epochs"],
                " (stopped while still improving)" if done.metrics["still_improving"] else "",
                done.metrics[CALIBRATED_LOSS], SCORES[job.target], done.metrics[f"validation_{SCORES[job.target]}"],
                done.metrics["seconds"],
            )  # fmt: skip
    records.write(arguments.record, "train", runs)
    # Until here they stay: Snakemake deletes the outputs of a job that failed, and its finished seeds are not to be
    # trained again.
    for seed in arguments.seeds:
        checkpoint_path(arguments.output, seed).unlink(missing_ok=True)


def _settled(arguments: argparse.Namespace) -> argparse.Namespace:
    """With the settings that a search has chosen, if there was one."""
    if arguments.chosen:
        chosen = json.loads(arguments.chosen.read_text(encoding="utf-8"))
        vars(arguments).update({name: chosen[name] for name in CHOSEN})
    return arguments


def _run(job: Job, learner: Learner, seed: int, folder: Path, history: History, key: dict[str, Any]) -> records.Run:
    model, balancing = unwrap(learner), method(learner)
    metrics = summary(history)
    # "variant": MLflow's compare view opens on the first params that differ, in alphabetical order; model, seed and
    # task are to be those.
    params = {f"variant.{name}": value for name, value in model.options.items()}
    params["variant.balancing"] = next(iter(balancing), "none")
    for options in balancing.values():
        params |= {f"variant.balancing.{name}": value for name, value in options.items()}
    params |= {f"training.{name}": value for name, value in asdict(job.training).items()}
    params |= {f"missing.{name}": share for name, share in job.missing.shares.items() if share}
    if any(job.missing.shares.values()):
        params["missing.replacement"] = job.missing.replacement
    params |= {
        "training.teachers": ",".join(sorted(job.teachers)),
        "train_clips": len(job.train),
        "training.used_device": job.device.type,
    }
    metrics["parameters"] = float(sum(values.numel() for values in model.parameters()))
    artifacts = [str(folder / "history.csv")]
    return records.Run({**key, "seed": seed}, params, metrics, history, artifacts)


CHOSEN = ("options", "training", "balancing")  # arguments that a search may replace
