"""A clip drawn from symbols: flat colours in the video, tones in the audio, as real H.264 and AAC in MP4.

Video: PARTS equal parts of time; part i shows component i % 3, so the centres of 8 equal parts see each component
two or three times. Audio: each component sounds all the time in its own octave. Symbol None is neutral: a black
part, a silent octave.
"""

import colorsys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import av
import numpy as np
from numpy.typing import NDArray

from modalens.utils.files import atomic

COMPONENTS = 3
PARTS = 8
SAMPLE_RATE = 16000
LOWEST_PITCHES = (300.0, 840.0, 2352.0)  # Hz; an octave each with a gap between, well under half the sample rate
TONE = 0.2  # amplitude; full scale is 1
HISS = 0.005  # standard deviation; full scale is 1
GRAIN = 6.0  # standard deviation in grey levels, of 255
NEUTRAL = "-"


@dataclass(frozen=True)
class Drawing:
    """All that a clip is made from. video, audio: one symbol of 0..symbols-1 a component, None for neutral."""

    video: tuple[int | None, ...]
    audio: tuple[int | None, ...]
    symbols: int
    seconds: float
    fps: int
    size: int
    seed: int
    clip: int

    def source(self) -> str:
        """The drawing as a URI, which is all that rendering needs."""
        values: dict[str, Any] = vars(self) | {"video": _written(self.video), "audio": _written(self.audio)}
        return "known_answer:" + urlencode(values)

    @classmethod
    def of(cls, source: str) -> "Drawing":
        values = dict(parse_qsl(source.removeprefix("known_answer:")))
        whole = {name: int(values[name]) for name in ("symbols", "fps", "size", "seed", "clip")}
        return cls(_parsed(values["video"]), _parsed(values["audio"]), seconds=float(values["seconds"]), **whole)


def _written(symbols: tuple[int | None, ...]) -> str:
    return "".join(NEUTRAL if symbol is None else str(symbol) for symbol in symbols)


def _parsed(text: str) -> tuple[int | None, ...]:
    return tuple(None if letter == NEUTRAL else int(letter) for letter in text)


def colour(component: int, symbol: int | None, symbols: int) -> tuple[int, int, int]:
    """RGB. A component's hues lie evenly round the wheel, the components' wheels are turned against each other."""
    if symbol is None:
        return (0, 0, 0)
    turn = (0.0, 0.5, 0.25)[component]
    red, green, blue = colorsys.hsv_to_rgb((symbol + turn) / symbols, 1, 1)
    return round(255 * red), round(255 * green), round(255 * blue)


def pitch(component: int, symbol: int, symbols: int) -> float:
    """Hz: the component's octave in equal musical steps, both ends included."""
    return float(LOWEST_PITCHES[component] * 2 ** (symbol / (symbols - 1)))


def picture(drawing: Drawing) -> NDArray[np.uint8]:
    """(frames, size, size, 3) RGB: the colours, with grain and a grey square that wanders, so that it is a video."""
    generator = np.random.default_rng([drawing.seed, drawing.clip, 1])
    count, size = round(drawing.seconds * drawing.fps), drawing.size
    shown = [colour(part % COMPONENTS, drawing.video[part % COMPONENTS], drawing.symbols) for part in range(PARTS)]
    flat = np.array(shown, np.float32)[np.arange(count) * PARTS // count]
    frames = np.repeat(flat[:, None, None, :], size * size, axis=1).reshape(count, size, size, 3)
    side = size // 8
    path = generator.integers(size - side, size=2) + np.outer(np.arange(count), generator.integers(-2, 3, size=2))
    for frame, (top, left) in zip(frames, path % (size - side), strict=True):
        frame[top : top + side, left : left + side] = 128
    frames += GRAIN * generator.standard_normal((count, size, size, 1), np.float32)
    return frames.clip(0, 255).astype(np.uint8)


def sound(drawing: Drawing) -> NDArray[np.float32]:
    """(samples,) mono in -1..1 at SAMPLE_RATE: the tones, each with its own phase and loudness, over hiss."""
    generator = np.random.default_rng([drawing.seed, drawing.clip, 2])
    time = np.arange(round(drawing.seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    wave = HISS * generator.standard_normal(len(time), np.float32)
    phases, loudness = generator.uniform(0, 2 * np.pi, COMPONENTS), generator.uniform(0.8, 1.2, COMPONENTS)
    for component, symbol in enumerate(drawing.audio):
        if symbol is not None:
            turns = 2 * np.pi * pitch(component, symbol, drawing.symbols) * time + phases[component]
            wave += TONE * loudness[component] * np.sin(turns)
    return wave.astype(np.float32)


def render(drawing: Drawing, path: Path) -> None:
    """Write the MP4. Equal drawings give equal pictures and sounds."""
    with atomic(path) as hidden, av.open(str(hidden), "w", format="mp4") as container:
        # Fast settings, which halve the time: flat colours and lone tones come through them unharmed.
        options = {"preset": "ultrafast", "crf": "28", "threads": "1"}
        video = container.add_stream("libx264", rate=drawing.fps, options=options)
        video.width = video.height = drawing.size
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options={"aac_coder": "fast"})
        audio.bit_rate = 48000
        for index, image in enumerate(picture(drawing)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, drawing.fps)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(sound(drawing)[None], format="fltp", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))
