"""Frames at given time stamps by PyAV, decoding hardly more than what they depend on."""

import contextlib
import math
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from modalens.media.container import UNCHECKED, decoded, encrypted, open_media, packets, stream_of
from modalens.media.failure_causes import ClipError
from modalens.media.timestamps import Timeline

Pixels = NDArray[np.uint8]
KEPT = 16  # pictures


def frames_at(path: str | Path, line: Timeline, ticks: NDArray[np.int64]) -> Iterator[Pixels]:
    """Frames (H, W, 3) uint8 RGB shown at rising ticks of the line, upright.

    Raises ClipError "damaged" for one that does not decode.
    """
    if line.codec.name not in UNCHECKED:
        yield from _drawn(path, line, ticks, _Pen())
        return
    # Where data is missing, FFmpeg leaves what was in the picture's memory, and does not notice all of it. So twice:
    # over earlier pictures, and, as these are kept, over new memory.
    prints = [zlib.crc32(pixels.data) for pixels in _drawn(path, line, ticks, _Pen())]
    for at, pixels in enumerate(_drawn(path, replace(line, packets=[]), ticks, _Pen(KEPT))):
        if zlib.crc32(pixels.data) != prints[at]:
            raise _damaged(line, int(ticks[at]))
        yield pixels


class _Pen:
    """Draws decoded frames: (H, W, 3) uint8 RGB, upright."""

    def __init__(self, kept: int = 0) -> None:
        """kept: of the frames that were decoded last so many stay as they are."""
        self._scaler = VideoReformatter()
        self._kept: deque[Any] = deque(maxlen=kept)

    def keep(self, frame: Any) -> None:
        self._kept.append(frame)

    def draw(self, frame: Any) -> Pixels:
        # One thread: the other cores have clips of their own.
        pixels = self._scaler.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, (frame.rotation // 90) % 4))


def _drawn(path: str | Path, line: Timeline, ticks: NDArray[np.int64], pen: _Pen) -> Iterator[Pixels]:
    done = 0
    first = _by_dependence if line.single else partial(_in_order, seek=True)
    # Some containers seek badly: what a seek did not find is looked for from the start.
    for find in (first, partial(_in_order, seek=False)):
        for pixels in find(path, line, ticks[done:], pen):
            done += 1
            yield pixels
        if done == len(ticks):
            return
    if encrypted(Path(path)):
        raise ClipError("unsupported", "the file is encrypted")
    raise _damaged(line, int(ticks[done]))


def _damaged(line: Timeline, tick: int) -> ClipError:
    at = float(tick * line.base) - float(line.ticks[0] * line.base) + float(line.times[0])
    return ClipError("damaged", f"the frame at {at:.2f} s does not decode")


def _by_dependence(path: str | Path, line: Timeline, ticks: NDArray[np.int64], pen: _Pen) -> Iterator[Pixels]:
    """Frames at rising ticks, until one is not to be had: each from its key frame on, and no further.

    For a line with one packet to a time stamp.
    """
    places = np.searchsorted(line.keys, ticks, side="right") - 1
    if places[0] < 0 and not line.whole:
        return  # what it depends on was not visited
    with _reader(path, line) as (codec, packets_from):
        for place in np.unique(places):
            key, wanted = int(line.keys[place]) if place >= 0 else None, ticks[places == place].tolist()
            yield from _from_key(codec, packets_from(key), key, wanted, pen)
            if wanted:
                return


@contextlib.contextmanager
def _reader(path: str | Path, line: Timeline) -> Iterator[tuple[Any, Callable[[int | None], Iterator[Any]]]]:
    """A decoder, and what gives the packets from a tick on, or from before it (None: the first)."""
    if line.packets:
        line.codec.flush_buffers()
        yield line.codec, lambda _: iter(line.packets)
        return
    with open_media(path) as container:
        stream = stream_of(container, "video")

        def sought(key: int | None) -> Iterator[Any]:
            with contextlib.suppress(av.FFmpegError):
                if key is not None:
                    container.seek(key, stream=stream)
                yield from packets(container, [stream])

        yield stream.codec_context, sought


def _from_key(codec: Any, queue: Iterator[Any], key: int | None, wanted: list[int], pen: _Pen) -> Iterator[Pixels]:
    """Frames at wanted ticks, each taken off the list, until one is not to be had.

    queue: packets. key: tick of the one to begin with (None: the first).
    """
    left, prefix = set(wanted), _prefix(codec)
    order: dict[int, int] = {}
    found: dict[int, Pixels] = {}
    damage = _Damage(key is not None)
    for packet in queue:
        if key is not None and not (packet.pts == key and packet.is_keyframe):
            if (packet.dts or key) > wanted[0]:
                break
            continue
        key = None
        if prefix and packet.pts not in left and not packet.is_keyframe and _unreferenced(memoryview(packet), prefix):
            continue
        left.discard(packet.pts)
        order[packet.pts] = len(order)
        # A decoder holds frames back to put them in order. With the last wanted one in it, it is told to let go.
        for given in (packet,) if left else (packet, None):
            try:
                frames = codec.decode(given)
            except av.FFmpegError:
                damage.bad.append((order[packet.pts], packet.pts))
                continue
            for frame in frames:
                # A field may have a packet of its own, and the other half of the wanted frame be in the next one.
                if frame.interlaced_frame:
                    return
                pen.keep(frame)
                place = order.get(frame.pts, 0), frame.pts
                if frame.is_corrupt:
                    damage.bad.append(place)
                # What the container calls a key frame need not be one.
                elif frame.key_frame:
                    damage.starts.append(place)
                if frame.pts in wanted:
                    found[frame.pts] = pen.draw(frame)
        if not left:
            break
    codec.flush_buffers()
    while wanted and wanted[0] in found:
        if damage.reaches(order.get(wanted[0], 0), wanted[0]):
            return
        yield found.pop(wanted.pop(0))


class _Damage:
    """Which frames were drawn from damage. bad, starts: (place in decoding order, tick) of damage and key frames.

    A frame is drawn from what was decoded before it, back to its key frame, also from what is shown after it; but not
    from what is shown before that key frame, which an open group decodes after it.
    """

    def __init__(self, sought: bool) -> None:
        """sought: what comes before the first key frame is not to be trusted: a damaged index leads to other places."""
        self.bad: list[tuple[float, float]] = [(-1, math.inf)] if sought else []
        self.starts: list[tuple[float, float]] = [(-2, -math.inf)]

    def reaches(self, place: int, tick: int) -> bool:
        first, since = max(start for start in self.starts if start[0] <= place and start[1] <= tick)
        return any(first < at <= place and shown > since for at, shown in self.bad)


def _prefix(codec: Any) -> int:
    """Bytes of the length before each NAL unit of H.264, as files hold it (ISO/IEC 14496-15, 5.3.3.1); 0 for others."""
    known = codec.name == "h264" and codec.extradata and len(codec.extradata) > 4 and codec.extradata[0] == 1
    return (codec.extradata[4] & 3) + 1 if known else 0


def _unreferenced(data: memoryview, prefix: int) -> bool:
    """Whether no other picture is drawn from that of an H.264 packet (ITU-T H.264, 7.4.1), and nothing else is in it.

    FFmpeg's own `skip_frame` also passes over what has no picture in it, such as a reference that is damaged.
    """
    at, slices = 0, 0
    while at + prefix < len(data):
        # forbidden_zero_bit, nal_ref_idc (2 bits), nal_unit_type (5): 1 is a slice, parameters are always referenced.
        header = data[at + prefix]
        if header > 31:
            return False
        slices += header == 1
        at += prefix + int.from_bytes(data[at : at + prefix])
    return slices > 0 and at == len(data)


def _in_order(path: str | Path, line: Timeline, ticks: NDArray[np.int64], pen: _Pen, seek: bool) -> Iterator[Pixels]:
    """Frames at rising ticks, until one is not to be had, for time stamps that may be off by half a frame."""
    with open_media(path) as container:
        stream = stream_of(container, "video")
        held, position, frames = None, None, decoded(container, stream)
        for tick in ticks:
            earlier = line.keys[line.keys <= tick]
            if seek and len(earlier) and earlier[-1] > (line.start if position is None else position):
                try:
                    container.seek(int(earlier[-1]), stream=stream)
                except av.FFmpegError:
                    return
                held, frames = None, decoded(container, stream, sought=True)
            before = None
            for frame in chain([held] if held else [], frames):
                pen.keep(frame)
                before, held, position = held, frame, frame.pts
                if frame.pts >= tick:
                    break
            near = min((frame for frame in (before, held) if frame), key=lambda f: abs(f.pts - tick), default=None)
            if near is None or abs(near.pts - tick) > line.half:
                return
            yield pen.draw(near)
