"""Request rate limit: how long to wait before a clip, when to stop, what to try on the next run. The caller sleeps."""

import contextlib
import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from modalens.media import failure_causes

try:
    import fcntl
except ImportError:  # Windows: each process limits itself
    fcntl = None  # type: ignore[assignment]

JITTER = 0.5
# Starts that may be booked ahead, more than there ever are workers.
FAR = 1000


class RateLimiter:
    """Rate limiter shared by a stage's workers and, via the lock file `book`, by all concurrent jobs of a study.

    delay(now): reserves the next start and returns the seconds to wait, so that starts are `interval_s` apart, plus or
    minus JITTER of it (bot checks look for regular intervals). report_outcome(cause): after each clip, "" for success.
    `stopped`: "" until a cause has come `stops_after` times in a row; then one line for the user, and no further clip
    starts: the rest is `not_tried`. now: time.time() where there is a lock file.
    """

    def __init__(self, interval_s: float, rng: random.Random | None = None, book: Path | None = None) -> None:
        self.interval_s = interval_s
        self.stopped = ""
        self._rng = rng or random.Random()
        self._book, self._pages, self._began = book, {}, time.time()  # type: Path | None, dict[str, Any], float
        self._last, self._row = "", 0

    def delay(self, now: float) -> float:
        with self._open() as pages:
            if pages.get("stopped_at", 0.0) > self._began:
                self.stopped = self.stopped or pages["stopped"]
            start = max(now, pages.get("next", now))
            # A book from before the clock was set back must not hold a study up for ever.
            if start - now > FAR * (self.interval_s + 1):
                start = now
            pages["next"] = start + self.interval_s * self._rng.uniform(1 - JITTER, 1 + JITTER)
            return start - now

    def report_outcome(self, cause: str, detail: str = "") -> None:
        self._row = self._row + 1 if cause == self._last else 1
        self._last = cause
        limit = failure_causes.BY_NAME[cause].stops_after if cause in failure_causes.BY_NAME else 0
        if limit and self._row >= limit and not self.stopped:
            times = f"{self._row} times in a row: " if self._row > 1 else ""
            self.stopped = (
                f"stopped early, {times}{failure_causes.BY_NAME[cause].sentence} ({detail or cause}). "
                "What was fetched is kept; run again to resume"
            )
            with self._open() as pages:
                pages |= {"stopped_at": time.time(), "stopped": self.stopped}

    @contextlib.contextmanager
    def _open(self) -> Iterator[dict[str, Any]]:
        """The next start and the last stop, for one process at a time; without a lock file, of this process only."""
        with contextlib.ExitStack() as stack:
            file = None
            if self._book is not None and fcntl is not None:
                with contextlib.suppress(OSError, ValueError):
                    file = stack.enter_context(self._book.open("a+", encoding="utf-8"))
                    fcntl.flock(file, fcntl.LOCK_EX)
                    file.seek(0)
                    self._pages = json.loads(file.read() or "{}")
            yield self._pages
            if file is not None:
                # A full disk is no reason to lose the rate limit.
                with contextlib.suppress(OSError):
                    file.truncate(0)
                    file.write(json.dumps(self._pages))


def pending_clips(clip_ids: Iterable[str], earlier: Mapping[str, tuple[str, str]]) -> list[str]:
    """Clips to try, given the (status, cause) rows of an earlier run: the new ones and transient failures.

    Those never tried are first: else the same dead hosts would stop every run at the same place.
    """
    untried, transient = [], []
    for clip_id in clip_ids:
        status, cause = earlier.get(clip_id, ("failed", "not_tried"))
        if cause == "not_tried":
            untried.append(clip_id)
        elif failure_causes.is_retryable(status, cause):
            transient.append(clip_id)
    return untried + transient
