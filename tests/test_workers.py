import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modalens.media.failure_causes import ClipError
from modalens.media.worker_pool import WAITING_PER_WORKER, map_clips

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
