"""Where media end, by their packets and by what their container promises."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from modalens.media.container import HEAD_BYTES, Opening, origin

# By so much may media end before what their header promises: headers are rounded, and one stream ends before another.
MISSING_S, MISSING = 0.5, 0.02
# More than frames are shown before others that are decoded earlier.
BACK_S = 2.0
# Formats whose length FFmpeg finds out from the data that are there, by their last time stamp or their size.
MEASURED = ("mpegts", "mpeg", "mpegvideo", "ogg", "aac", "ac3", "eac3", "dts", "amr", "h264", "hevc", "m4v", "mjpeg")
# Of these it shortens the duration to what is there, but not the number of frames, each one unit of time long.
COUNTED = ("avi", "caf")
ASF_PROPERTIES = bytes.fromhex("A1DCAB8C47A9CF118EE400C00C205365")
STREAMED = 0xFFFFFFFF  # a size that whoever wrote the header did not know yet
TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")  # of Matroska streams


def end_of(packet: Any) -> float:
    """Seconds at which what a packet holds ends, by the stream's clock."""
    if packet.duration:
        return float((packet.pts + packet.duration) * packet.time_base)
    # One frame of WebM has no length of its own, and is shown all the same.
    codec, rate = packet.stream.codec_context, None
    if packet.stream.type == "video":
        rate = packet.stream.average_rate or packet.stream.guessed_rate
        length = 1 / float(rate) if rate else 0.0
    else:
        length = (codec.frame_size or 1) / codec.sample_rate if codec is not None and codec.sample_rate else 0.0
    return float(packet.pts * packet.time_base) + max(length, float(packet.time_base))


class Ends:
    """Where streams end, by packets in the order of the file. A time stamp from which the next one of its stream goes
    back by more than BACK_S is damaged, and counts for nothing."""

    def __init__(self) -> None:
        self._latest: dict[int, float] = {}  # of each stream, of the packet that came last
        self._last_s: float | None = None

    def add(self, packet: Any) -> None:
        if packet.pts is None:
            return
        end_s = end_of(packet)
        before_s = self._latest.get(packet.stream_index)
        if before_s is not None and before_s - end_s <= BACK_S:
            self._last_s = before_s if self._last_s is None else max(self._last_s, before_s)
        self._latest[packet.stream_index] = end_s

    @property
    def last_s(self) -> float | None:
        """By the streams' clock; None without any packet."""
        return max([*self._latest.values(), *([] if self._last_s is None else [self._last_s])], default=None)


@dataclass(frozen=True)
class Promise:
    """end_s: where a stream ends by what its container says. shared: it says so of the longest of its streams only."""

    end_s: float
    shared: bool


def promised(container: Any, stream: Any, opening: Opening) -> Promise | None:
    """None where nothing in the file says it, and FFmpeg found the duration out from the data that are there."""
    name, zero = container.format.name, origin(container)
    if name in HEADERS:
        end_s = HEADERS[name](container)
        return Promise(end_s - zero, True) if end_s else None
    if name in COUNTED and stream.frames:
        return Promise(float(stream.frames * stream.time_base) - zero, False)
    if opening.estimated or any(word in MEASURED for word in name.split(",")):
        return None
    if stream.duration:
        return Promise(float((stream.duration + (stream.start_time or 0)) * stream.time_base) - zero, False)
    tag = TAG.fullmatch(next((text for name, text in stream.metadata.items() if name.startswith("DURATION")), ""))
    if tag:
        hours, minutes, seconds = map(float, tag.groups())
        return Promise(3600 * hours + 60 * minutes + seconds - zero, False)
    return Promise(container.duration / av.time_base, True) if container.duration else None


def _wave(container: Any) -> float | None:
    """Microsoft's RIFF and Sony's Wave64 begin with the size of the whole."""
    head, size = _head(container)
    whole = int.from_bytes(head[4:8], "little") + 8 if head[:4] == b"RIFF" else int.from_bytes(head[16:24], "little")
    if not container.duration or not size <= whole < STREAMED:
        return None
    return float(container.duration / av.time_base * whole / size)


def _asf(container: Any) -> float | None:
    """Play duration (100 ns) less preroll (ms) of the File Properties Object (ASF specification, 3.2)."""
    head, _ = _head(container)
    at = head.find(ASF_PROPERTIES)
    if at < 0:
        return None
    play, preroll = (int.from_bytes(head[at + first : at + first + 8], "little") for first in (64, 80))
    return play / 1e7 - preroll / 1e3


def _head(container: Any) -> tuple[bytes, int]:
    with Path(container.name.removeprefix("file:")).open("rb") as file:
        return file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size


# Of these, FFmpeg believes the size of the file more than what its header says.
HEADERS: dict[str, Callable[[Any], float | None]] = {"wav": _wave, "w64": _wave, "asf": _asf}


def cut_short(promise: Promise | None, there_s: float, everything_s: float) -> str:
    """What a stream lacks that ends at there_s, of a file that ends at everything_s; "" if it is as promised."""
    if promise is None:
        return ""
    end_s = max(there_s, everything_s) if promise.shared else there_s
    if promise.end_s - end_s <= max(MISSING_S, MISSING * promise.end_s):
        return ""
    return f"{end_s:.2f} s are there of the {promise.end_s:.2f} s that the container promises"
