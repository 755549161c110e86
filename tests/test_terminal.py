"""What a run shows: from Snakemake's records to lines, bars and one line a failure."""

import io
import logging
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from modalens.terminal import display as drawing
from modalens.terminal.display import Bars, Lines, display
from modalens.terminal.handler import Terminal
from modalens.terminal.run import SILENT, Job, Run, Stage, clock, last_words, tail

PLAN = {"clips": 2, "train": 3, "all": 1, "total": 6}


class Screen(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


def record(event, level=logging.INFO, text="", **fields):
    made = logging.LogRecord("snakemake", level, "", 0, text, (), None)
    vars(made).update(event=event, **fields)
    return made


def started(number, rule, log=(), **wildcards):
    return record(
        "job_info", jobid=number, rule_name=rule, wildcards=wildcards, log=list(log), reason="Forced execution"
    )


def failed(number, rule, log):
    return record("job_error", logging.ERROR, jobid=number, rule_name=rule, log=[str(log)])


def settings(**given):
    asked = {"quiet": [], "verbose": False, "printshellcmds": False, "debug_dag": False, "dryrun": False}
    return SimpleNamespace(**(asked | given))


def manager(**given):
    """A LoggerManager with its own handler of the terminal and one of the log file."""
    logger = logging.Logger("snakemake")
    for name in ("DefaultStreamHandler", "DefaultLogFileHandler"):
        logger.addHandler(handler := logging.NullHandler())
        handler.name = name
    return SimpleNamespace(logger=logger, settings=settings(**given))


def terminal(stream, **given):
    made = Terminal(hidden=["all"], stream=stream)
    made.take_over(manager(**given))
    return made


def quiet(*names):
    return [SimpleNamespace(name=name) for name in names]


def test_the_time_left_follows_from_the_pace_of_the_jobs_that_are_done():
    stage = Stage("train", 5, done=2, began=100.0, ended=120.0)
    assert stage.left(120.0) == 30.0
    assert stage.left(125.0) == 25.0
    assert stage.left(200.0) == 0.0, "late is not less than nothing"
    assert Stage("train", 5).left(0.0) is None


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (59.6, "1:00"), (750, "12:30"), (10805, "3:00:05")])
def test_a_clock_is_read_as_people_read_it(seconds, text):
    assert clock(seconds) == text


def test_a_plan_that_looks_for_copies_anew_and_does_not_train_all_says_that_more_may_be_due():
    """Snakemake asks nothing behind an `ancient` input for reasons of its own while what makes that input runs."""
    for counts, due in (
        ({"duplicates": 1, "report": 1, "track": 1}, True),
        ({"splits": 1, "duplicates": 1, "train": 2, "report": 1}, True),
        ({"splits": 3, "duplicates": 1, "train": 6, "report": 1}, False),
        ({"train": 2, "report": 1}, False),
        ({"duplicates": 1}, False),
    ):
        run = Run()
        run.plan(counts)
        assert ("call once more" in run.call_again(6)) == due, counts


def test_a_run_without_a_terminal_prints_a_line_a_stage():
    stream = io.StringIO()
    made = terminal(stream)
    made.handle(record("run_info", stats=PLAN))
    for number, (rule, name) in enumerate([("clips", "0"), ("clips", "1"), ("train", "a")]):
        made.handle(started(number, rule, shard=name))
        made.handle(record(None, text="Select jobs to execute..."))
        made.handle(record("job_finished", job_id=number))
    made.end()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "5 jobs: clips 2, train 3"
    assert re.fullmatch(r"clips: 2 of 2 in 0:0\d", lines[1])
    assert len(lines) == 2, "train is not through, and what Snakemake says beside its events is in its log"


def test_a_stage_that_takes_long_says_so_now_and_then(tmp_path):
    log = tmp_path / "features.log"
    log.write_text("12:00:00 start\nfeatures: 30/120 clips, 1.5 clips/s, 01:00 left\n")
    run = Run()
    run.plan(PLAN)
    run.start(1, Job("train", "seen/a", [str(log)]), 0.0)
    run.finish(1, 10.0)
    run.start(2, Job("train", "seen/b", [str(log)]), 10.0)
    (line,) = drawing.at_work(run, 12.0)
    assert line == "train: 1 of 3, about 0:18 left; seen/b: features: 30/120 clips, 1.5 clips/s, 01:00 left"


