"""What is really in a media file."""

from pathlib import Path
from typing import Any

from modalens.media.container import nothing_in, opened, origin, packets, stream_of
from modalens.media.failure_causes import ClipError
from modalens.media.promise import Ends, promised


def probe(path: str | Path) -> dict[str, Any]:
    """{"duration_s": end of the last frame or audio that is really in the file, "video": text, "audio": text,
    "promised_s": the end that the container promises, None where it promises none}.

    A text is such as `h264 320x240 25fps` or `aac 44100Hz 2ch`, empty for a stream that is not there. Raises ClipError
    when there is neither. Every packet is visited, none decoded: what a header claims is no proof.
    """
    with opened(path) as (container, opening):
        streams, errors = {}, []
        for kind in ("video", "audio"):
            try:
                streams[kind] = stream_of(container, kind)
            except ClipError as error:
                errors.append(error)
        if not streams:
            unsupported = [error for error in errors if error.cause == "unsupported"]
            raise unsupported[0] if unsupported else ClipError("not_media", "neither video nor audio in it")
        texts = {kind: _describe(streams[kind]) if kind in streams else "" for kind in ("video", "audio")}
        zero = origin(container)
        ends = Ends()
        for packet in packets(container, list(streams.values())):
            ends.add(packet)
        if ends.last_s is None:
            raise nothing_in(path, container)
        promises = [promised(container, stream, opening) for stream in streams.values()]
        latest = max((promise.end_s for promise in promises if promise), default=None)
        return {"duration_s": max(0.0, ends.last_s - zero), **texts, "promised_s": latest}


def _describe(stream: Any) -> str:
    codec, name = stream.codec_context, stream.codec_context.codec.canonical_name
    if stream.type == "video":
        rate = stream.average_rate
        return f"{name} {codec.width}x{codec.height}" + (f" {float(rate):.5g}fps" if rate else "")
    return f"{name} {codec.sample_rate}Hz {codec.channels}ch"
