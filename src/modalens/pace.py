"""How fast to ask a site, when to stop asking, and what to ask for on the next run. Pure: the caller sleeps."""

import random
from collections.abc import Iterable, Mapping

from modalens import causes

JITTER = 0.5


class Pace:
    """One for a stage, shared by all its workers.

    delay(now) books the next start: seconds to wait until then, so that starts are `interval_s` apart, give or take
    JITTER of it (a regular beat is what walls look for). saw(cause) after each clip, "" for one that went well.
    `stopped` is "" until a cause has come `stops_after` times in a row; then one line for the user, and no further
    clip is started: those left get the status of `not_tried`.
    """

    def __init__(self, interval_s: float, rng: random.Random | None = None) -> None:
        self.interval_s = interval_s
        self.stopped = ""
        self._rng = rng or random.Random()
        self._next = float("-inf")
        self._last, self._row = "", 0

    def delay(self, now: float) -> float:
        start = max(now, self._next)
        self._next = start + self.interval_s * self._rng.uniform(1 - JITTER, 1 + JITTER)
        return start - now

    def saw(self, cause: str, detail: str = "") -> None:
        self._row = self._row + 1 if cause == self._last else 1
        self._last = cause
        limit = causes.BY_NAME[cause].stops_after if cause in causes.BY_NAME else 0
        if limit and self._row >= limit and not self.stopped:
            times = f"{self._row} times in a row: " if self._row > 1 else ""
            self.stopped = (
                f"stopped early, {times}{causes.BY_NAME[cause].sentence} ({detail or cause}). "
                "What was fetched is kept; run again to go on with the rest"
            )


def to_try(clip_ids: Iterable[str], earlier: Mapping[str, tuple[str, str]]) -> list[str]:
    """Clips to ask for, given the (status, cause) rows of an earlier run: the new and the transient ones.

    Those whose turn never came are first: else the same dead hosts would stop every run at the same place.
    """
    untried, transient = [], []
    for clip_id in clip_ids:
        status, cause = earlier.get(clip_id, ("failed", "not_tried"))
        if cause == "not_tried":
            untried.append(clip_id)
        elif causes.again(status, cause):
            transient.append(clip_id)
    return untried + transient
