"""Which seconds of a clip are read: the same for every modality that reads its media file."""

from modalens.media.failure_causes import ClipError

# A window may end this much of its length after the media does: annotations are rounded.
OVERRUN = 0.05


class AtMost(float):
    """The end of a window that no annotation asks for: the media may end before."""


def shortened(
    start_s: float | None, end_s: float | None, duration_s: float | None, longest_s: float | None
) -> tuple[float | None, str]:
    """End of a window that lasts at most longest_s, and what that leaves out in words; "" for no more than a rounding.

    Without an end the clip's own counts, which no stream of it must reach. None: not known, or not limited.
    """
    begin, last = start_s or 0.0, duration_s if end_s is None else end_s
    if longest_s is None or last is None or last <= begin + longest_s:
        return end_s, ""
    limit = begin + longest_s
    detail = f"{begin:.2f} to {limit:.2f} s are used, {last - limit:.2f} s after them are not"
    return AtMost(limit) if end_s is None else limit, detail if last - limit > OVERRUN * longest_s else ""


def window(start_s: float | None, end_s: float | None, first_s: float, last_s: float) -> tuple[float, float]:
    """The part of [start_s, end_s] where media is: all of it but for OVERRUN, else ClipError too_short.

    None begins with the first frame and ends with the last, AtMost with the last before it. What begins before the
    first frame by less than OVERRUN begins with it.
    """
    if isinstance(end_s, AtMost) and end_s > last_s:
        end_s = None
    begin = first_s if start_s is None else start_s
    end = last_s if end_s is None else end_s
    slack = OVERRUN * (end - begin)
    # An explicit 0 means "from the start", even where audio begins a moment before the video.
    if end > last_s + slack or (start_s and begin < first_s - slack) or min(end, last_s) <= max(begin, first_s):
        raise ClipError("too_short", f"expected {begin:.2f} to {end:.2f} s, got {first_s:.2f} to {last_s:.2f} s")
    return max(begin, first_s), min(end, last_s)
