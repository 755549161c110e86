"""Media files through PyAV: opening one with the true cause of a failure, its streams, and what is in them.

Times are seconds since the start of the file, as a player counts them: the file's first time stamp is 0.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from modalens.media.failure_causes import ClipError, one_line
from modalens.media.ffmpeg_log import BROKEN_OFF, ESTIMATED, Message, messages

SIGNATURES = (
    b"\x1aE\xdf\xa3", b"OggS", b"FLV", b"RIFF", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"ID3", b"fLaC", b"0&\xb2u",
)  # fmt: skip
# FFmpeg calls these media; a clip never is one. A playlist could even make it open other addresses.
NOT_CLIPS = ("image2", "_pipe", "tty", "hls", "concat", "dash", "webvtt", "srt", "ass", "ffmetadata")
HEAD_BYTES = 1 << 20
# FFmpeg's decoders of these check where data ends when they work with two threads on a frame, not with one.
UNCHECKED = ("vp8", "vp9")


@dataclass(frozen=True)
class Opening:
    """What FFmpeg said while it opened a file.

    errors: of the container, as far as FFmpeg read ahead; those of codecs come again when they decode. estimated: the
    duration is a guess from the bit rate, nothing that the file says.
    """

    errors: list[str]
    estimated: bool


@contextlib.contextmanager
def open_media(path: str | Path) -> Iterator[Any]:
    """A PyAV container. Raises ClipError: missing, not_media, damaged or unsupported (encrypted)."""
    with opened(path) as (container, _):
        yield container


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[tuple[Any, Opening]]:
    """Like open_media, and what FFmpeg said meanwhile."""
    path = Path(path)
    if not path.is_file():
        raise ClipError("missing", f"not found: {path.name}")
    if not path.stat().st_size:
        raise ClipError("not_media", "the file is empty")
    messages()
    try:
        # "file:" keeps a name such as `http:x` or `concat:y` a file's name.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError, UnicodeError) as error:
        raise ClipError(_why(path), _said(error)) from error
    with container:
        if any(word in container.format.name for word in NOT_CLIPS):
            raise ClipError("not_media", f"{container.format.long_name or container.format.name}, not a clip")
        said = messages()
        yield container, Opening(container_errors(container, said), any(ESTIMATED in one.text for one in said))


def container_errors(container: Any, said: list[Message]) -> list[str]:
    """What of it is an error of the container, and not that it breaks off."""
    codecs = {stream.codec_context.name for stream in container.streams if stream.codec_context is not None}
    return [one.text for one in said if one.error and one.speaker not in codecs and not BROKEN_OFF.search(one.text)]


def stream_of(container: Any, kind: str) -> Any:
    """The stream of a kind ("video" or "audio") that a player would choose; cover pictures are none.

    That is the first that is marked as default, else the first, of those that can be decoded. Raises ClipError:
    no_video, no_audio, or unsupported where only the decoder is missing.
    """
    there = [
        stream
        for stream in container.streams
        if stream.type == kind and not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not there:
        raise ClipError(f"no_{kind}", f"no {kind} among {len(container.streams)} streams")
    usable = [stream for stream in there if stream.codec_context is not None]
    if not usable:
        raise ClipError("unsupported", f"no decoder for {kind} stream {there[0].index}")
    default = [stream for stream in usable if stream.disposition & av.stream.Disposition.default]
    # A track without a codec's parameters is an empty one.
    filled = [stream for stream in [*default, *usable] if _filled(stream)]
    stream = filled[0] if filled else (default or usable)[0]
    stream.codec_context.thread_count = 1
    if stream.codec_context.name in UNCHECKED:
        stream.codec_context.thread_count, stream.codec_context.thread_type = 2, "SLICE"
    if kind == "video":
        # Else FFmpeg fills what it cannot decode with what was there before, and says nothing.
        stream.codec_context.options = {"err_detect": "explode"}
    return stream


def _filled(stream: Any) -> bool:
    codec = stream.codec_context
    return bool(codec.width and codec.height) if stream.type == "video" else bool(codec.sample_rate)


def origin(container: Any) -> float:
    """The file's first time stamp in seconds: its time 0."""
    return (container.start_time or 0) / av.time_base


def packets(container: Any, streams: list, report: Callable[[list[Message]], None] | None = None) -> Iterator[Any]:
    """Packets that hold something, up to where the file breaks off. report: gets what FFmpeg says meanwhile."""
    messages()
    queue = container.demux(streams)
    while True:
        try:
            packet = next(queue, None)
        except (av.FFmpegError, IndexError):  # PyAV: a stream that came up late, at the end
            packet = None
        if report is not None:
            report(messages())
        if packet is None:
            return
        if packet.size:
            yield packet
            if report is not None:
                messages()  # of whoever decodes meanwhile


def nothing_in(path: str | Path, container: Any) -> ClipError:
    """Why a file with streams has no packets in them."""
    if encrypted(Path(path)):
        return ClipError("unsupported", "the file is encrypted")
    if container.duration:
        return ClipError("damaged", f"{container.duration / av.time_base:.1f} s by its header, nothing in the streams")
    return ClipError("too_short", "the streams are empty")


def encrypted(path: Path) -> bool:
    """Common encryption (ISO/IEC 23001-7) marks protected tracks of an MP4 file with a `sinf` box."""
    with path.open("rb") as file:
        ends = file.read(HEAD_BYTES)
        file.seek(max(HEAD_BYTES, path.stat().st_size - HEAD_BYTES))
        ends += file.read(HEAD_BYTES)
    return b"ftyp" in ends[:64] and b"sinf" in ends and b"schm" in ends


def _why(path: Path) -> str:
    if encrypted(path):
        return "unsupported"
    with path.open("rb") as file:
        head = file.read(16)
    known = head.startswith(SIGNATURES) or head[4:8] in (b"ftyp", b"moov", b"mdat", b"styp")
    known |= len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2  # a frame of MPEG audio, layer III
    return "damaged" if known else "not_media"


def _said(error: BaseException) -> str:
    return one_line(getattr(error, "strerror", None) or error)
