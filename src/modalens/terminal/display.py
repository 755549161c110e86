"""How a run is drawn: bars in a terminal, few lines where nobody watches (a CI log, a file)."""

import os
import re
import threading
import time
from collections.abc import Iterator
from typing import IO, Any, Protocol

from modalens.terminal.run import Run, Stage, clock, tail
from modalens.utils.words import counted

LOOK_EVERY_S = 2.0  # at the logs of the jobs at work
LINE_EVERY_S = 60.0  # where nothing else was said
STAMP = re.compile(r"^\d\d:\d\d:\d\d ")


class Display(Protocol):
    def open(self) -> None: ...
    def update(self, stage: Stage) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


def display(run: Run, stream: IO[str]) -> Display:
    """Bars by rich where the stream is a terminal that can draw and rich is there, else lines."""
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        try:
            return Bars(run, stream)
        except ModuleNotFoundError:
            pass
    return Lines(run, stream)


class Lines:
    """A line at the start, a line for each stage that is through, one a minute while none is."""

    def __init__(self, run: Run, stream: IO[str]) -> None:
        self._run, self._stream = run, stream
        self._ended = threading.Event()
        self._told = time.monotonic()
        self._minute = threading.Thread(target=self._each_minute, daemon=True)

    def open(self) -> None:
        stages = self._run.stages.values()
        jobs = sum(stage.total for stage in stages)
        self.say(f"{counted(jobs, 'job')}: " + ", ".join(f"{stage.name} {stage.total}" for stage in stages))
        self._minute.start()

    def update(self, stage: Stage) -> None:
        if stage.whole:
            self.say(f"{stage.name}: {stage.total} of {stage.total} in {clock(stage.took(time.monotonic()))}")

    def say(self, text: str) -> None:
        self._told = time.monotonic()
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        self._ended.set()

    def _each_minute(self) -> None:
        while not self._ended.wait(1.0):
            now = time.monotonic()
            if now - self._told >= LINE_EVERY_S and (lines := list(at_work(self._run, now))):
                self.say("\n".join(lines))


def at_work(run: Run, now: float) -> Iterator[str]:
    """A line for each stage with jobs at work: `train: 12 of 25, about 0:45 left; seen/late_fusion: epoch 3`."""
    for stage in run.stages.values():
        if job := run.at_work(stage.name):
            yield f"{stage.name}: {stage.done} of {stage.total}{remaining(stage, now)}; {job.name}{said(job.logs)}"


def remaining(stage: Stage, now: float) -> str:
    left = stage.left(now)
    return "" if left is None else f", about {clock(left)} left"


def said(logs: list[str]) -> str:
    """`: ` and the last line of a job's log, without its time."""
    lines = tail(logs[0]) if logs else []
    return f": {STAMP.sub('', lines[-1])}" if lines else ""


class Bars:
    """A line for each stage with bar, count, time taken or left, and what its oldest job says."""

    def __init__(self, run: Run, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._run = run
        self._console = Console(file=stream, highlight=False)
        self._live = Live(
            console=self._console, get_renderable=self._picture, refresh_per_second=4, vertical_overflow="ellipsis"
        )
        self._looked: dict[str, tuple[float, str]] = {}

    def open(self) -> None:
        self._live.start()

    def update(self, stage: Stage) -> None:
        """It is drawn anew four times a second."""

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)  # a path stays in one piece

    def close(self) -> None:
        self._live.stop()
        self._console.print()

    def _picture(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        table = Table.grid(padding=(0, 1))
        for column in ({}, {}, {"justify": "right"}, {}, {"ratio": 1}):
            table.add_column(no_wrap=True, overflow="ellipsis", **column)
        table.expand = True
        for stage in self._run.stages.values():
            style = "green" if stage.whole else "dim" if stage.began is None else "bold"
            bar = ProgressBar(total=stage.total, completed=stage.done, width=16)
            count = Text(f"{stage.done}/{stage.total}")
            table.add_row(Text(stage.name, style), bar, count, *map(Text, self._times(stage, now)))
        return table

    def _times(self, stage: Stage, now: float) -> tuple[str, str]:
        """How long it took or takes, and what it is at."""
        if stage.whole or stage.began is None:
            return (clock(stage.took(now)) if stage.whole else "", "")
        left = stage.left(now)
        time_text = clock(stage.took(now)) if left is None else f"{clock(left)} left"
        return time_text, self._doing(stage, now)

    def _doing(self, stage: Stage, now: float) -> str:
        job = self._run.at_work(stage.name)
        if job is None:
            return ""
        looked, text = self._looked.get(job.title, (-LOOK_EVERY_S, ""))
        if now - looked >= LOOK_EVERY_S:
            text = f"{job.name}{said(job.logs)}"
            self._looked[job.title] = now, text
        return text