def test_a_failure_is_one_line_with_what_the_stage_said_and_its_log(tmp_path):
    log = tmp_path / "train.log"
    log.write_text("12:00:00 starting\nmodalens: device 'cuda' is not on this machine\nlast\n")
    stream = io.StringIO()
    made = terminal(stream)
    made.handle(record("run_info", stats=PLAN))
    made.handle(started(1, "train", [log], task="seen", model="audio_only"))
    made.handle(record("error", logging.ERROR, "RuleException:\nCalledProcessError in file x: python -m modalens ..."))
    made.handle(failed(1, "train", log))
    for seed in range(2):
        made.handle(
            record("", logging.WARNING, f"Cannot restore results/demo/evaluate/seen/{seed}.json: no backup found.")
        )
    made.handle(record("error", logging.ERROR, "WorkflowError:\nAt least one job did not complete successfully."))
    said = stream.getvalue().splitlines()[1:]
    assert said == [f"train seen/audio_only failed: device 'cuda' is not on this machine (log: {log})"]
    account = made.account(["all.log"])
    assert account[0] == "modalens: " + said[0]
    assert account[1].startswith("0 of 5 jobs done")
    assert account[2].endswith("all.log")


def test_what_ctrl_c_ends_has_not_failed_and_what_failed_before_is_still_told(tmp_path):
    log, earlier = tmp_path / "train.log", tmp_path / "evaluate.log"
    log.write_text("Traceback\nKeyboardInterrupt\n")
    earlier.write_text("modalens: no room\n")
    stream = io.StringIO()
    made = terminal(stream)
    made.handle(record("run_info", stats=PLAN))
    made.handle(started(1, "train", [log], task="seen", model="audio_only"))
    made.handle(started(2, "evaluate", [earlier], task="seen"))
    made.handle(failed(2, "evaluate", earlier))
    made.handle(record("", logging.WARNING, "Terminating processes on user request, this might take some time."))
    made.handle(failed(1, "train", log))
    said = stream.getvalue().splitlines()[1:]
    assert said[-1] == "stopping: 1 job at work; what was finished is kept"
    assert made.account([])[0].startswith("modalens: evaluate seen failed: no room")
    assert made.account([])[1].startswith("modalens: stopped: 0 of 5 jobs done")
    assert "KeyboardInterrupt" not in "".join(said)


def test_jobs_that_fail_alike_are_told_once(tmp_path):
    log = tmp_path / "log"
    log.write_text("modalens: no room\n")
    run = Run()
    for number in range(9):
        run.start(number, Job("train", f"m{number}", [str(log)]), 0.0)
        run.fail(number, "train", [str(log)])
    assert run.account() == [f"train m0, m1, m2 and 6 more failed: no room (log: {log})"]


def test_long_words_of_jobs_of_several_stages_are_told_whole_once_at_the_end(tmp_path):
    log = tmp_path / "log"
    words = "weights cannot be had; " + "put them there, " * 30 + "or write `untrained`"
    log.write_text(f"modalens: {words}\n")
    stream = io.StringIO()
    made = terminal(stream)
    made.handle(record("run_info", stats=PLAN))
    for number, (stage, wildcards) in enumerate((("train", {"task": "seen"}), ("evaluate", {"task": "heard"}))):
        made.handle(started(number, stage, [log], **wildcards))
        made.handle(failed(number, stage, log))
    first, second = stream.getvalue().splitlines()[1:]
    assert first.startswith("train seen failed: weights cannot be had; put them")
    assert first.endswith(f" ... (log: {log})")
    assert len(second) < 200 + len(str(log))
    assert made.account([])[0] == f"modalens: train seen; evaluate heard failed: {words} (log: {log})"
    assert "evaluate" not in made.account([])[1]


def test_a_job_that_is_tried_again_and_ends_well_is_no_failure():
    run = Run()
    run.plan(PLAN)
    run.start(1, Job("train", "m", []), 0.0)
    run.fail(1, "train", [])
    run.start(1, Job("train", "m", []), 1.0)
    run.finish(1, 2.0)
    assert run.account() == []


def test_last_words_of_a_job_that_said_nothing_or_fell(tmp_path):
    assert last_words([str(tmp_path / "none.log")]) == SILENT
    log = tmp_path / "log"
    log.write_text("Traceback ...\n  x\nValueError: broken\n\n")
    assert last_words([str(log)]) == "ValueError: broken"


