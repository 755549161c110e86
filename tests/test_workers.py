import contextlib
import ctypes
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modalens.media import worker_pool, worker_process
from modalens.media.failure_causes import ClipError, note
from modalens.media.worker_pool import WAITING_PER_WORKER, map_clips
from modalens.plugins import files, registry

pytestmark = pytest.mark.slow


def behave(how: str, number: int = 0) -> int:
    """What decoders do. Runs in a worker."""
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(0)
    elif how == "abort":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif how == "hang in C":
        ctypes.PyDLL(None).sleep(600)  # PyDLL keeps the interpreter lock
    elif how == "hog":
        bytearray(8 << 30)
    elif how == "damaged":
        raise ClipError("damaged", "moov atom\nnot found")
    elif how == "bug":
        raise KeyError("x")
    return number


CAUSES = {
    "segfault": "crashed",
    "exit": "crashed",
    "abort": "crashed",
    "stop": "timeout",
    "hang in C": "timeout",
    "hog": "memory",
    "damaged": "damaged",
    "bug": "crashed",
}


def children() -> set[str]:
    """Processes below this one but for the fork server and the resource tracker."""
    table = subprocess.run(["ps", "-eo", "pid,ppid,stat,args"], capture_output=True, text=True).stdout.splitlines()[1:]
    rows = [line.split(None, 3) for line in table]
    below, found = {str(os.getpid())}, set()
    for _ in range(4):
        below |= {row[0] for row in rows if row[1] in below}
    for pid, parent, state, args in rows:
        served = parent in below and "forkserver" in args and parent != str(os.getpid())
        if parent in below and (served or "Z" in state):
            found.add(f"{pid} {state} {args}")
    return found


