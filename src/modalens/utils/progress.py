"""How far a loop is: a bar in a terminal, an occasional plain line in a log."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

LOG_EVERY_S = 20.0


def progress(items: Iterable[T] | int, description: str, unit: str, total: int | None = None) -> Iterator[T]:
    """Yield every item (or 0 … n-1 of a number), telling stderr the count, the rate and the time left.

    Where stderr is no terminal, at most one line each LOG_EVERY_S seconds and one at the end, and never a carriage
    return: a log of a cluster job stays readable. total: the length of `items` where it has none of its own.
    """
    counted: Iterable = range(items) if isinstance(items, int) else items
    if total is None and isinstance(counted, Sized):
        total = len(counted)
    if sys.stderr.isatty():
        return iter(tqdm(counted, desc=description, unit=f" {unit}", total=total, dynamic_ncols=True))
    return _logged(counted, description, unit, total)


def _logged(items: Iterable[T], description: str, unit: str, total: int | None) -> Iterator[T]:
    began = told = time.monotonic()
    done = 0
    try:
        for item in items:
            yield item
            done += 1
            now = time.monotonic()
            if now - told >= LOG_EVERY_S and done != total:
                told = now
                _tell(line(description, unit, done, total, now - began))
    finally:
        _tell(line(description, unit, done, total, time.monotonic() - began))


def line(description: str, unit: str, done: int, total: int | None, elapsed_s: float) -> str:
    """`frames: 30/120 clips, 1.5 clips/s, 01:00 left`; ends with the time taken once all is done."""
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    count = f"{done}" if total is None else f"{done}/{total}"
    if total is not None and done < total and rate > 0:
        time_text = f"{tqdm.format_interval((total - done) / rate)} left"
    else:
        time_text = f"{tqdm.format_interval(elapsed_s)} taken"
    return f"{description}: {count} {unit}, {rate:.3g} {unit}/s, {time_text}"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
