"""When the frames of a video are shown."""

import contextlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from modalens.media.container import nothing_in, open_media, origin, packets, stream_of

# Of packets held so that they need not be read again: a minute of 1080p.
KEPT_BYTES = 64 << 20


@dataclass(frozen=True)
class Timeline:
    """When the frames of a video stream are shown, from its packets.

    times: (N,) seconds, rising. ticks: (N,) the same as the stream's own time stamps. keys: (K,) ticks of key frames.
    end_s: end of the last frame. half: half of the usual distance of frames, in ticks. start: the stream's first tick.
    whole: all of the stream was visited, not a window only. single: each packet has a time stamp of its own.
    packets: those that were visited, in the order of the file, unless they are more than KEPT_BYTES. codec: PyAV's
    context that decodes them.
    """

    times: NDArray[np.float64]
    ticks: NDArray[np.int64]
    keys: NDArray[np.int64]
    base: Fraction
    end_s: float
    half: float
    start: int
    whole: bool
    single: bool
    packets: list[Any]
    codec: Any


def timeline(path: str | Path, start_s: float | None, end_s: float | None) -> Timeline:
    """Frames shown between start_s and end_s (None: from the first, to the last), and some around."""
    with open_media(path) as container:
        stream, zero = stream_of(container, "video"), origin(container)
        seek_to = int((start_s + zero) / stream.time_base) if start_s and start_s > 1 else None
        if seek_to is not None:
            with contextlib.suppress(av.FFmpegError):
                container.seek(seek_to, stream=stream)
                found = _visit(container, stream, zero, end_s, whole=False)
                if found is not None and found.ticks[0] <= seek_to:
                    return found
    with open_media(path) as container:
        stream, zero = stream_of(container, "video"), origin(container)
        found = _visit(container, stream, zero, end_s, whole=True)
        if found is not None:
            return found
        raise nothing_in(path, container)


def _visit(container: Any, stream: Any, zero: float, end_s: float | None, whole: bool) -> Timeline | None:
    shown: dict[int, tuple[int, bool]] = {}
    single, kept, held = True, [], 0
    base, limit = stream.time_base, None if end_s is None else (end_s + zero) / float(stream.time_base)
    for packet in packets(container, [stream]):
        held += packet.size
        if held <= KEPT_BYTES:
            kept.append(packet)
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
        return None
    ticks = np.array(sorted(shown), dtype=np.int64)
    usual = float(np.median(np.diff(ticks))) if len(ticks) > 1 else float(shown[int(ticks[0])][0] or 1)
    end = (int(ticks[-1]) + (shown[int(ticks[-1])][0] or usual)) * float(base) - zero
    keys = np.array([tick for tick in ticks.tolist() if shown[tick][1]], dtype=np.int64)
    start = int(ticks[0]) if stream.start_time is None else stream.start_time
    times = (ticks * float(base) - zero).astype(np.float64)
    kept = kept if held <= KEPT_BYTES else []
    return Timeline(
        times, ticks, keys, base, end, max(usual / 2, 1.0), start, whole, single, kept, stream.codec_context
    )