def test_every_misbehaviour_is_blamed_on_its_own_clip_and_the_others_go_on() -> None:
    tasks = []
    for number in range(6 * len(CAUSES)):
        how = [*CAUSES][number // 6] if number % 6 == 3 else "well"
        tasks.append((f"{number} {how}", (how, number)))
    answers = list(map_clips(behave, tasks, 2, 1.5, 2048))
    assert [clip_id for clip_id, _ in answers] == [clip_id for clip_id, _ in tasks]
    for (clip_id, outcome), (_, (how, number)) in zip(answers, tasks, strict=True):
        assert outcome.cause == CAUSES.get(how, ""), clip_id
        assert outcome.value == (number if how == "well" else None), clip_id
        assert "\n" not in outcome.detail
    assert not children()


def test_many_crashes_in_a_row_do_not_end_the_pool() -> None:
    answers = dict(map_clips(behave, [(str(n), ("exit",)) for n in range(12)] + [("last", ("well", 7))], 2, 10, 2048))
    assert [answers[str(n)].cause for n in range(12)] == ["crashed"] * 12
    assert answers["last"].value == 7


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken = 0

    def endless() -> Iterator[tuple[str, tuple]]:
        nonlocal taken
        while True:
            taken += 1
            yield str(taken), ("well", taken)

    answers = map_clips(behave, endless(), 2, 10, 2048)
    for expected in range(1, 60):
        assert next(answers)[1].value == expected
        assert taken <= expected + 2 * WAITING_PER_WORKER
    answers.close()  # type: ignore[attr-defined]
    assert not children()


def spawn_and_hang(note: str) -> None:
    child = subprocess.Popen(["sleep", "600"])
    Path(note).write_text(str(child.pid))
    time.sleep(600)


def test_what_a_worker_started_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    ((_, outcome),) = map_clips(spawn_and_hang, [("a", (str(note),))], 1, 1.0, 2048)
    assert outcome.cause == "timeout"
    time.sleep(0.2)
    state = Path(f"/proc/{note.read_text()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def chatter() -> int:
    os.write(1, b"noise")
    os.write(2, b"noise")
    return 1


def test_what_a_decoder_prints_does_not_reach_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    list(map_clips(chatter, [("a", ())], 1, 10, 2048))
    assert capfd.readouterr() == ("", "")


STAGE = """
import sys
from modalens.media.worker_pool import map_clips
from test_workers import hang_and_note
if __name__ == "__main__":
    tasks = [(str(number), (sys.argv[1], sys.argv[2] if number == 1 else "sleep")) for number in range(2)]
    list(map_clips(hang_and_note, tasks, 2, float(sys.argv[3]), 2048))
"""


def hang_and_note(folder: str, how: str) -> None:
    """Hang, once the numbers of this process and of one that it started are in the folder."""
    child = subprocess.Popen(["sleep", "600"])
    Path(folder, f"{os.getpid()}").touch()
    Path(folder, f"{child.pid}").touch()
    if how == "spin":
        while True:
            pass
    elif how == "hang in C":
        ctypes.PyDLL(None).sleep(600)
    elif how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)


def running(numbers: set[int]) -> set[int]:
    """Those of the processes that live."""
    found = set()
    for number in numbers:
        state = Path(f"/proc/{number}/stat")
        with contextlib.suppress(OSError):
            if state.read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.add(number)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", ["sleep", "spin", "hang in C", "stop"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_hangs_does_not_outlive_a_killed_stage(tmp_path: Path, how: str, end: signal.Signals) -> None:
    script, folder = tmp_path / "stage.py", tmp_path / "numbers"
    script.write_text(STAGE)
    folder.mkdir()
    paths = [str(Path(worker_pool.__file__).parents[2]), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    stage = subprocess.Popen([sys.executable, str(script), str(folder), how, "600"], env=environment)
    try:
        for _ in range(600):
            numbers = {int(path.name) for path in folder.iterdir()}
            if len(numbers) == 4:
                break
            time.sleep(0.05)
        assert len(running(numbers)) == 4
    finally:
        stage.send_signal(end)
        stage.wait()
    for _ in range(100):
        alive = running(numbers)
        # What a stopped worker started is nobody's any more; all else goes.
        if not alive or (how in ("stop", "hang in C") and len(alive) <= 1):
            break
        time.sleep(0.1)
    for number in alive:
        os.kill(number, signal.SIGKILL)
    assert len(alive) <= (how in ("stop", "hang in C"))
    workers = {number for number in alive if number in numbers}
    assert len(workers) <= 1


@pytest.mark.parametrize("how", ["sleep", "spin"])
def test_a_worker_ends_by_itself_when_nobody_ends_it(how: str) -> None:
    """A stage that is stopped cannot keep to the limit."""
    number = os.fork()
    if number == 0:
        worker_process._limit_own_time(0.2)
        while how == "spin":
            pass
        time.sleep(60)
        os._exit(0)
    _, status = os.waitpid(number, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGALRM


def look_later(path: str) -> None:
    """Note the timer of this process when it has answered."""

    def look() -> None:
        time.sleep(0.5)
        Path(path).write_text(str(signal.getitimer(signal.ITIMER_REAL)[0]))

    threading.Thread(target=look, daemon=True).start()


def test_a_worker_that_waits_for_its_next_clip_has_no_limit(tmp_path: Path) -> None:
    def slowly() -> Iterator[tuple[str, tuple]]:
        yield "a", (str(tmp_path / "timer"),)
        time.sleep(1.5)
        assert (tmp_path / "timer").read_text() == "0.0"

    assert len(list(map_clips(look_later, slowly(), 1, 5, 2048))) == 1


def warned(cause: str) -> int:
    note(cause, "a detail\nof two lines")
    return 1


def test_what_a_reader_notes_comes_with_its_answer() -> None:
    ((_, outcome),) = map_clips(warned, [("a", ("cut_short",))], 1, 10, 2048)
    assert (outcome.value, outcome.cause) == (1, "")
    assert outcome.notes == (("cut_short", "a detail of two lines"),)


def test_workers_know_a_plugin_file_that_was_named_after_the_first_of_them_had_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fork server keeps the environment in which it was started."""
    monkeypatch.setenv(files.ENVIRONMENT, "")
    assert outcomes_of(behave, "ok") == [0]
    for number in (2, 3):
        path = tmp_path / str(number) / "times.py"
        path.parent.mkdir()
        path.write_text(f"def read(text):\n    return text * {number}\n")
        registry.use([path])
        module = importlib.import_module("modalens.plugins.files.times")
        assert outcomes_of(module.read, "a") == ["a" * number]
    registry.use([])


def outcomes_of(function: Callable, *arguments: object) -> list[object]:
    return [outcome.value for _, outcome in map_clips(function, [("a", arguments)], 1, 20, 4096)]
