"""The side of a worker process: one clip after the other, within its limits, and never longer than its parent lives."""

import contextlib
import ctypes
import math
import os
import pickle
import resource
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from modalens.media.failure_causes import ClipError, ClipNote, one_line
from modalens.plugins import files

GRACE_S = 10.0  # a worker's own limit comes after that of the stage, which says what it was
PR_SET_PDEATHSIG = 1


@dataclass
class Outcome:
    """value of a clip that went well (cause ""), else why it did not; seconds it took in the worker.

    notes: (cause, detail) of what the function warned of by ClipNote: flags of a clip that can be used.
    """

    value: Any = None
    cause: str = ""
    detail: str = ""
    seconds: float = 0.0
    notes: tuple[tuple[str, str], ...] = ()


def serve(pipe: Connection, function: bytes, plugin_files: Sequence[Path], memory_mb: int) -> None:
    """The worker's life: one answer for each clip, until the pipe closes. function: pickled, perhaps a plugin's."""
    if files.paths() != plugin_files:
        files.use(plugin_files)
    called: Callable = pickle.loads(function)
    os.setsid()
    _end_with_parent(pipe)
    # Decoders print bytes of the file (dmlc/decord#299): no log wants them.
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses
        # What is written to, not the address space: the script engine that yt-dlp starts reserves 64 GB of that.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe.send(True)
    while True:
        try:
            args, timeout_s = pipe.recv()
        except EOFError:
            return
        _limit_own_time(timeout_s + GRACE_S)
        outcome = _called(called, args, memory_mb)
        signal.setitimer(signal.ITIMER_REAL, 0)  # none while it waits for the next clip
        pipe.send(outcome)


def _called(function: Callable, args: tuple, memory_mb: int) -> Outcome:
    began = time.monotonic()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ClipNote)
        try:
            outcome = Outcome(value=function(*args))
        except ClipError as error:
            outcome = Outcome(cause=error.cause, detail=error.detail)
        except MemoryError as error:
            outcome = Outcome(cause="memory", detail=one_line(f"exceeded {memory_mb} MB {error}"))
        except Exception as error:
            outcome = Outcome(cause="crashed", detail=one_line(f"{type(error).__name__}: {error}"))
    found = [warning.message for warning in said if isinstance(warning.message, ClipNote)]
    outcome.notes = tuple((one.cause, one.detail) for one in found)
    outcome.seconds = time.monotonic() - began
    return outcome


def _end_with_parent(pipe: Connection) -> None:
    """However a stage dies, its workers and what they started die too, also one that hangs or is stopped."""
    parent = threading.Thread(target=_kill_group_when_closed, args=(pipe.fileno(),), daemon=True)
    parent.start()
    if sys.platform != "linux":
        return
    # A thread does not run while C code holds the interpreter's lock. The kernel kills this process when its parent
    # dies: the fork server, which ends when nobody holds its pipe any more. A worker is given that pipe as well, for
    # fork servers' children of its own, and as long as one of them hangs the fork server would live.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    server: Any = forkserver._forkserver
    held = getattr(server, "_forkserver_alive_fd", None)
    if held is not None:
        os.close(held)
        server._forkserver_alive_fd = None


def _kill_group_when_closed(descriptor: int) -> None:
    """Wait until the other end of a pipe is closed."""
    closing = select.poll()
    closing.register(descriptor, 0)  # what is always told of: hang-up and errors
    closing.poll()
    os.killpg(0, signal.SIGKILL)


def _limit_own_time(seconds: float) -> None:
    """The system ends this process after that time, whatever it does.

    A download sets the timer for itself, to less than that; for what spins afterwards there is the processor time.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + seconds * max(2, os.cpu_count() or 1)), most))
