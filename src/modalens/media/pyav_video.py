"""Frames at given time stamps by PyAV, decoding hardly more than what they depend on."""

import contextlib
import math
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from modalens.media.container import UNCHECKED, encrypted, open_media, packets, stream_of
from modalens.media.failure_causes import ClipError
from modalens.media.ffmpeg_log import messages
from modalens.media.reading import FrameDamage, decoded, of_codec
from modalens.media.timestamps import Timeline

Pixels = NDArray[np.uint8]
KEPT = 16  # frames
# Encoders of these left bits over at the end of a frame. FFmpeg takes damage for that until some frames have shown that
# this one leaves none: from a key frame on it passes over what it complains of from the start. So one key frame more.
SETTLING = ("h263", "h263p", "mpeg4", "flv")


def frames_at(path: str | Path, line: Timeline, ticks: NDArray[np.int64], pen: "Pen | None" = None) -> Iterator[Pixels]:
    """Frames (H, W, 3) uint8 RGB shown at rising ticks of the line, upright and of square pixels.

    Raises ClipError "damaged" for one that does not decode.
    """
    pen = pen or Pen(line.aspect)
    if line.codec.name not in UNCHECKED:
        yield from _drawn(path, line, ticks, pen)
        return
    # Where data is missing, FFmpeg leaves what was in the frame's memory, and does not notice all of it. So twice:
    # over earlier frames, and, as these are kept, over new memory.
    prints = [zlib.crc32(pixels.data) for pixels in _drawn(path, line, ticks, pen)]
    for at, pixels in enumerate(_drawn(path, replace(line, packets=[]), ticks, Pen(line.aspect, KEPT))):
        if zlib.crc32(pixels.data) != prints[at]:
            raise _damaged(line, int(ticks[at]))
        yield pixels


class Pen:
    """Draws decoded frames as they are shown: (H, W, 3) uint8 RGB, upright, of square pixels."""

    def __init__(self, aspect: Fraction, kept: int = 0) -> None:
        """aspect: width of a stored pixel by its height. kept: of the frames decoded last so many stay as they are."""
        self._scaler, self._aspect = VideoReformatter(), aspect
        self.mirrored = False
        self._kept: deque[Any] = deque(maxlen=kept)

    def keep(self, frame: Any) -> None:
        self._kept.append(frame)

    def draw(self, frame: Any) -> Pixels:
        # One thread: the other cores have clips of their own.
        pixels = np.asarray(self._scaler.reformat(frame, format="rgb24", threads=1).to_ndarray(), np.uint8)
        matrix = display_matrix(frame)
        self.mirrored |= matrix is not None and matrix[0] * matrix[3] < matrix[1] * matrix[2]
        return upright(square(pixels, self._aspect), matrix)


def square(pixels: Pixels, aspect: Fraction) -> Pixels:
    """Pixels (H, W, 3), each `aspect` times as wide as high -> square ones. A side grows, so that nothing is lost."""
    if aspect == 1:
        return pixels
    height, width = pixels.shape[:2]
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BILINEAR))


def display_matrix(frame: Any) -> tuple[int, int, int, int] | None:
    """(a, b, c, d) of the matrix that takes a stored pixel (x, y) to where it is shown: (a x + c y, b x + d y)."""
    # Not frame.side_data: that holds the frame, which holds it, and the memory of both until the collector comes.
    for data in SideDataContainer(frame):  # type: ignore[call-arg]
        if data.type.name == "DISPLAYMATRIX":
            numbers = np.frombuffer(bytes(data), np.int32)
            return int(numbers[0]), int(numbers[1]), int(numbers[3]), int(numbers[4])
    return None


def upright(pixels: Pixels, matrix: tuple[int, int, int, int] | None) -> Pixels:
    """Pixels (H, W, 3) turned and mirrored as players show them. Other angles than right ones keep the size."""
    if matrix is None or not (matrix[0] or matrix[1]) or not (matrix[2] or matrix[3]):
        return np.ascontiguousarray(pixels)
    a, b, c, d = matrix
    # A reflection is a rotation of the frame mirrored left to right.
    if a * d - b * c < 0:
        pixels, a, b = pixels[:, ::-1], -a, -b
    degrees = math.degrees(math.atan2(b, a))  # clockwise, since y points down
    turns = round(degrees / 90)
    if abs(degrees - 90 * turns) <= 1:
        return np.ascontiguousarray(np.rot90(pixels, -turns))
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).rotate(-degrees, Image.Resampling.BILINEAR))


