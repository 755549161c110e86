"""Decoding a stream from its packets in order: what decodes, and what was drawn on top of damage."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import av

from modalens.media.container import container_errors
from modalens.media.failure_causes import one_line
from modalens.media.ffmpeg_log import Message, messages

# What these cannot decode harms nothing but what refers to it.
ALONE = ("h264", "hevc", "vvc", "libdav1d", "av1", "mjpeg")
REORDERED = 16  # frames that a decoder may hold back to put them in order: the most of H.264 and HEVC


@dataclass
class Damage:
    """What went wrong while a stream was decoded.

    container: what FFmpeg said of the container. codec: what it said of packets that do not decode, or of frames that
    it filled up. lost_s: seconds of these, from after_s until before_s of the stream's clock.
    """

    after_s: float = float("-inf")
    before_s: float = float("inf")
    container: list[str] = field(default_factory=list)
    codec: list[str] = field(default_factory=list)
    lost_s: float = 0.0

    def lose(self, packet: Any, text: str) -> None:
        self.codec.append(text)
        if packet.pts is not None and self.after_s <= float(packet.pts * packet.time_base) < self.before_s:
            self.lost_s += float((packet.duration or 0) * packet.time_base)


class FrameDamage:
    """Which frames were drawn from damage. bad, starts: (place in decoding order, tick) of damage and key frames.

    A frame is drawn from what was decoded before it, back to its key frame, also from what is shown after it; but not
    from what is shown before that key frame, which an open group decodes after it.
    """

    def __init__(self, sought: bool) -> None:
        """sought: what comes before the first key frame is not to be trusted: a damaged index leads to other places."""
        self.bad: list[tuple[float, float]] = [(-1, math.inf)] if sought else []
        self.starts: list[tuple[float, float]] = [(-2, -math.inf)]

    def lost(self, place: int, tick: int | None) -> None:
        """tick: None where more may be lost than this frame."""
        self.bad.append((place, math.inf if tick is None else tick))

    def lost_packet(self, codec: Any, packet: Any, place: int) -> None:
        # The decoders of MPEG-1 to 4 mix up their references after an error, even in a frame that is none; and around a
        # corrupt packet others may be missing.
        alone = codec.name in ALONE and not packet.is_corrupt
        self.lost(place, packet.pts if alone else None)

    def came(self, frame: Any, place: int) -> None:
        """Of a frame that comes out of the decoder."""
        if frame.is_corrupt:
            self.lost(place, frame.pts)
        # What the container calls a key frame need not be one, nor one that FFmpeg complains of.
        elif frame.key_frame and all(at != place for at, _ in self.bad):
            self.starts.append((place, frame.pts))
            if len(self.starts) > 4 * REORDERED:
                del self.starts[: 2 * REORDERED]
                self.bad = [one for one in self.bad if one[0] > self.starts[0][0]]

    def reaches(self, place: int, tick: int) -> bool:
        known = [start for start in self.starts if start[0] <= place and start[1] <= tick]
        first, since = max(known, default=(-3, -math.inf))
        return any(first < at <= place and shown > since for at, shown in self.bad)


def decoded(container: Any, stream: Any, damage: Damage | None = None, sought: bool = False) -> Iterator[Any]:
    """Decoded frames of video that have a time, or of audio. A packet that does not decode is passed over and noted.

    So is a damaged frame of video, and what follows until the next key frame: it was drawn on top of the damage. And so
    is what comes before the first key frame where that was sought.
    """
    damage = Damage() if damage is None else damage
    video, reach = stream.type == "video", FrameDamage(sought)
    order: dict[int, int] = {}
    # A damaged frame comes out after those that are shown before it and were drawn from it.
    held: deque[tuple[int, Any]] = deque()
    queue = container.demux(stream)
    while True:
        messages()
        try:
            packet = next(queue)
        except (StopIteration, av.FFmpegError, IndexError):  # PyAV: a stream that came up late, at the end
            damage.container += container_errors(container, messages())
            yield from (frame for _, frame in held)
            return
        said, last = messages(), len(order)
        order[packet.pts] = last
        damage.container += container_errors(container, said)
        try:
            frames = packet.decode()
            wrong = of_codec(stream.codec_context, [*said, *messages()])
        except av.FFmpegError as error:
            frames, wrong = [], [one_line(error.strerror)]
        if packet.is_corrupt:
            wrong.append("the packet is corrupt")
        if wrong:
            damage.lose(packet, wrong[-1])
            reach.lost_packet(stream.codec_context, packet, last)
        if not video:
            yield from frames
            continue
        for frame in frames:
            place = order.get(frame.pts, last)
            reach.came(frame, place)
            if frame.is_corrupt:
                held = deque(one for one in held if one[0] < place)
            if frame.pts is not None and not reach.reaches(place, frame.pts):
                held.append((place, frame))
            if len(held) > REORDERED:
                yield held.popleft()[1]


def of_codec(codec: Any, said: list[Message]) -> list[str]:
    """Errors that a decoder or its parser logged: it drew over what it could not decode."""
    return [one.text for one in said if one.error and one.speaker == codec.name]
