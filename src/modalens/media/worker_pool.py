"""One clip at a time in processes that can be killed: a decoder may hang, crash or eat the memory.

Each worker has a pipe of its own and gets its next clip only when it has answered for the last one. So whatever
happens to a worker happened to exactly one, known clip, and a killed worker holds no lock that another one waits for.
(A shared queue has neither property: pebble 5.2's pool stopped with "All workers expired" when workers died in a row,
and called an exit inside a task a timeout.)
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from multiprocessing.connection import Connection, wait
from typing import Any

from modalens.media.worker_process import Outcome, serve
from modalens.plugins import files
from modalens.utils.errors import UserError

__all__ = ["Outcome", "Task", "map_clips"]

Task = tuple[str, tuple]

# A decoder that leaks (dmlc/decord#208) gets a fresh process now and then.
CLIPS_PER_PROCESS = 100
# Answers that wait for a slower clip before them: enough to keep the others busy, few enough to hold in memory.
WAITING_PER_WORKER = 16
START_S = 120.0


def map_clips(
    function: Callable, tasks: Iterable[Task], workers: int, timeout_s: float, memory_mb: int, ordered: bool = True
) -> Iterator[tuple[str, Outcome]]:
    """Yield (clip_id, Outcome of function(*args)) for each (clip_id, args), in the order of `tasks` or as they come.

    function: importable by name. A clip fails alone: by ClipError with its own cause, any other exception "crashed",
    MemoryError "memory", more than timeout_s seconds "timeout" (its process group is killed), a dead worker "crashed".
    A worker whose parent dies ends with it; one that nobody kills ends GRACE_S after timeout_s by itself.
    memory_mb: what one worker may allocate. At most WAITING_PER_WORKER * workers clips are held at a time.
    """
    remaining = iter(tasks)
    numbers = count()
    waiting: dict[int, tuple[str, list[Outcome]]] = {}  # in order; the list holds the answer once it is there
    staff = [_Worker(function, memory_mb) for _ in range(workers)]
    exhausted = False
    try:
        while True:
            if not ordered:
                # Before the next one is given out: an answer may be a reason to stop.
                yield from _answered(waiting, ordered)
            for worker in staff:
                if worker.answer is None and not exhausted and len(waiting) < WAITING_PER_WORKER * workers:
                    task = next(remaining, None)
                    if task is None:
                        exhausted = True
                        break
                    answer: list[Outcome] = []
                    waiting[next(numbers)] = (task[0], answer)
                    worker.give(task[1], answer, timeout_s)
            yield from _answered(waiting, ordered)
            if exhausted and not waiting:
                return
            busy = [worker for worker in staff if worker.answer is not None]
            if busy:
                wait([worker.pipe for worker in busy], max(0.0, min(w.deadline for w in busy) - time.monotonic()))
            for worker in busy:
                worker.look()
    finally:
        for worker in staff:
            worker.stop()


def _answered(waiting: dict[int, tuple[str, list[Outcome]]], ordered: bool) -> Iterator[tuple[str, Outcome]]:
    for number, (clip_id, answer) in list(waiting.items()):
        if answer:
            del waiting[number]
            yield clip_id, answer[0]
        elif ordered:
            return


class _Worker:
    """A process and the one clip that it works on."""

    def __init__(self, function: Callable, memory_mb: int) -> None:
        self._function, self._memory_mb = function, memory_mb
        self.answer: list[Outcome] | None = None
        self.deadline = 0.0
        self._process: Any = None
        self._ready = False

    def give(self, args: tuple, answer: list[Outcome], timeout_s: float) -> None:
        self.answer, self._args, self._timeout_s = answer, args, timeout_s
        if self._process is None:
            self._start()
        else:
            self._send()

    def look(self) -> None:
        """Take the answer if there is one, and judge a worker that died or ran out of time."""
        if self.answer is None:
            return
        if not self._ready:
            self._await_start()
            return
        outcome = None
        try:
            if self.pipe.poll():
                outcome = self.pipe.recv()
        except Exception:  # end of file, or what a process with a broken heap wrote
            outcome = Outcome(cause="crashed", detail=self._kill())
        if outcome is None and time.monotonic() >= self.deadline:
            self._kill()
            outcome = Outcome(cause="timeout", detail=f"no answer after {time.monotonic() - self._began:.0f} s")
        if outcome is None:
            return
        outcome.seconds = outcome.seconds or time.monotonic() - self._began
        self.answer.append(outcome)
        self.answer = None
        if self._given >= CLIPS_PER_PROCESS:
            self.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._kill()

    def _start(self) -> None:
        # A fork server starts clean processes fast, without the threads and locks of this one.
        context = multiprocessing.get_context("forkserver")
        # Only what a worker needs: the page's process, say, has imported much else.
        context.set_forkserver_preload(sorted({self._function.__module__, serve.__module__} - {"__main__"}))
        self.pipe, theirs = context.Pipe()
        # The server has the plugins of when it was started: the function of another one is read after they are told.
        function = pickle.dumps(self._function)
        self._process = context.Process(
            target=serve, args=(theirs, function, files.paths(), self._memory_mb), daemon=True
        )
        self._process.start()
        theirs.close()
        self._ready, self._given, self.deadline = False, 0, time.monotonic() + START_S

    def _await_start(self) -> None:
        """Importing decoders takes seconds: a clip's time begins afterwards."""
        try:
            self._ready = self.pipe.poll() and self.pipe.recv()
            failed = not self._ready and time.monotonic() >= self.deadline
        except EOFError:
            failed = True
        if failed:
            raise UserError(f"a worker did not start ({self._kill()}); are {self._memory_mb} MB of memory enough?")
        if self._ready:
            self._send()

    def _send(self) -> None:
        self._given += 1
        self._began = time.monotonic()
        self.deadline = self._began + self._timeout_s
        # A worker that died while idle is found by look().
        with contextlib.suppress(OSError):
            self.pipe.send((self._args, self._timeout_s))

    def _kill(self) -> str:
        """End the worker and what it started; say how it ended."""
        process, self._process = self._process, None
        # First a look at how it ended by itself: a closed pipe comes a moment before the exit status.
        process.join(0.5 if _closed(self.pipe) else 0)
        code = process.exitcode
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # its children too, e.g. the ffmpeg of a download
        process.kill()
        process.join()
        process.close()
        self.pipe.close()
        if code is None:
            return "killed"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _closed(pipe: Connection) -> bool:
    try:
        return pipe.poll() and pipe.recv() is None
    except Exception:
        return True
