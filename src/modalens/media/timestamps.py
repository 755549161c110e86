"""When the frames of a video are shown."""

import contextlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from modalens.media.container import (
    Opening,
    container_errors,
    nothing_in,
    opened,
    origin,
    packets,
    stream_of,
)
from modalens.media.failure_causes import ClipError
from modalens.media.promise import Ends, cut_short, promised
from modalens.media.windows import AtMost

# Of packets held so that they need not be read again: a minute of 1080p.
KEPT_BYTES = 64 << 20
MOST_ASPECT = 8


@dataclass(frozen=True)
class Timeline:
    """When the frames of a video stream are shown, from its packets.

    times: (N,) seconds, rising. ticks: (N,) the same as the stream's own time stamps. keys: (K,) ticks of key frames.
    first_s: where the first frame that decodes is shown; late: it is later than the first since no key frame is before
    it. end_s: end of the last frame. half: half of the usual distance of frames, in ticks. start: the stream's first
    tick. whole: all of the stream was visited, not a window only. single: each packet has a time stamp of its own.
    cut_short: what is missing of what the container promises, "" if nothing is. aspect: width of a stored pixel by its
    height. format: FFmpeg's name of the container. packets: those that were visited, in the order of the file, unless
    they are more than KEPT_BYTES. codec: PyAV's context that decodes them.
    """

    times: NDArray[np.float64]
    ticks: NDArray[np.int64]
    keys: NDArray[np.int64]
    base: Fraction
    first_s: float
    late: bool
    end_s: float
    half: float
    start: int
    whole: bool
    single: bool
    cut_short: str
    aspect: Fraction
    format: str
    packets: list[Any]
    codec: Any


def timeline(path: str | Path, start_s: float | None, end_s: float | None) -> Timeline:
    """Frames shown between start_s and end_s (None: from the first, to the last), and some around.

    Raises ClipError: "damaged" where FFmpeg complains of the container up to there.
    """
    if start_s and start_s > 1:
        with opened(path) as (container, opening), contextlib.suppress(av.FFmpegError):
            stream, zero = stream_of(container, "video"), origin(container)
            seek_to = int((start_s + zero) / stream.time_base)
            container.seek(seek_to, stream=stream)
            found, errors = _visit(container, stream, opening, end_s, whole=False)
            if found is not None and found.ticks[0] <= seek_to and not errors:
                return found
    with opened(path) as (container, opening):
        stream = stream_of(container, "video")
        found, errors = _visit(container, stream, opening, end_s, whole=True)
        if found is None:
            raise nothing_in(path, container)
        if errors:
            raise ClipError("damaged", f"errors in the container ({len(errors)}): {errors[0]}")
        return found


def _visit(
    container: Any, stream: Any, opening: Opening, end_s: float | None, whole: bool
) -> tuple[Timeline | None, list[str]]:
    """The timeline, None without any frame, and what FFmpeg said of the container."""
    zero, errors, from_start = origin(container), [*opening.errors], whole
    first_is_key = None
    shown: dict[int, tuple[int, bool]] = {}
    single, kept, held, others = True, [], 0, Ends()
    base, limit = stream.time_base, None if end_s is None else (end_s + zero) / float(stream.time_base)
    open_ended = end_s is None or isinstance(end_s, AtMost)
    promise = promised(container, stream, opening) if whole and open_ended else None
    # Of several streams, the container may promise the length of the longest only.
    watched = [one for one in container.streams if one.type in ("video", "audio")] if promise and promise.shared else []
    for packet in packets(
        container, watched or [stream], lambda said: errors.extend(container_errors(container, said))
    ):
        if packet.stream_index != stream.index:
            others.add(packet)
            continue
        held += packet.size
        if held <= KEPT_BYTES:
            kept.append(packet)
        # The first packet of the file, not of the clock: an open group shows others before its key frame.
        first_is_key = packet.is_keyframe if first_is_key is None else first_is_key
        tick = packet.dts if packet.pts is None else packet.pts
        if tick is None or packet.is_discard or packet.is_corrupt:
            continue
        single &= packet.pts is not None and tick not in shown
        shown[tick] = (packet.duration or 0, packet.is_keyframe)
        # No later packet is shown before its own decoding time.
        if limit is not None and packet.dts is not None and packet.dts > limit:
            whole = False
            break
    if not shown:
        return None, errors
    ticks = np.array(sorted(shown), dtype=np.int64)
    usual = float(np.median(np.diff(ticks))) if len(ticks) > 1 else _length(stream, shown[int(ticks[0])][0])
    end = (int(ticks[-1]) + (shown[int(ticks[-1])][0] or usual)) * float(base) - zero
    keys = np.array([tick for tick in ticks.tolist() if shown[tick][1]], dtype=np.int64)
    start = int(ticks[0]) if stream.start_time is None else stream.start_time
    times = (ticks * float(base) - zero).astype(np.float64)
    late = from_start and not first_is_key and len(keys) > 0 and keys[0] > ticks[0]
    found = Timeline(
        times=times,
        ticks=ticks,
        keys=keys,
        base=base,
        first_s=float(times[np.searchsorted(ticks, keys[0])]) if late else float(times[0]),
        late=bool(late),
        end_s=end,
        half=max(usual / 2, 1.0),
        start=start,
        whole=whole,
        single=single,
        cut_short=cut_short(promise, end, (others.last_s or zero) - zero) if whole else "",
        aspect=_aspect(stream),
        format=container.format.name,
        packets=kept if held <= KEPT_BYTES else [],
        codec=stream.codec_context,
    )
    return found, errors


def _length(stream: Any, ticks: int) -> float:
    """Of a lone frame, in ticks."""
    rate = stream.average_rate or stream.guessed_rate
    return float(ticks or (1 / (rate * stream.time_base) if rate else 1))


def _aspect(stream: Any) -> Fraction:
    """Of stored pixels. What no camera has is taken for a mistake."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return aspect if 1 / MOST_ASPECT <= aspect <= MOST_ASPECT else Fraction(1)
