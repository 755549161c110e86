"""Media files through PyAV: opening one with the true cause of a failure, its streams, and what is in them.

Times are seconds since the start of the file, as a player counts them: the file's first time stamp is 0.
"""

import contextlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from modalens.media.failure_causes import ClipError, one_line

# A window may end this much of its length after the media does: annotations are rounded.
OVERRUN = 0.05
SIGNATURES = (
    b"\x1aE\xdf\xa3", b"OggS", b"FLV", b"RIFF", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"ID3", b"fLaC", b"0&\xb2u",
)  # fmt: skip
# FFmpeg calls these media; a clip never is one. A playlist could even make it open other addresses.
NOT_CLIPS = ("image2", "_pipe", "tty", "hls", "concat", "dash", "webvtt", "srt", "ass", "ffmetadata")
HEAD_BYTES = 1 << 20
REORDERED = 16  # frames that a decoder may hold back to put them in order: the most of H.264 and HEVC
# FFmpeg's decoders of these check where data ends when they work with two threads on a picture, not with one.
UNCHECKED = ("vp8", "vp9")


@contextlib.contextmanager
def open_media(path: str | Path) -> Iterator[Any]:
    """A PyAV container. Raises ClipError: missing, not_media, damaged or unsupported (encrypted)."""
    path = Path(path)
    if not path.is_file():
        raise ClipError("missing", f"no file {path.name}")
    if not path.stat().st_size:
        raise ClipError("not_media", "the file is empty")
    try:
        # "file:" keeps a name such as `http:x` or `concat:y` a file's name.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError, UnicodeError) as error:
        raise ClipError(_why(path), _said(error)) from error
    with container:
        if any(word in container.format.name for word in NOT_CLIPS):
            raise ClipError("not_media", f"{container.format.long_name or container.format.name}, not a clip")
        yield container


def stream_of(container: Any, kind: str) -> Any:
    """The first stream of a kind ("video" or "audio") that can be decoded; cover pictures are none.

    Raises ClipError: no_video, no_audio, or unsupported where only the decoder is missing.
    """
    undecodable = None
    for stream in container.streams:
        if stream.type != kind or stream.disposition & av.stream.Disposition.attached_pic:
            continue
        if stream.codec_context is not None:
            stream.codec_context.thread_count = 1
            if stream.codec_context.name in UNCHECKED:
                stream.codec_context.thread_count, stream.codec_context.thread_type = 2, "SLICE"
            if kind == "video":
                # Else FFmpeg fills what it cannot decode with what was there before, and says nothing.
                stream.codec_context.options = {"err_detect": "explode"}
            return stream
        undecodable = stream
    if undecodable is not None:
        raise ClipError("unsupported", f"no decoder for {kind} stream {undecodable.index}")
    raise ClipError(f"no_{kind}", f"no {kind} among {len(container.streams)} streams")


def probe(path: str | Path) -> dict[str, Any]:
    """{"duration_s": last end of a picture or sound that is really in the file, "video": text, "audio": text}.

    A text is such as `h264 320x240 25fps` or `aac 44100Hz 2ch`, empty for a stream that is not there. Raises ClipError
    when there is neither. Every packet is visited, none decoded: what a header claims is no proof.
    """
    with open_media(path) as container:
        streams, errors = {}, []
        for kind in ("video", "audio"):
            try:
                streams[kind] = stream_of(container, kind)
            except ClipError as error:
                errors.append(error)
        if not streams:
            unsupported = [error for error in errors if error.cause == "unsupported"]
            raise unsupported[0] if unsupported else ClipError("not_media", "neither picture nor sound in it")
        texts = {kind: _describe(streams[kind]) if kind in streams else "" for kind in ("video", "audio")}
        ends = []
        for packet in packets(container, list(streams.values())):
            if packet.pts is not None:
                ends.append(float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if not ends:
            raise nothing_in(path, container)
        return {"duration_s": max(0.0, max(ends) - origin(container)), **texts}


def window(start_s: float | None, end_s: float | None, first_s: float, last_s: float) -> tuple[float, float]:
    """The part of [start_s, end_s] where media is: all of it but for OVERRUN, else ClipError too_short.

    None begins with the first frame and ends with the last. What begins before the first frame by less than OVERRUN
    begins with it.
    """
    begin = first_s if start_s is None else start_s
    end = last_s if end_s is None else end_s
    slack = OVERRUN * (end - begin)
    # An explicit 0 means "from the start", even where sound begins a moment before the picture.
    if end > last_s + slack or (start_s and begin < first_s - slack) or min(end, last_s) <= max(begin, first_s):
        raise ClipError("too_short", f"{begin:.2f} to {end:.2f} s wanted, {first_s:.2f} to {last_s:.2f} s there")
    return max(begin, first_s), min(end, last_s)


def origin(container: Any) -> float:
    """The file's first time stamp in seconds: its time 0."""
    return (container.start_time or 0) / av.time_base


def decoded(container: Any, stream: Any, lost: list[str] | None = None, sought: bool = False) -> Iterator[Any]:
    """Decoded pictures that have a time, or sound. A packet that does not decode is passed over and noted in `lost`.

    So is a damaged picture, and what follows until the next key frame: it was drawn on top of the damage. And so is
    what comes before the first key frame where that was sought: a damaged index leads to other places.
    """
    picture, broken = stream.type == "video", sought
    # A damaged frame comes out after those that are shown before it and were drawn from it.
    order: dict[int, int] = {}
    held: deque[Any] = deque()
    queue = container.demux(stream)
    while True:
        try:
            packet = next(queue)
        except (StopIteration, av.FFmpegError):
            yield from held
            return
        order[packet.pts] = len(order)
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if lost is not None:
                lost.append(one_line(error.strerror))
            broken = picture
            continue
        for frame in frames:
            broken = (broken and not frame.key_frame) or (picture and frame.is_corrupt)
            if picture and frame.is_corrupt:
                place = order.get(frame.pts, 0)
                held = deque(earlier for earlier in held if order.get(earlier.pts, 0) < place)
            if not broken and not (picture and frame.pts is None):
                held.append(frame)
            if held and (not picture or len(held) > REORDERED):
                yield held.popleft()


def packets(container: Any, streams: list) -> Iterator[Any]:
    """Packets that hold something, up to where the file breaks off."""
    with contextlib.suppress(av.FFmpegError):
        for packet in container.demux(streams):
            if packet.size:
                yield packet


def nothing_in(path: str | Path, container: Any) -> ClipError:
    """Why a file with streams has no packets in them."""
    if encrypted(Path(path)):
        return ClipError("unsupported", "the file is encrypted")
    if container.duration:
        return ClipError("damaged", f"{container.duration / av.time_base:.1f} s by its header, nothing in the streams")
    return ClipError("too_short", "the streams are empty")


def _describe(stream: Any) -> str:
    codec, name = stream.codec_context, stream.codec_context.codec.canonical_name
    if stream.type == "video":
        rate = stream.average_rate
        return f"{name} {codec.width}x{codec.height}" + (f" {float(rate):.5g}fps" if rate else "")
    return f"{name} {codec.sample_rate}Hz {codec.channels}ch"


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
