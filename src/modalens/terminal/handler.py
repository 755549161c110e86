"""What `snakemake` shows of a study's run: a line a stage, failures in one line, and the rest in Snakemake's log file.

The Snakefile puts it in the place of Snakemake's handler of the terminal, so that every call has it. (A logger plugin
is there only where a package of that name was installed, and fails the call where it was not.)
"""

import atexit
import logging
import re
import sys
import time
from collections.abc import Iterable
from typing import IO, Any

from modalens.terminal.display import Display, display
from modalens.terminal.run import Job, Run, clock, printable
from modalens.utils.secrets import redacted
from modalens.utils.words import counted

# Snakemake's words without an event that a user should see: minutes of work, or the answer to what was typed.
SAID = re.compile(
    r"Creating conda environment|Downloading and installing|Environment for .* created|"
    "Nothing to be done|Trying to restart|stopping: "
)
# What it says once Ctrl-C was pressed or SIGTERM came: the jobs that end now have not failed.
STOPPING = re.compile("Terminating processes on user request|Will exit after finishing currently running jobs")
# What it says of a job that failed beside the record of it.
AGAIN = re.compile(
    "At least one job did not complete|Exiting because a job execution failed|Restored previous version|"
    r"Cannot restore .*: no backup found|"
    "RuleException:\\s+CalledProcessError"
)


class Terminal(logging.Handler):
    """Takes Snakemake's records. shown: whether it draws; it keeps account in any case. quiet: without progress. dry: a
    dry run. answers: whether the run is to end with its answer. trainings: jobs that train, of the whole study."""

    def __init__(self, hidden: Iterable[str] = (), stream: IO[str] | None = None) -> None:
        """hidden: rules that are no stage. stream: where to, instead of stderr."""
        super().__init__()
        self.run, self.shown, self.quiet, self.answers, self.dry = Run(), False, False, True, False
        self.trainings = 0
        self._hidden = tuple(hidden)
        self._stream = sys.stderr if stream is None else stream
        self._began, self._stopped = time.monotonic(), False
        self._display: Display | None = None

    def take_over(self, manager: Any) -> None:
        """Replace the terminal's handler of Snakemake's LoggerManager, unless the user asked for Snakemake's own words.

        `--verbose`, `--printshellcmds`, `--debug-dag` and `--logger` show what they always do. `--quiet` leaves
        warnings, failures and the answer. A dry run gets a line a stage, unless it is a quiet one.
        """
        _mend_sigterm()
        settings = manager.settings
        quiet = {item.name.lower() for item in settings.quiet or ()}
        self.quiet, self.answers = bool(quiet & {"progress", "rules"}), "all" not in quiet
        asked = settings.verbose or settings.printshellcmds or settings.debug_dag or not self.answers
        if settings.dryrun:
            self._stream, self.dry, asked = sys.stdout, True, asked or self.quiet
        for handler in list(manager.logger.handlers):
            if handler.name == "DefaultStreamHandler" and not asked:
                manager.logger.removeHandler(handler)
                self.shown = True
        manager.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._take(str(getattr(record, "event", None) or ""), record, time.monotonic())
        except BrokenPipeError:
            pass  # `snakemake -n | head`: who reads has read enough
        except Exception:
            self.handleError(record)

    def _take(self, event: str, record: Any, now: float) -> None:
        if event == "run_info" and not self.run.stages:
            self.run.plan(record.stats, self._hidden)
            self._began = now
            self._open()
        elif event == "run_info" and self.dry:
            jobs = sum(stage.total for stage in self.run.stages.values())
            first = f"{counted(jobs, 'job')} would run (`-n -p` prints each of them):"
            again = self.run.call_again(self.trainings)
            self._say("\n".join([first, *self.run.reasons(), *([again] if again else [])]))
        elif event == "job_info":
            name = "/".join(map(str, record.wildcards.values()))
            self.run.start(record.jobid, Job(record.rule_name, name, list(record.log or ()), str(record.reason)), now)
        elif event == "job_finished":
            if (stage := self.run.finish(record.job_id, now)) and self._display:
                self._display.update(stage)
        elif event == "job_error" and self._stopped:
            self.run.jobs.pop(record.jobid, None)
        elif event == "job_error":
            self._say(str(self.run.fail(record.jobid, record.rule_name, list(record.log or ()))))
        elif event in ("", "error"):
            text = record.getMessage()
            if STOPPING.search(text):
                self._stopped = True
                text = f"stopping: {counted(len(self.run.jobs), 'job')} at work; what was finished is kept"
            if (record.levelno >= logging.WARNING and not AGAIN.search(text)) or SAID.match(text):
                self._say(text)

    def _open(self) -> None:
        if self.shown and not (self.quiet or self.dry) and self.run.stages:
            self._display = display(self.run, self._stream)
            self._display.open()
            atexit.register(self.end)

    def _say(self, text: str) -> None:
        if not self.shown:
            return
        lines = (printable(line) for line in str(redacted(text)).splitlines() if line.strip())
        if self._display:
            self._display.say("\n".join(lines))
        else:
            print(*lines, sep="\n", file=self._stream, flush=True)

    def end(self) -> None:
        """Leave the picture as it is: what follows is the answer, or what went wrong."""
        if self._display:
            self._display.close()
            self._display = None

    def close(self) -> None:
        self.end()
        super().close()

    def account(self, logs: Iterable[str]) -> list[str]:
        """Lines after a run that failed: each failure, how much is done, where Snakemake's own texts are."""
        done, total = (sum(getattr(stage, name) for stage in self.run.stages.values()) for name in ("done", "total"))
        lines = [f"modalens: {redacted(printable(line))}" for line in self.run.account()]
        took = clock(time.monotonic() - self._began)
        stopped = "modalens: stopped: " if self._stopped else ""
        lines.append(f"{stopped}{done} of {counted(total, 'job')} done, in {took}; the next run goes on there.")
        return lines + [f"All that Snakemake said: {path}" for path in logs]


def _mend_sigterm() -> None:
    """Snakemake's handler of SIGTERM (9.27) waits for a lock that the code it interrupts holds while jobs are selected:
    the run then hangs until it is killed. What it does under the lock is one assignment."""
    from snakemake.scheduling.job_scheduler import JobScheduler

    JobScheduler.exit_gracefully = end_after_running_jobs


def end_after_running_jobs(scheduler: Any, *_signal: Any) -> None:
    """In the place of Snakemake's own, without its lock."""
    scheduler._user_kill = "graceful"
    scheduler._open_jobs.release()
