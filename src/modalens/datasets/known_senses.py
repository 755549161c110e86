"""Clips of five modalities drawn from a stated joint distribution: audio, series, table, text and video.

A clip carries three independent components, each with a symbol of C, uniform, which some modalities write down or leave
out (erased there, independently, with a stated chance):
    everywhere: all five modalities write the symbol of component 1.
    written: the text alone writes that of component 2.
    sum: series and table write a symbol each of component 3; the label is their sum modulo C: neither tells it alone.
A clip may also lack its series, table or text altogether, by chance: then it says nothing there of any component.
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
from modalens.stats.information import Joint, bayes_accuracy, log_probability, shapley, shares
from modalens.utils.errors import UserError
from modalens.utils.files import write_if_changed
from modalens.utils.suggest import suggest

TASKS = {
    "everywhere": "Each modality shows the label, now and then nothing.",
    "sum": "The label is the sum of the symbols of series and table modulo their number: neither tells it alone.",
    "written": "Only the text tells the label.",
}
MODALITIES = ("audio", "series", "table", "text", "video")
ERASED = {"audio": 0.5, "series": 0.6, "table": 0.7, "text": 0.5, "video": 0.6}  # of component 1
MAY_LACK = ("series", "table", "text")
COLOURS = ("red", "green", "blue", "yellow", "violet", "brown")
MATERIALS = ("cotton", "leather", "steel", "glass", "paper", "clay")
SHAPES = ("round", "square", "long", "flat", "curved", "pointed")
STEPS = 40


class KnownSenses(Dataset):
    """folder: where the series files are written. clips: how many; more keep the first ones. symbols: C, 2-6.
    lacking: {series, table or text: share of the clips that lack it}. modalities: those of the five that the study
    looks at, by which the known answers go; all where it is left out.

    Columns: `series` (a CSV file of 2 C channels), `text`, `colour` (a category), `weight` and `price` (numbers).
    """

    def __init__(
        self,
        tasks: list[str],
        *,
        folder: str,
        clips: int = 400,
        seed: int = 0,
        symbols: int = 3,
        lacking: dict[str, float] | None = None,
        modalities: list[str] | None = None,
    ) -> None:
        known = (*TASKS, "series", "text", "colour", "weight", "price")
        for task in tasks:
            if task not in known:
                raise UserError(f"dataset known_senses has no task or column {task!r}; {suggest(task, known)}")
        if not 2 <= symbols <= len(COLOURS) or clips < 1:
            raise UserError(
                f"dataset known_senses: expected 2 to {len(COLOURS)} symbols and a clip, got {symbols}, {clips}"
            )
        self.lacking = lacking or {}
        for name, share in self.lacking.items():
            if name not in MAY_LACK or not 0 <= share < 1:
                raise UserError(
                    f"dataset known_senses: lacking: expected {', '.join(MAY_LACK)} and a share below 1, "
                    f"got {name}: {share}"
                )
        self.modalities = sorted(modalities or MODALITIES)
        for name in self.modalities:
            if name not in MODALITIES:
                raise UserError(f"dataset known_senses: no modality {name!r}; {suggest(name, MODALITIES)}")
        self.tasks, self.folder, self.clips, self.seed, self.symbols = tasks, Path(folder), clips, seed, symbols

    def manifest(self) -> pd.DataFrame:
        """One row a clip; media are not rendered yet. Clip i depends on the options and i alone."""
        return pd.DataFrame([self._row(clip) for clip in range(self.clips)])

    def answers(self) -> dict[str, dict[str, Any]]:
        return {task: _answer(self.joint(task)) | {"description": TASKS[task]} for task in self.tasks if task in TASKS}

    def joint(self, task: str) -> Joint:
        """p(label, symbol of each modality): C labels; C + 1 symbols, the last one nothing, or that one alone where a
        modality has no part in the task."""
        count = self.symbols
        chances = {
            "everywhere": ERASED,
            "sum": {"series": 0.0, "table": 0.0},
            "written": {"text": 0.0},
        }[task]
        nothing = {name: 1 - (1 - chance) * (1 - self.lacking.get(name, 0.0)) for name, chance in chances.items()}
        table = np.zeros((count, *(count + 1 if name in chances else 1 for name in MODALITIES)))
        names = sorted(chances)
        latent = (
            list(product(range(count), repeat=2))
            if task == "sum"
            else [(symbol,) * len(names) for symbol in range(count)]
        )
        for symbols in latent:
            label = sum(symbols) % count if task == "sum" else symbols[0]
            for gone in product((False, True), repeat=len(names)):
                chance = 1 / len(latent)
                place = dict.fromkeys(MODALITIES, 0)
                for name, symbol, erased in zip(names, symbols, gone, strict=True):
                    chance *= nothing[name] if erased else 1 - nothing[name]
                    place[name] = count if erased else symbol
                table[(label, *(place[name] for name in MODALITIES))] += chance
        withheld = tuple(place for place, name in enumerate(MODALITIES, 1) if name not in self.modalities)
        return Joint(tuple(self.modalities), table.sum(axis=withheld))

    def _row(self, clip: int) -> dict[str, str]:
        draw = np.random.default_rng([self.seed, clip])
        shown, written, of_series, of_table = (int(symbol) for symbol in draw.integers(self.symbols, size=4))
        first = {name: None if draw.random() < ERASED[name] else shown for name in MODALITIES}
        lacks = {name for name in MAY_LACK if draw.random() < self.lacking.get(name, 0.0)}
        labels = {"everywhere": shown, "written": written, "sum": (of_series + of_table) % self.symbols}
        words = [COLOURS[first["text"]] if first["text"] is not None else "plain", MATERIALS[written]]
        words.insert(int(draw.integers(3)), SHAPES[int(draw.integers(len(SHAPES)))])
        colour = "" if first["table"] is None else COLOURS[first["table"]]
        weight, price = 10 * of_table + draw.normal(), draw.lognormal(5)
        series = "" if "series" in lacks else self._series(clip, first["series"], of_series, draw)
        cells = {
            "text": "" if "text" in lacks else f"a {' '.join(words)} thing",
            "series": series,
            "colour": "" if "table" in lacks else colour,
            "weight": "" if "table" in lacks else f"{weight:.3f}",
            "price": "" if "table" in lacks else f"{price:.2f}",
        }
        silent = (None, None)
        drawing = Drawing(
            video=(first["video"], *silent),
            audio=(first["audio"], *silent),
            symbols=self.symbols,
            seconds=1.0,
            fps=16,
            size=32,
            seed=self.seed,
            clip=clip,
        )
        name = f"ks-{clip:05d}"
        fixed = {"clip_id": name, "source": drawing.source().replace("known_answer:", "known_senses:", 1)}
        fixed |= {"start_s": "", "end_s": "", "group": name, "split": ""}
        return fixed | cells | {task: string.ascii_uppercase[labels[task]] for task in self.tasks if task in TASKS}

    def _series(self, clip: int, first: int | None, third: int, draw: np.random.Generator) -> str:
        """Write the file: noise, and a level of 1 in the channel of each symbol."""
        values = 0.3 * draw.standard_normal((STEPS, 2 * self.symbols))
        if first is not None:
            values[:, first] += 1
        values[:, self.symbols + third] += 1
        path = self.folder / "series" / f"ks-{clip:05d}.csv"
        names = ",".join(f"x{channel}" for channel in range(values.shape[1]))
        rows = "\n".join(",".join(f"{value:.4f}" for value in row) for row in values)
        write_if_changed(path, f"{names}\n{rows}\n")
        return path.as_posix()

    @staticmethod
    def fetch(
        source: str, start_s: float | None, end_s: float | None, destination: Path, _options: DownloadOptions
    ) -> Fetched:
        """Render the clip that `source` describes to `destination` + .mp4."""
        path = destination.with_name(destination.name + ".mp4")
        render(Drawing.of(source.replace("known_senses:", "known_answer:", 1)), path)
        return Fetched(path, start_s, end_s)


def _answer(joint: Joint) -> dict[str, Any]:
    """What manifest/answers.json says of a task, as of known_answer; log_probability in nats."""
    accuracy, score = bayes_accuracy(joint), log_probability(joint)
    share = shares(shapley(accuracy))
    found: dict[str, Mapping[str, float | None]] = {
        "bayes_accuracy": accuracy,
        "shapley_accuracy": shapley(accuracy),
        "share": share,
        "log_probability": score,
        "shapley_log_probability": shapley(score),
    }
    # Ten digits hide the last bits, which differ between machines.
    return {
        name: {key: None if value is None else round(value, 10) + 0.0 for key, value in values.items()}
        for name, values in found.items()
    }
