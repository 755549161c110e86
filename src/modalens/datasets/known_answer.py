"""Clips drawn from a stated joint distribution, so that each modality's worth is known in closed form.

A clip carries three independent components, each with a symbol in the video (v) and one in the audio (a) of C, or
neutral. The tasks label the same clips differently:
    component 1: v, a independent and uniform.  seen = v.  heard = a.  both = (v + a) mod C.
    components 2 and 3: a latent symbol z, uniform, written in either modality unless erased there (neutral),
    independently, with the chances `erasures`.  either = z of component 2.  mostly_seen = z of component 3.
Components are independent, so a task's answer follows from its own component alone.
"""

import string
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modalens.datasets._base import Dataset
from modalens.datasets._rendering import Drawing, render
from modalens.media.sources import DownloadOptions, Fetched
from modalens.stats.information import Joint, bayes_accuracy, decomposition, log_probability, shapley, shares
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

TASKS = {
    "seen": "Only the video tells the label.",
    "heard": "Only the audio tells the label.",
    "both": "The label is the sum of the video's and the audio's symbol modulo their number: neither tells it alone.",
    "either": "Video and audio both show the label, each of them now and then nothing.",
    "mostly_seen": "Video and audio both show the label, the audio more often nothing than the video.",
}
ERASURES = {"either": {"audio": 0.15, "video": 0.15}, "mostly_seen": {"audio": 0.6, "video": 0.2}}
MODALITIES = ("audio", "video")


class KnownAnswer(Dataset):
    """clips: how many; more keep the first ones. symbols: C, 2-6, the number of classes. seconds, fps, size (pixels,
    square): of a clip. clips_per_group: clips that count as cut from one source video. erasures: see ERASURES.
    """

    def __init__(
        self,
        tasks: list[str],
        *,
        clips: int = 600,
        seed: int = 0,
        symbols: int = 3,
        seconds: float = 2.0,
        fps: int = 16,
        size: int = 64,
        clips_per_group: int = 1,
        erasures: dict[str, dict[str, float]] | None = None,
    ) -> None:
        for task in tasks:
            if task not in TASKS:
                raise UserError(f"dataset known_answer has no task {task!r}; {suggest(task, TASKS)}")
        self.tasks = tasks
        self.clips, self.seed = _whole("clips", clips, 1), _whole("seed", seed, 0)
        self.symbols = _whole("symbols", symbols, 2, 6)
        self.size = _whole("size", size, 16, 1024)
        self.fps = _whole("fps", fps, 1, 120)
        self.clips_per_group = _whole("clips_per_group", clips_per_group, 1)
        self.seconds = _number("seconds", seconds, 0.5, 600)
        if self.size % 2:
            raise UserError(f"dataset known_answer: size is an even number of pixels, not {size}: H.264 wants it so")
        if round(self.seconds * self.fps) < 16:
            raise UserError(
                f"dataset known_answer: {seconds} s at {fps} frames/s is under 16 frames; raise one of them"
            )
        self.erasures = _erasures(erasures or {})

    def manifest(self) -> pd.DataFrame:
        """One row a clip; nothing is rendered yet. Clip i depends on the seed and i alone."""
        return pd.DataFrame([self._row(clip) for clip in range(self.clips)])

    def inputs(self) -> list[Path]:
        return []

    def answers(self) -> dict[str, dict[str, Any]]:
        return {task: _answer(self.joint(task)) | {"description": TASKS[task]} for task in self.tasks}

    def joint(self, task: str) -> Joint:
        """p(label, audio symbol, video symbol) of the task's component: (C, C + 1, C + 1), the last symbol neutral."""
        count = self.symbols
        table = np.zeros((count, count + 1, count + 1))
        if task in self.erasures:
            lost = self.erasures[task]
            for label, audio_lost, video_lost in product(range(count), (False, True), (False, True)):
                chance = lost["audio"] if audio_lost else 1 - lost["audio"]
                chance *= lost["video"] if video_lost else 1 - lost["video"]
                table[label, count if audio_lost else label, count if video_lost else label] += chance / count
        else:
            for audio, video in product(range(count), repeat=2):
                table[self._labels(audio, video)[task], audio, video] = 1 / count**2
        return Joint(MODALITIES, table)

    def _labels(self, audio: int, video: int) -> dict[str, int]:
        return {"seen": video, "heard": audio, "both": (video + audio) % self.symbols}

    def _row(self, clip: int) -> dict[str, str]:
        # Drawn in this order whatever the tasks are: a study with other tasks has the same clips.
        generator = np.random.default_rng([self.seed, clip])
        first_audio, first_video, *latent = (int(symbol) for symbol in generator.integers(self.symbols, size=4))
        labels = self._labels(first_audio, first_video)
        symbols: dict[str, list[int | None]] = {"audio": [first_audio], "video": [first_video]}
        for (task, lost), symbol in zip(self.erasures.items(), latent, strict=True):
            labels[task] = symbol
            for modality in MODALITIES:
                symbols[modality].append(None if generator.random() < lost[modality] else symbol)
        names = {task: string.ascii_uppercase[labels[task]] for task in self.tasks}
        group = clip // self.clips_per_group
        return {
            "clip_id": f"ka-{clip:05d}",
            "source": self._source(clip, symbols),
            "start_s": "",
            "end_s": "",
            "group": f"ka-{clip:05d}" if self.clips_per_group == 1 else f"group-{group:05d}",
            "split": "",
            "text": "",
            **names,
        }

    def _source(self, clip: int, symbols: dict[str, list[int | None]]) -> str:
        return Drawing(
            video=tuple(symbols["video"]),
            audio=tuple(symbols["audio"]),
            symbols=self.symbols,
            seconds=self.seconds,
            fps=self.fps,
            size=self.size,
            seed=self.seed,
            clip=clip,
        ).source()

    @staticmethod
    def fetch(
        source: str, start_s: float | None, end_s: float | None, destination: Path, _options: DownloadOptions
    ) -> Fetched:
        """Render the clip that `source` describes to `destination` + .mp4."""
        path = destination.with_name(destination.name + ".mp4")
        render(Drawing.of(source), path)
        return Fetched(path, start_s, end_s)


