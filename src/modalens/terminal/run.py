"""A run of the workflow as its records tell it: stages, jobs, the time left, what failed. Pure bookkeeping."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

PREFIX = "modalens: "  # of a stage's last words
SILENT = "it ended without a word; was it killed, or out of memory?"
SHOWN = 3  # names of jobs in one line
BRIEF = 160  # letters of what a stage said last, while others are at work
TAIL = 4096  # bytes of a log in which its last line is looked for


@dataclass
class Job:
    """A job that Snakemake has started, or handed to a cluster. name: its wildcards, as `seen/late_fusion`.
    reason: why it runs, in Snakemake's words."""

    stage: str
    name: str
    logs: list[str]
    reason: str = ""

    @property
    def title(self) -> str:
        return f"{self.stage} {self.name}".strip()


@dataclass
class Stage:
    """Jobs of one rule. began, ended: the first start and the last end, in seconds of a monotonic clock."""

    name: str
    total: int
    done: int = 0
    began: float | None = None
    ended: float | None = None

    @property
    def whole(self) -> bool:
        return self.done >= self.total

    def took(self, now: float) -> float:
        """Seconds since its first job began, until its last one ended."""
        if self.began is None:
            return 0.0
        return (self.ended if self.whole and self.ended is not None else now) - self.began

    def left(self, now: float) -> float | None:
        """Seconds until all its jobs are done, at the pace of those that are; None before the first."""
        if not self.done or self.began is None or self.ended is None:
            return None
        each = (self.ended - self.began) / self.done
        return max(each * (self.total - self.done) - (now - self.ended), 0.0)


@dataclass
class Failure:
    """A job that was not tried again: what it said last."""

    job: Job
    words: str

    def __str__(self) -> str:
        """While the run goes on: its account ends with all of the words."""
        return told([replace(self, words=textwrap.shorten(self.words, BRIEF, placeholder=" ..."))])


@dataclass
class Run:
    """stages: in the order of the plan. jobs: those at work, by Snakemake's number; failures likewise."""

    stages: dict[str, Stage] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)

    def plan(self, counts: Mapping[str, int], hidden: Iterable[str] = ()) -> None:
        """counts: rule -> jobs, as Snakemake counts them. hidden: rules that are no stage."""
        names = [name for name in counts if name not in ("total", *hidden)]
        self.stages = {name: Stage(name, counts[name]) for name in names}

    def start(self, number: int, job: Job, now: float) -> None:
        self.jobs[number] = job
        self.failures.pop(number, None)
        if (stage := self.stages.get(job.stage)) and stage.began is None:
            stage.began = now

    def finish(self, number: int, now: float) -> Stage | None:
        """The stage of the job that has finished, where that is one of the plan."""
        job = self.jobs.pop(number, None)
        stage = self.stages.get(job.stage) if job else None
        if stage:
            stage.done += 1
            stage.ended = now
        return stage

    def fail(self, number: int, rule: str, logs: list[str]) -> Failure:
        job = self.jobs.pop(number, Job(rule, "", logs))
        self.failures[number] = Failure(job, last_words(logs))
        return self.failures[number]

    def account(self) -> list[str]:
        """A line for all jobs that failed with the same words."""
        alike: dict[str, list[Failure]] = {}
        for failure in self.failures.values():
            alike.setdefault(failure.words, []).append(failure)
        return [told(failures) for failures in alike.values()]

    def reasons(self) -> list[str]:
        """Of a dry run: a line for each stage, its jobs and why they would run."""
        lines = []
        for stage in self.stages.values():
            why: dict[str, list[str]] = {}
            for job in self.jobs.values():
                if job.stage == stage.name:
                    parts = (part.partition(":")[0].strip().lower() for part in job.reason.split("; "))
                    why.setdefault(", ".join(parts), []).append(job.name)
            told = "; ".join(f"{reason}{listed(names)}" for reason, names in why.items())
            lines.append(f"  {stage.name:13} {stage.total:>6}  {told}")
        return lines

    def call_again(self, trainings: int) -> str:
        """A line where more may be due than this call's plan holds, else "". trainings: jobs of the whole study.

        Snakemake asks no job that lies behind an `ancient` input, as trainings and all that follows lie behind the
        search for copies, for reasons of its own while what makes that input runs.
        """
        planned = {name: stage.total for name, stage in self.stages.items()}
        if not {"duplicates", "report"} <= set(planned) or planned.get("train", 0) >= trainings:
            return ""
        return "Copies between splits are looked for anew; what else has changed is for the next call: call once more."

    def at_work(self, stage: str) -> Job | None:
        """The job of a stage that has been at work for longest."""
        return next((job for job in list(self.jobs.values()) if job.stage == stage), None)


def told(failures: list[Failure]) -> str:
    """One line: which jobs, what they said, where the first one's log is."""
    job, words = failures[0].job, failures[0].words
    stages = dict.fromkeys(failure.job.stage for failure in failures)
    jobs = []
    for stage in stages:
        names = listed([failure.job.name for failure in failures if failure.job.stage == stage]).removeprefix(": ")
        jobs.append(f"{stage} {names}".strip())
    where = f" (log: {job.logs[0]})" if job.logs else ""
    return f"{'; '.join(jobs)} failed: {words}{where}"


def listed(names: Sequence[str]) -> str:
    """`: seen/audio_only, seen/late_fusion and 3 more`, "" for the one job of a stage without wildcards."""
    first = ", ".join(name for name in names[:SHOWN] if name)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f": {first}{more}" if first else ""


def last_words(logs: Iterable[str]) -> str:
    """What a stage said last: its line `modalens: ...`, else the last line of its log."""
    lines = [line for path in logs for line in tail(path)]
    said = [line.removeprefix(PREFIX) for line in lines if line.startswith(PREFIX)]
    return (said or lines or [SILENT])[-1]


def tail(path: str) -> list[str]:
    """The last lines of a log; [] where there is none."""
    try:
        with Path(path).open("rb") as file:
            file.seek(max(file.seek(0, 2) - TAIL, 0))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [printable(line.strip()) for line in re.split(r"[\r\n]+", text) if line.strip()]


def printable(text: str) -> str:
    """Without what moves a cursor or rings a bell: names of files are in what programs say."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def clock(seconds: float) -> str:
    """`0:07`, `12:30`, `3:00:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
