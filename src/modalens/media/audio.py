"""The audio of a window of a clip, by PyAV: it reads that window and nothing else."""

from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

from modalens.media.audio_clock import Piece, channel_powers, pieces
from modalens.media.container import (
    encrypted,
    opened,
    origin,
    packets,
    stream_of,
)
from modalens.media.failure_causes import ClipError, note, one_line
from modalens.media.promise import Ends, cut_short, promised
from modalens.media.reading import Damage, decoded
from modalens.media.windows import AtMost, window
from modalens.utils.words import counted

# Share of the audio that may be lost to damage: less than a listener notices.
LOST = 0.05
# Read before the window, in seconds: decoders need some packets to settle.
PREROLL_S = 0.5
# Of 32767. Coded silence comes back as 0 or as one step off it.
ROUNDING = 1
# Codecs that send nothing while nobody speaks.
DISCONTINUOUS = ("opus", "amr_nb", "amr_wb", "speex", "silk", "evrc", "qcelp", "g729", "g723_1")
# Formats without time stamps: FFmpeg counts, and counts wrong after another rate.
UNSTAMPED = ("aac", "ac3", "amr", "dts", "eac3", "mp3")
# Power of the mono mix by that of the loudest channel, below which the audio is called lost: -20 dB.
LOST_IN_MIX = 0.01

Samples = NDArray[np.int16]
Channel = Literal["mix", "loudest"]


def muted(samples: Samples) -> bool:
    """Whether there is nothing in it but the rounding of silence."""
    return int(np.abs(samples.astype(np.int32)).max(initial=0)) <= ROUNDING


def read_waveform(
    path: str | Path,
    start_s: float | None,
    end_s: float | None,
    sample_rate: int,
    seconds: float,
    channel: Channel = "mix",
) -> tuple[Samples, str]:
    """Mono audio (sample_rate * seconds,) int16 from start_s on, and the decoder's name; silence after end_s.

    Samples lie where the stream's time stamps say: a gap is silence of its length, and audio that begins late begins
    late. channel: "mix" is FFmpeg's mono mix, "loudest" the one channel with the most power. Raises ClipError;
    "damaged" when more than LOST of it does not decode, or FFmpeg complains of the container. Warns with ClipNote:
    cut_short, gaps, lost_in_mix.
    """
    begin = start_s or 0.0
    limit_s = begin + seconds if end_s is None else min(end_s, begin + seconds)
    end_s = None if isinstance(end_s, AtMost) else end_s
    row = _Row(begin, limit_s, sample_rate, round(sample_rate * seconds))
    damage = Damage(begin, limit_s)
    with opened(path) as (container, opening):
        stream, zero = stream_of(container, "audio"), origin(container)
        damage.after_s, damage.before_s = begin + zero, limit_s + zero
        damage.container += opening.errors
        if begin > 1:
            try:
                container.seek(int((begin - PREROLL_S + zero) / stream.time_base), stream=stream)
            except av.FFmpegError as error:
                raise ClipError("too_short", f"no audio at {begin:.2f} s: {one_line(error.strerror)}") from error
        zero -= _delay_s(container, stream)
        stamped = container.format.name not in UNSTAMPED
        frames = decoded(container, stream, damage)
        for piece in pieces(frames, zero, limit_s, sample_rate, mix=channel == "mix", stamped=stamped):
            row.add(piece)
        codec, claims = stream.codec_context.codec.canonical_name, bool(stream.duration or container.duration)
        promise = promised(container, stream, opening) if end_s is None else None
    last_s = row.last_s
    if last_s is None and claims and encrypted(Path(path)):
        raise ClipError("unsupported", "the file is encrypted")
    if damage.container:
        raise ClipError("damaged", f"errors in the container ({len(damage.container)}): {damage.container[0]}")
    everything_s = last_s or 0.0
    if everything_s < limit_s and (codec in DISCONTINUOUS or (promise is not None and promise.shared)):
        everything_s = max(everything_s, _last_packet_s(path))
    missing = cut_short(promise, everything_s if codec in DISCONTINUOUS else last_s or 0.0, everything_s)
    if codec in DISCONTINUOUS and last_s is not None:
        # Nobody speaks any more, while the video goes on.
        last_s = everything_s
    gap_s = 0.0 if codec in DISCONTINUOUS else row.gap_s()
    span_s = max(0.0, min(limit_s, last_s or 0.0) - begin)
    if damage.codec and damage.lost_s + gap_s > LOST * span_s:
        lost = counted(len(damage.codec), "packet of audio does", "packets of audio do")
        raise ClipError("damaged", f"{lost} not decode: {damage.codec[-1]}")
    if last_s is None and start_s is None and claims:
        raise ClipError("damaged", "the audio stream holds no samples")
    if last_s is None:
        raise ClipError("too_short", f"no audio from {begin:.2f} s on")
    # A window that ends before `seconds` do is judged as asked; without an end, audio may be as short as it is.
    window(begin or None, None if end_s is None else limit_s, 0.0, last_s or 0.0)
    if missing and (last_s or 0.0) < limit_s:
        note("cut_short", f"audio: {missing}")
    if gap_s > LOST * span_s:
        note("gaps", f"{gap_s:.2f} s without audio between {begin:.2f} and {min(limit_s, last_s or 0.0):.2f} s")
    samples = row.samples()
    _compare(row, samples)
    return samples, "pyav"


