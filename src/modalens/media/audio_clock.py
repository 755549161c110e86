"""Decoded audio placed by its time stamps against the clock of the samples: pieces without a gap, at one rate."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from modalens.media.failure_causes import ClipError

# Time stamps jitter: by their rounding in FLV and WebM, by more in AVI. A lost packet of AAC, MP3 or Opus takes 20 ms.
JITTER_S, MOST_JITTER_S = 0.004, 0.02
# Time stamps that must agree before a gap or an overlap is believed.
AHEAD = 4


@dataclass(frozen=True)
class Piece:
    """samples: (channels, n) int16, one channel where they are mixed. powers: of each channel before that, summed over
    samples at the rate of these, full scale being 1."""

    start_s: float
    samples: NDArray[np.int16]
    powers: list[float]


def pieces(
    frames: Iterator[Any], zero: float, limit_s: float, rate: int, *, mix: bool, stamped: bool
) -> Iterator[Piece]:
    """Audio from decoded frames until limit_s, at `rate`; zero: the time stamp, in seconds, that is the time 0.

    mix: to mono. stamped: the container has time stamps; else FFmpeg made them from the lengths of frames.
    A new piece begins where time stamps leave a gap, and where the stream changes its rate, channels or format.
    """
    source: _Resampler | None = None
    for start_s, fresh, frame in timed(frames, zero, stamped=stamped):
        if source is not None and (fresh or source.kind != _kind(frame)):
            yield from source.drained(None)
            source = None
        if start_s >= limit_s:
            # Nothing of it is asked for, but it tells that what is missing before it is a gap and not the end.
            yield Piece(start_s, np.zeros((1, 0), np.int16), [])
            break
        source = source or _Resampler(frame, start_s, rate, mix)
        yield from source.drained(frame)
    if source is not None:
        yield from source.drained(None)


class _Resampler:
    """Frames of one kind, without a gap between them, at another rate."""

    def __init__(self, frame: Any, start_s: float, rate: int, mix: bool) -> None:
        self.kind, self._start_s, self._rate = _kind(frame), start_s, rate
        channels = frame.layout.name
        self._output = av.AudioResampler(format="s16", layout="mono" if mix else channels, rate=rate)
        # A mix hides what it was made of. Packed, since PyAV's arrays of eight planes end in a crash.
        mixes = mix and frame.layout.nb_channels > 1
        self._unmixed = av.AudioResampler(format="s16", layout=channels, rate=rate) if mixes else None
        self._powers: list[float] = []

    def drained(self, frame: Any) -> Iterator[Piece]:
        """What comes out after a frame; None: the rest."""
        if frame is not None:
            # Else the resampler corrects for time stamps in a way of its own.
            frame.pts = None
        for part in self._converted(self._unmixed, frame) if self._unmixed is not None else []:
            self._count(_channels(part))
        for part in self._converted(self._output, frame):
            samples = _channels(part)
            if self._unmixed is None:
                self._count(samples)
            yield Piece(self._start_s, samples, self._powers)
            self._start_s += samples.shape[1] / self._rate
            self._powers = []

    def _converted(self, by: Any, frame: Any) -> list[Any]:
        try:
            return list(by.resample(frame))
        except av.FFmpegError as error:
            # Headers that were damaged promise 65 channels, or a rate that none has.
            form, layout, rate = self.kind
            raise ClipError("damaged", f"audio of {layout}, {form}, {rate} Hz: {error.strerror}") from error

    def _count(self, channels: NDArray[np.int16]) -> None:
        earlier = self._powers or [0.0] * len(channels)
        self._powers = [one + other for one, other in zip(earlier, channel_powers(channels), strict=True)]


def timed(frames: Iterator[Any], zero: float, *, stamped: bool = True) -> Iterator[tuple[float, bool, Any]]:
    """(second at which it starts, whether it does not follow the one before, frame).

    The samples are the clock; time stamps set it anew where AHEAD of them in a row are off to the same side, by more
    than jitter. So small gaps do not add up, and jitter makes none.
    """
    clock: float | None = None
    queue: deque[tuple[float | None, float, Any]] = deque()
    for frame in frames:
        believed = frame.pts is not None and (stamped or (clock is None and not queue))
        stamp = float(frame.pts * frame.time_base) - zero if believed else None
        queue.append((stamp, frame.samples / frame.sample_rate, frame))
        if len(queue) > AHEAD:
            start_s, fresh = _set(clock, queue)
            _, length, first = queue.popleft()
            yield start_s, fresh, first
            clock = start_s + length
    while queue:
        start_s, fresh = _set(clock, queue)
        _, length, first = queue.popleft()
        yield start_s, fresh, first
        clock = start_s + length


def _set(clock: float | None, queue: deque[tuple[float | None, float, Any]]) -> tuple[float, bool]:
    """When the first frame of the queue starts, and whether the clock was set for that."""
    stamp, length, _ = queue[0]
    if clock is None or stamp is None:
        # Of several frames in one packet (AMR in 3GP), the first one has a time.
        return (stamp or 0.0) if clock is None else clock, False
    tolerance = min(max(JITTER_S, length / 2), MOST_JITTER_S)
    expected, offsets = clock, []
    for other, other_length, _ in queue:
        if other is not None:
            offsets.append(other - expected)
        expected += other_length
    if min(offsets) > tolerance or max(offsets) < -tolerance:
        return stamp, True
    return clock, False


def channel_powers(channels: NDArray[np.int16]) -> list[float]:
    """(channels, n) -> the sum of squares of each, full scale being 1."""
    return [float(np.square(channel.astype(np.float32) / 32768).sum(dtype=np.float64)) for channel in channels]


def _channels(frame: Any) -> NDArray[np.int16]:
    """(channels, n) of a packed frame."""
    return np.asarray(frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T)


def _kind(frame: Any) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
