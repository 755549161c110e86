"""One trial of a search: settings, the models trained with them, and their scores on the validation split."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from modalens.models import build, outputs_of
from modalens.plugins import registry
from modalens.plugins.options import resolve
from modalens.search.space import SCORE, Drawn, Settings, apply_overrides
from modalens.stats.targets import SCORES
from modalens.training import loop
from modalens.training.history import summary
from modalens.training.setup import Job, seed_groups
from modalens.utils.cli import log
from modalens.utils.errors import UserError

KEPT = (SCORE, "best_epoch", "epochs", "seconds")

Result = dict[str, Any]  # status (ok or diverged) and numbers, means over seeds


@dataclass(frozen=True)
class Trial:
    """settings: as they are handed on. whole: with every default written out."""

    drawn: Drawn
    settings: Settings
    whole: Settings
    job: Job


def make_trial(job: Job, settings: Settings, drawn: Drawn) -> Trial:
    """Builds the model once, so that a setting that cannot be is refused before hours of trials."""
    changed = apply_overrides(settings, drawn)
    try:
        training = loop.TrainingOptions(**resolve(loop.TrainingOptions, changed["training"], "training"))
        model = build(job.model, job.shapes, outputs_of(job.target, job.labels), changed["options"], job.target)
        balancing = {
            name: resolve(registry.load("balancing", name), given, f"balancing.{name}")
            for name, given in changed["balancing"].items()
        }
    # What a plugin's constructor does with a value that it did not expect is its own affair.
    except (UserError, ValueError, TypeError, RuntimeError, AssertionError) as error:
        if not drawn:
            raise
        said = ", ".join(f"{path}={value}" for path, value in drawn.items())
        raise UserError(f"search: models.{job.model} cannot have {said}: {error}") from error
    whole = {"options": model.options, "training": asdict(training), "balancing": balancing}
    changed_job = replace(job, options=changed["options"], balancing=changed["balancing"], training=training)
    return Trial(drawn, changed, whole, changed_job)


def run_trial(job: Job, seeds: Sequence[int]) -> Result:
    """Train on the seeds and score on the validation split."""
    found: list[dict[str, float]] = []
    for learners in seed_groups(job, seeds):
        try:
            histories = loop.fit(list(learners.values()), list(learners), job.train, job.validation, job.training)
        except UserError as error:
            # A drawn learning rate may be too high: that is a result, the others go on.
            log.info("search: %s", error)
            return {"status": "diverged", SCORE: math.inf}
        kept = (*KEPT, f"validation_{SCORES[job.target]}")
        found += [{name: summary(history)[name] for name in kept} for history in histories]
    return {"status": "ok", **{name: fmean(one[name] for one in found) for name in found[0]}}


@contextmanager
def with_teachers(job: Job, seeds: Sequence[int], teachers_of: Sequence[int]) -> Iterator[Job]:
    """The job with teachers for the trials' seeds: those of the study's seeds, in order, since there are no others."""
    with tempfile.TemporaryDirectory() as folder:
        teachers = {name: Path(folder) / name for name in job.teachers}
        for name, found in job.teachers.items():
            teachers[name].mkdir()
            for at, seed in enumerate(seeds):
                source = found / str(teachers_of[at % len(teachers_of)])
                (teachers[name] / str(seed)).symlink_to(source.resolve())
        yield replace(job, teachers=teachers)