def _answer(joint: Joint) -> dict[str, Any]:
    """What manifest/answers.json says of a task. log_probability in nats, information in bits."""
    accuracy, score = bayes_accuracy(joint), log_probability(joint)
    share = shares(shapley(accuracy))
    return {
        "bayes_accuracy": _rounded(accuracy),
        "shapley_accuracy": _rounded(shapley(accuracy)),
        "share": _rounded(share),
        "log_probability": _rounded(score),
        "shapley_log_probability": _rounded(shapley(score)),
        "information_bits": _rounded(decomposition(joint)),
        "dominant": _dominant(share),
    }


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Ten digits hide the last bits, which differ between machines; adding zero turns -0.0 into 0.0."""
    return {name: None if value is None else round(value, 10) + 0.0 for name, value in values.items()}


def _dominant(share: Mapping[str, float | None]) -> str:
    audio, video = share["audio"] or 0.0, share["video"] or 0.0
    if abs(audio - video) < 1e-9:
        return "neither"
    return "audio" if audio > video else "video"


def _erasures(given: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Defaults with the given chances in their place."""
    merged = {task: dict(chances) for task, chances in ERASURES.items()}
    for task, chances in given.items():
        if task not in merged or not isinstance(chances, dict):
            raise UserError(
                f"dataset known_answer: erasures are {{task: {{modality: chance}}}} for {', '.join(merged)}"
            )
        for modality, chance in chances.items():
            if modality not in MODALITIES:
                raise UserError(f"dataset known_answer: erasures.{task} is of audio and video, not {modality!r}")
            merged[task][modality] = _number(f"erasures.{task}.{modality}", chance, 0, 1)
    return merged


def _whole(name: str, value: Any, least: int, most: int = 10**6) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UserError(f"dataset known_answer: {name} is a whole number from {least} to {most}, not {value!r}")
    return value


def _number(name: str, value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise UserError(f"dataset known_answer: {name} is a number from {least:g} to {most:g}, not {value!r}")
    return float(value)
