"""Audio: the waveform of a clip (sample_rate * seconds,) int16 mono, cut or filled up with silence."""

from typing import Any

import numpy as np

from modalens.modalities._base import CONTAINERS, Array, Attempt, Modality
from modalens.modalities._similarity import SequenceSimilarity
from modalens.utils.errors import UserError

NOISE_STD = 3276.8  # a tenth of full scale
FULL_SCALE = 32_768  # int16
STEP_S = 0.025  # the sketch: time between steps
STEPS_WIDE = 4  # so much of the audio is in a step
BANDS = 24
LOWEST_HZ, HIGHEST_HZ = 200.0, 6000.0  # what codecs keep even at low rates
FLOOR = 1e-5  # power added before the logarithm: what lies deeper is a coder's noise
QUIET = 1e-4  # of full scale; a step that never gets louder is silent
WORD_STEPS, WORD_BANDS = 16, 8  # the word has a bit for each of their product
NEAR = 0.94
SHIFT_S = 1.5  # a copy may begin so much earlier or later
CHANNELS = ("mix", "loudest")
SHOWN_SIDE = 128  # pixels of a spectrogram for a reader


class Audio(Modality):
    form = "waveforms"
    axes = ("time",)
    label = "Audio"
    color = "#D55E00"
    blank_name = "silent"
    shown_axes = ("-mel", "time")
    keep = True
    suffixes = (*CONTAINERS, ".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma")
    word_tolerance = 0.15

    def __init__(self, *, sample_rate: int = 16_000, seconds: float = 10.0, channel: str = "mix") -> None:
        """sample_rate: samples a second. seconds: of a row; longer clips are cut, shorter ones end in silence.

        channel: "mix" of all channels, or the "loudest": where the mix loses the audio, its status says `lost_in_mix`.
        """
        self.seconds: float
        if sample_rate < 1 or round(sample_rate * seconds) < 1:
            raise UserError(f"audio: {seconds} s at {sample_rate} Hz hold no sample")
        if channel not in CHANNELS:
            raise UserError(f"audio: channel: expected {' or '.join(CHANNELS)}, got {channel!r}")
        self.sample_rate, self.seconds, self.channel = sample_rate, seconds, channel

    def attributes(self) -> dict[str, Any]:
        made = {"form": self.form, "sample_rate": self.sample_rate, "seconds": self.seconds}
        # Rows from before there was a choice are mixes.
        return made if self.channel == "mix" else {**made, "channel": self.channel}

    def attempts(self) -> list[Attempt]:
        from modalens.media.audio import read_waveform  # a decoder: seconds, and not everywhere

        return [(read_waveform, (self.sample_rate, self.seconds, self.channel))]

    def flag(self, row: Array, *cells: Any) -> str:
        from modalens.media.audio import muted

        del cells
        return "muted" if muted(row) else ""

    def blank(self) -> Array:
        return np.zeros(round(self.sample_rate * self.seconds), np.int16)

    def noise(self, draw: np.random.Generator) -> Array:
        """White noise."""
        limits = np.iinfo(np.int16)
        values = draw.normal(0, NOISE_STD, round(self.sample_rate * self.seconds))
        return values.round().clip(limits.min, limits.max).astype(np.int16)

    def sketch(self, row: Array) -> Array:
        """(S,) int16 -> (T, BANDS) float16: logarithm of power in bands, a row each STEP_S; NaN where there is silence.

        The idea of Haitsma and Kalker 2002, kept as numbers: what changes over time in a band survives coding.
        """
        hop = max(1, round(self.sample_rate * STEP_S))
        width = STEPS_WIDE * hop
        samples = np.zeros(max(len(row), width), np.float32)
        samples[: len(row)] = row.astype(np.float32) / FULL_SCALE
        steps = np.lib.stride_tricks.sliding_window_view(samples, width)[::hop]
        power = np.abs(np.fft.rfft(steps * np.hanning(width).astype(np.float32), axis=1)) ** 2 / width
        # Double precision: a faint band is the difference of two sums that a loud one may fill.
        total = np.cumsum(np.pad(power, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
        edges = np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, 0.45 * self.sample_rate), BANDS + 1)
        cuts = np.searchsorted(np.fft.rfftfreq(width, 1 / self.sample_rate), edges)
        sketch = np.log(np.maximum(total[:, cuts[1:]] - total[:, cuts[:-1]], 0) + FLOOR)
        sketch[np.abs(steps).max(axis=1) < QUIET] = np.nan
        return sketch.astype(np.float16)

    def word(self, sketch: Array) -> str:
        """32 hexadecimal digits: a bit for each part of time and band, whether it is louder there than in the part
        before."""
        quietest = np.float32(np.log(FLOOR))
        levels = np.where(np.isnan(sketch), quietest, sketch).astype(np.float32)
        parts = np.array_split(levels, WORD_STEPS + 1)
        parts = [part.mean(axis=0) if len(part) else np.full(BANDS, quietest) for part in parts]
        pooled = np.stack(parts).reshape(WORD_STEPS + 1, WORD_BANDS, -1).mean(axis=2)
        return np.packbits(np.diff(pooled, axis=0) > 0).tobytes().hex()

    def similarity(self, sketches: Array) -> SequenceSimilarity:
        return SequenceSimilarity(sketches, NEAR, STEP_S, SHIFT_S)

    def show(self, row: Array) -> Array:
        """Spectrogram, grey, low frequencies at the bottom: (128, at most 128, 3)."""
        width = 512
        steps = np.lib.stride_tricks.sliding_window_view(np.pad(row.astype(np.float32), (0, width)), width)
        steps = steps[:: max(1, len(row) // SHOWN_SIDE)][:SHOWN_SIDE]
        power = np.abs(np.fft.rfft(steps * np.hanning(width), axis=1))[:, :-1] ** 2
        levels = np.log(power.reshape(len(steps), SHOWN_SIDE, -1).mean(axis=2) + FULL_SCALE)
        levels = (levels - levels.min()) / max(float(np.ptp(levels)), 1e-6)
        return np.repeat((255 * levels.T[::-1, :, None]).astype(np.uint8), 3, axis=2)
