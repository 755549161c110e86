"""Pictures and a WAV -> one media file, nothing coded anew: JPEG and PCM as they are, in Matroska."""

import wave
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

from modalens.media.failure_causes import ClipError
from modalens.utils.files import atomic

PCM = {1: "pcm_u8", 2: "pcm_s16le"}


def write_reel(pictures: list[Path], rate: int, sound: Path, path: Path) -> None:
    """pictures: JPEG files of one size, `rate` a second; sound: a WAV of 8 or 16 bits. Raises ClipError."""
    try:
        with Image.open(pictures[0]) as first:
            size, kind = first.size, first.format
        with wave.open(str(sound), "rb") as recorded:
            form, samples = recorded.getparams(), recorded.readframes(recorded.getnframes())
    except FileNotFoundError as error:
        raise ClipError("missing", f"{error.filename} is not there") from error
    except (OSError, wave.Error, EOFError, Image.DecompressionBombError) as error:
        raise ClipError("not_media", str(error)) from error
    if kind != "JPEG" or form.sampwidth not in PCM:
        raise ClipError(
            "not_media", f"expected JPEG pictures and PCM of 8 or 16 bits, got {kind}, {form.sampwidth} bytes"
        )
    with atomic(path) as hidden, av.open(str(hidden), "w", format="matroska") as container:
        video = container.add_stream("mjpeg", rate=rate)
        video.width, video.height, video.pix_fmt = *size, "yuvj420p"
        audio = container.add_stream(
            PCM[form.sampwidth], rate=form.framerate, layout="mono" if form.nchannels == 1 else "stereo"
        )
        for index, picture in enumerate(pictures):
            _mux(container, video, picture.read_bytes(), index, Fraction(1, rate))
        if samples:
            _mux(container, audio, samples, 0, Fraction(1, form.framerate))


def _mux(
    container: "av.container.OutputContainer", stream: "av.stream.Stream", data: bytes, at: int, base: Fraction
) -> None:
    packet = av.Packet(data)
    packet.stream, packet.time_base, packet.is_keyframe = stream, base, True
    packet.pts = packet.dts = at
    container.mux(packet)