def test_a_log_cannot_move_the_cursor_or_fill_the_memory(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"x" * 10_000_000 + b"\nclip \x1b[2J\x07.mp4\r50%\r")
    assert tail(str(log))[-2:] == ["clip  [2J .mp4", "50%"]
    assert sum(map(len, tail(str(log)))) < 5000


def test_secrets_in_what_was_said_are_masked():
    stream = io.StringIO()
    terminal(stream).handle(record(None, logging.WARNING, "no answer from https://me:pass@host/x"))
    assert stream.getvalue() == "no answer from https://***@host/x\n"


def test_bars_name_each_stage_and_its_count(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Screen()
    made = terminal(stream)
    made.handle(record("run_info", stats=PLAN))
    assert isinstance(made._display, Bars)
    made.handle(started(1, "train", task="seen", model="m[bold]"))
    made.end()
    text = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", stream.getvalue())
    assert re.search(r"clips .* 0/2", text)
    assert re.search(r"train .* 0/3 .*seen/m\[bold\]", text), "a name is no markup"


def test_lines_are_drawn_where_bars_cannot_be(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(display(Run(), Screen()), Lines)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(display(Run(), io.StringIO()), Lines)
    monkeypatch.setattr(drawing.Bars, "__init__", lambda *_: (_ for _ in ()).throw(ModuleNotFoundError("rich")))
    assert isinstance(display(Run(), Screen()), Lines)


@pytest.mark.parametrize(
    ("asked", "shown", "own"),
    [
        ({}, True, False),
        ({"verbose": True}, False, True),
        ({"printshellcmds": True}, False, True),
        ({"quiet": quiet("ALL")}, False, True),
        ({"quiet": quiet("HOST", "REASON")}, True, False),
        ({"dryrun": True, "quiet": quiet("RULES")}, False, True),
    ],
)
def test_who_asks_for_snakemakes_own_words_gets_them(asked, shown, own):
    of = manager(**asked)
    made = Terminal()
    made.take_over(of)
    names = [handler.name for handler in of.logger.handlers]
    assert made.shown is shown
    assert ("DefaultStreamHandler" in names) is own
    assert "DefaultLogFileHandler" in names, "all texts stay in the log file"


def test_a_logger_that_was_named_is_left_alone():
    of = manager()
    of.logger.removeHandler(of.logger.handlers[0])  # as Snakemake does for `--logger`
    made = Terminal()
    made.take_over(of)
    assert not made.shown


def test_quiet_leaves_warnings_and_failures():
    stream = io.StringIO()
    made = terminal(stream, quiet=quiet("PROGRESS", "RULES"))
    made.handle(record("run_info", stats=PLAN))
    made.handle(started(1, "clips", shard=0))
    made.handle(record("job_finished", job_id=1))
    made.handle(record(None, logging.WARNING, "look out"))
    assert stream.getvalue() == "look out\n"
    assert made.answers
    assert not terminal(io.StringIO(), quiet=quiet("ALL")).answers


def test_a_dry_run_says_how_many_jobs_and_why(capsys):
    made = terminal(None, dryrun=True)
    made.handle(record("run_info", stats=PLAN))
    for number, model in enumerate("abcd"):
        made.handle(started(number, "train", task="seen", model=model))
    made.handle(record("run_info", stats=PLAN))
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("5 jobs would run")
    assert [line.split() for line in said[1:]] == [
        ["clips", "2"],
        ["train", "3", "forced", "execution:", "seen/a,", "seen/b,", "seen/c", "and", "1", "more"],
    ]


SIGTERM_WHILE_SELECTING = """
import os, signal, sys, threading
from types import SimpleNamespace
from snakemake.scheduling.job_scheduler import JobScheduler
from modalens.terminal.handler import Terminal

manager = SimpleNamespace(settings=SimpleNamespace(quiet=None, verbose=False, printshellcmds=False, debug_dag=False,
    dryrun=False), logger=SimpleNamespace(handlers=[], addHandler=lambda one: None), logger_handlers=[])
try:
    Terminal().take_over(manager)
except AttributeError:
    pass
made = object.__new__(JobScheduler)
made._lock, made._open_jobs, made._user_kill = threading.Lock(), threading.Semaphore(0), None
signal.signal(signal.SIGTERM, made.exit_gracefully)
with made._lock:
    os.kill(os.getpid(), signal.SIGTERM)
print(made._user_kill)
"""


def test_sigterm_while_snakemake_selects_jobs_does_not_hang():
    found = subprocess.run(
        [sys.executable, "-c", SIGTERM_WHILE_SELECTING], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.split() == ["graceful"]
