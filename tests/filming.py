"""Small real media files for tests: every frame and every sample says when it was."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 16000
MILLISECOND = Fraction(1, 1000)


def film(
    path: Path,
    times_ms: list[int],
    codec: str = "libx264",
    sound: np.ndarray | None = None,
    size: int = 64,
    keys: int = 12,
) -> Path:
    """Frame k is picture(k), shown from times_ms[k] on. sound: float (n,) at RATE."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.width = video.height = size
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        video.time_base, video.gop_size = MILLISECOND, keys
        video.codec_context.time_base = MILLISECOND
        audio = container.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
        for index, shown in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(picture(index, size), format="rgb24")
            frame.pts, frame.time_base = shown, video.codec_context.time_base
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None and sound is not None:
            speak(container, audio, sound, 0)
            container.mux(audio.encode())
    return path


def picture(index: int, size: int) -> np.ndarray:
    """Tens of the index as the grey of the left half, units as that of the right: far apart for any codec."""
    tens, units = divmod(index, 10)
    halves = np.repeat([20 + 20 * tens, 20 + 20 * units], size // 2)
    return np.broadcast_to(halves[None, :, None], (size, size, 3)).astype(np.uint8)


def speak(container: av.container.OutputContainer, stream: av.AudioStream, sound: np.ndarray, start: int) -> None:
    for first in range(0, len(sound), 1024):
        part = (sound[None, first : first + 1024] * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start + first, Fraction(1, RATE)
        container.mux(stream.encode(frame))


def shown(frames: np.ndarray) -> list[int]:
    """Index of each frame (below 100), read from its picture."""
    quarter = frames.shape[2] // 4
    sides = np.stack([frames[:, :, :quarter].mean((1, 2, 3)), frames[:, :, -quarter:].mean((1, 2, 3))])
    tens, units = np.rint((sides - 20) / 20).astype(int)
    return [int(index) for index in 10 * tens + units]