class _Row:
    """Where pieces of audio lie in a window, and what is heard of it."""

    def __init__(self, begin_s: float, limit_s: float, rate: int, length: int) -> None:
        self._begin_s, self._limit_s, self._rate, self._length = begin_s, limit_s, rate, length
        self._stop = min(length, round((limit_s - begin_s) * rate))
        self._pieces: list[tuple[int, NDArray[np.int16]]] = []
        self._there = np.zeros(length, dtype=bool)
        self.powers: dict[int, float] = {}
        self.first_s: float | None = None
        self.last_s: float | None = None

    def add(self, piece: Piece) -> None:
        """A piece without samples only says that there is something later."""
        self.first_s = piece.start_s if self.first_s is None else self.first_s
        end_s = piece.start_s + piece.samples.shape[1] / self._rate
        self.last_s = end_s if self.last_s is None else max(self.last_s, end_s)
        first = round((piece.start_s - self._begin_s) * self._rate)
        part = piece.samples[:, max(0, -first) : max(0, self._stop - first)]
        if part.shape[1]:
            self._pieces.append((max(0, first), part))
            self._there[max(0, first) : max(0, first) + part.shape[1]] = True
            for number, power in enumerate(piece.powers):
                self.powers[number] = self.powers.get(number, 0.0) + power

    def samples(self) -> Samples:
        """(length,): of several channels, the loudest."""
        row = np.zeros(self._length, dtype=np.int16)
        loudest = max(self.powers, key=lambda number: self.powers[number], default=0)
        for first, part in self._pieces:
            row[first : first + part.shape[1]] = part[min(loudest, len(part) - 1)]
        return row

    def gap_s(self) -> float:
        """Seconds of the window, from the first to the last sample, in which there is none."""
        if self.first_s is None or self.last_s is None:
            return 0.0
        first = round((max(self.first_s, self._begin_s) - self._begin_s) * self._rate)
        stop = round((min(self.last_s, self._limit_s) - self._begin_s) * self._rate)
        return float((~self._there[first : max(first, stop)]).sum() / self._rate)


def _compare(row: _Row, samples: Samples) -> None:
    """Note what the mix has lost. Channels that were loud before it must be heard after it."""
    loudest = max(row.powers.values(), default=0.0)
    mixed = channel_powers(samples[None])[0]
    # A step of 16 bits is no loudness.
    if len(row.powers) > 1 and loudest > len(samples) * (4 / 32768) ** 2 and mixed < LOST_IN_MIX * loudest:
        level = 10 * np.log10(max(mixed, 1e-12) / loudest)
        note("lost_in_mix", f"the mono mix is {-level:.0f} dB below the loudest of {len(row.powers)} channels")


def _delay_s(container: Any, stream: Any) -> float:
    """Seconds by which Opus in a Matroska file of older FFmpeg is later than its time stamps say.

    Older muxers moved all else by the encoder's delay (bytes 10 and 11 of RFC 7845, 5.1), and took it off the audio's
    time stamps again when they were read. The video that begins at just that delay tells of it.
    """
    codec = stream.codec_context
    if container.format.name != "matroska,webm" or codec.name not in ("opus", "libopus") or stream.start_time:
        return 0.0
    delay_s = int.from_bytes((codec.extradata or b"")[10:12], "little") / 48_000
    starts = [float((one.start_time or 0) * one.time_base) for one in container.streams if one.type == "video"]
    old = container.metadata.get("ENCODER", "").startswith("Lavf") and delay_s > 0
    return delay_s if old and any(abs(start - delay_s) <= 0.001 for start in starts) else 0.0


def _last_packet_s(path: str | Path) -> float:
    """Where the last packet of any video or audio ends."""
    with opened(path) as (container, _):
        ends = Ends()
        for packet in packets(container, [stream for stream in container.streams if stream.type in ("video", "audio")]):
            ends.add(packet)
        return (ends.last_s or 0.0) - origin(container)