class _Doubtful(Exception):
    """FFmpeg complained of what a frame depends on."""


def _drawn(path: str | Path, line: Timeline, ticks: NDArray[np.int64], pen: Pen) -> Iterator[Pixels]:
    done = 0
    # Some containers seek badly: what a seek did not find is looked for from the start.
    first = _by_dependence if line.single else partial(_in_order, seek=True)
    ways: list[Callable[..., Iterator[Pixels]]] = [first, partial(_in_order, seek=True), partial(_in_order, seek=False)]
    doubtful = not line.single
    for number, find in enumerate(ways):
        # A seek passes over the complaint and not over the damage; decoding from the start tells what it was worth.
        if number == 1 and doubtful:
            continue
        try:
            for pixels in find(path, line, ticks[done:], pen):
                done += 1
                yield pixels
        except _Doubtful:
            doubtful = True
        if done == len(ticks):
            return
    if encrypted(Path(path)):
        raise ClipError("unsupported", "the file is encrypted")
    raise _damaged(line, int(ticks[done]))


def _damaged(line: Timeline, tick: int) -> ClipError:
    at = float(tick * line.base) - float(line.ticks[0] * line.base) + float(line.times[0])
    return ClipError("damaged", f"the frame at {at:.2f} s does not decode")


def _by_dependence(path: str | Path, line: Timeline, ticks: NDArray[np.int64], pen: Pen) -> Iterator[Pixels]:
    """Frames at rising ticks, until one is not to be had: each from its key frame on, and no further.

    For a line with one packet to a time stamp.
    """
    places = np.searchsorted(line.keys, ticks, side="right") - 1
    if places[0] < 0 and not line.whole:
        return  # what it depends on was not visited
    with _reader(path, line) as (codec, packets_from):
        for place in np.unique(places):
            begin = place - (codec.name in SETTLING and place > 0)
            key, wanted = int(line.keys[begin]) if begin >= 0 else None, ticks[places == place].tolist()
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


def _from_key(codec: Any, queue: Iterator[Any], key: int | None, wanted: list[int], pen: Pen) -> Iterator[Pixels]:
    """Frames at wanted ticks, each taken off the list, until one is not to be had.

    queue: packets. key: tick of the one to begin with (None: the first).
    """
    left, prefix = set(wanted), _prefix(codec)
    order: dict[int, int] = {}
    found: dict[int, Pixels] = {}
    damage = FrameDamage(key is not None)
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
            messages()
            try:
                frames = codec.decode(given)
            except av.FFmpegError:
                damage.lost_packet(codec, packet, order[packet.pts])
                continue
            if of_codec(codec, messages()) or packet.is_corrupt:
                damage.lost_packet(codec, packet, order[packet.pts])
            for frame in frames:
                # A field may have a packet of its own, and the other half of the wanted frame be in the next one.
                if frame.interlaced_frame:
                    return
                pen.keep(frame)
                damage.came(frame, order.get(frame.pts, 0))
                if frame.pts in wanted:
                    found[frame.pts] = pen.draw(frame)
        if not left:
            break
    codec.flush_buffers()
    while wanted and wanted[0] in found:
        if damage.reaches(order.get(wanted[0], 0), wanted[0]):
            raise _Doubtful
        yield found.pop(wanted.pop(0))


def _prefix(codec: Any) -> int:
    """Bytes of the length before each NAL unit of H.264, as files hold it (ISO/IEC 14496-15, 5.3.3.1); 0 for others."""
    known = codec.name == "h264" and codec.extradata and len(codec.extradata) > 4 and codec.extradata[0] == 1
    return (codec.extradata[4] & 3) + 1 if known else 0


def _unreferenced(data: memoryview, prefix: int) -> bool:
    """Whether no other frame is predicted from that of an H.264 packet (ITU-T H.264, 7.4.1), and nothing else is in it.

    FFmpeg's own `skip_frame` also passes over what has no frame in it, such as a reference that is damaged.
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


def _in_order(path: str | Path, line: Timeline, ticks: NDArray[np.int64], pen: Pen, seek: bool) -> Iterator[Pixels]:
    """Frames at rising ticks, until one is not to be had, for time stamps that may be off by half a frame."""
    with open_media(path) as container:
        stream = stream_of(container, "video")
        held, position, frames = None, None, decoded(container, stream)
        for tick in ticks:
            earlier = line.keys[line.keys <= tick]
            if stream.codec_context.name in SETTLING and len(earlier) > 1:
                earlier = earlier[:-1]
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
