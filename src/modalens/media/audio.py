"""The sound of a part of a clip, by PyAV: it reads the part asked for and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from modalens.media.container import decoded, encrypted, open_media, origin, stream_of, window
from modalens.media.failure_causes import ClipError, one_line

# Time stamps of sound jitter by some milliseconds in AVI, FLV and WebM; what is longer is a hole.
HOLE_S = 0.05
# Share of a window that holes may take; a damaged container loses packets without a word.
HOLES = 0.5
# Sound that may be lost to damage: less than a listener notices.
LOST = 0.05
# Of 32767. Coded silence comes back as 0 or as one step off it.
ROUNDING = 1


def muted(sound: NDArray[np.int16]) -> bool:
    """Whether there is nothing in it but the rounding of silence."""
    return int(np.abs(sound.astype(np.int32)).max(initial=0)) <= ROUNDING


def read_waveform(
    path: str | Path, start_s: float | None, end_s: float | None, sample_rate: int, seconds: float
) -> tuple[NDArray[np.int16], str]:
    """Mono sound (sample_rate * seconds,) int16 from start_s on, and the decoder's name; silence after end_s.

    Samples lie where their time stamps say: a hole in the stream is silence, and sound that begins late begins late.
    Raises ClipError; "damaged" when more than LOST of it does not decode.
    """
    begin = start_s or 0.0
    length = round(sample_rate * seconds)
    limit_s = begin + seconds if end_s is None else min(end_s, begin + seconds)
    sound = np.zeros(length, dtype=np.int16)
    heard, first_s, last_s = 0, 0.0, 0.0
    lost: list[str] = []
    with open_media(path) as container:
        stream, zero = stream_of(container, "audio"), origin(container)
        if begin > 1:
            try:
                container.seek(int((begin - 0.5 + zero) / stream.time_base), stream=stream)
            except av.FFmpegError as error:
                raise ClipError("too_short", f"no sound at {begin:.2f} s: {one_line(error.strerror)}") from error
        for at_s, samples in _resampled(decoded(container, stream, lost), zero, limit_s, sample_rate):
            first_s, last_s = first_s if last_s else at_s, at_s + len(samples) / sample_rate
            first = round((at_s - begin) * sample_rate)
            piece = samples[max(0, -first) : max(0, min(length, round((limit_s - begin) * sample_rate)) - first)]
            sound[max(0, first) : max(0, first) + len(piece)] = piece
            heard += len(piece)
        claims = bool(stream.duration or container.duration)
    if not last_s and claims and encrypted(Path(path)):
        raise ClipError("unsupported", "the file is encrypted")
    if lost and heard < (1 - LOST) * sample_rate * ((limit_s if end_s is not None else last_s) - begin):
        raise ClipError("damaged", f"{len(lost)} packets of sound do not decode: {lost[-1]}")
    if heard < (1 - HOLES) * sample_rate * (min(last_s, limit_s) - max(first_s, begin)):
        raise ClipError("damaged", f"{heard / sample_rate:.2f} s of sound between {begin:.2f} and {limit_s:.2f} s")
    if not heard and start_s is None and claims:
        raise ClipError("damaged", "the audio stream holds no samples")
    # A window that ends before `seconds` do is judged as asked; without an end, sound may be as short as it is.
    window(begin or None, None if end_s is None else limit_s, 0.0, last_s)
    return sound, "pyav"


def _resampled(frames: Iterator[Any], zero: float, limit_s: float, rate: int) -> Iterator[tuple[float, NDArray]]:
    """(second at which it starts, samples (n,) int16 mono at `rate`) in order of time, until limit_s."""
    resampler, next_s, out_s = None, 0.0, 0.0
    for frame in frames:
        # Of several frames in one packet (AMR in 3GP), the first one has a time.
        at_s = next_s if frame.pts is None else float(frame.pts * frame.time_base) - zero
        if resampler is not None and abs(at_s - next_s) > HOLE_S:
            yield from _drain(resampler, None, out_s)
            resampler = None
        if at_s >= limit_s:
            # Nothing of it is wanted, but it tells that what is missing before it is a hole and not the end.
            yield at_s, np.zeros(0, dtype=np.int16)
            break
        if resampler is None:
            resampler, out_s = av.AudioResampler(format="s16", layout="mono", rate=rate), at_s
        next_s = at_s + frame.samples / frame.sample_rate
        frame.pts = None
        for at, samples in _drain(resampler, frame, out_s):
            yield at, samples
            out_s = at + len(samples) / rate
    if resampler is not None:
        yield from _drain(resampler, None, out_s)


def _drain(resampler: Any, frame: Any, out_s: float) -> Iterator[tuple[float, NDArray]]:
    for part in resampler.resample(frame):
        samples = part.to_ndarray()[0]
        yield out_s, samples
        out_s += len(samples) / part.sample_rate
