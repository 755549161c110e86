"""VGGSound: 10 s clips of 309 sounds whose source is seen, with the owners' split.

Source: Chen et al. 2020, VGGSound: a large-scale audio-visual dataset. Lists: vggsound.csv (YouTube id, start, class,
split), or the older train.csv and test.csv (file name made of id and start, class).
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.datasets import _published_lists
from modalens.datasets._base import Dataset
from modalens.datasets._youtube import NUMBER, Clips
from modalens.media import fetching
from modalens.utils import csv_chunks
from modalens.utils.errors import UserError

SECONDS = 10
PUBLISHED = {"train": (183_730,), "test": (15_446,)}
CLASSES = 309
# So many starts that all are whole thousands are no seconds; one of seconds is with a chance of 1e-3.
ENOUGH_STARTS = 5
WHOLE: _published_lists.Columns = {
    "youtube_id": ("youtube id", "ytid", "video_id"),
    "start": ("start seconds", "start_seconds", "start_s"),
    "label": ("class",),
    "split": ("train/test split", "train/test split.", "subset"),
}
OLDER: _published_lists.Columns = {"file": ("filename", "video"), "label": ("class",)}
OLDER_ROW = re.compile(r'"?[A-Za-z0-9_-]{11}_\d{6}(\.\w+)?"?\s*[,;\t]')
# Line, YouTube id, start, end, split and class.
Found = Iterator[tuple[int, tuple[str, str, str, str, str]]]
FILE = re.compile(r"(.{11})_(\d{6})(?:\.\w+)?")


class Vggsound(Dataset):
    """csv: a list (path or URL), several, or {split: list}; train.csv and test.csv tell their split in no other way.
    classes: those to keep, all of them by default. partial: take lists that are not whole, of other classes too.

    One task, under any name: the class. The split is the owners'; validation is made of train.
    """

    def __init__(
        self,
        tasks: list[str],
        *,
        csv: str | list[str] | dict[str, Any],
        classes: list[str] | None = None,
        partial: bool = False,
    ) -> None:
        if len(tasks) != 1:
            raise UserError(f"dataset vggsound has one task, the class; {len(tasks)} are asked for")
        self.task, self.classes, self.partial = tasks[0], classes, partial
        self.csv = _published_lists.sources(csv, "dataset vggsound: csv")

    def manifest(self) -> pd.DataFrame:
        labels: Counter[str] = Counter()
        splits: Counter[str] = Counter()
        starts: Counter[bool] = Counter()
        found = []
        with Clips(SECONDS) as clips:
            for split, location in self.csv:
                sheet, rows = _read(split, location)
                for part in csv_chunks.gathered(rows, ["youtube_id", "start", "end", "split", self.task]):
                    for good in clips.rows(sheet, part, split):
                        if (good["split"] == "").any():
                            raise UserError(f"{location} tells no split; write csv: {{train: ..., test: ...}}")
                        labels.update(good[self.task].tolist())
                        times = good["start_s"].astype(float)
                        starts.update((times[times > 0] % 1000 == 0).tolist())
                        splits.update(good["split"].tolist())
                        found.append(good if self.classes is None else good[good[self.task].isin(self.classes)])
        locations = " and ".join(location for _, location in self.csv)
        for split in sorted(set(splits) & set(PUBLISHED)):
            _published_lists.check_rows(f"{locations}, {split}", splits[split], PUBLISHED[split], self.partial)
        if starts[True] >= ENOUGH_STARTS and not starts[False]:
            raise UserError(f"{locations}: expected starts in seconds, got whole thousands only: milliseconds?")
        if not self.partial and len(labels) != CLASSES:
            rare = ", ".join(f"{name!r} ({count})" for name, count in labels.most_common()[:-4:-1])
            raise UserError(
                f"{locations}: expected the owner's {CLASSES} classes, got {len(labels)}; the rarest: {rare}; correct "
                "the list, or write `partial: true` in the config if other classes are meant"
            )
        unknown = [name for name in self.classes or () if name not in labels]
        if unknown:
            raise UserError(f"dataset vggsound: the lists have no clip of class {unknown[0]!r}")
        return pd.concat(found, ignore_index=True)

    def answers(self) -> dict[str, dict[str, Any]]:
        return {}

    def inputs(self) -> list[Path]:
        return _published_lists.local([location for _, location in self.csv], "csv")

    fetch = staticmethod(fetching.fetch)


def _read(split: str, location: str) -> tuple[_published_lists.Sheet, Found]:
    content = _published_lists.text(location)
    if OLDER_ROW.match(content.lstrip()):
        sheet = _published_lists.Sheet(location, content, OLDER)
        return sheet, _older(split, sheet)
    sheet = _published_lists.Sheet(location, content, WHOLE)
    return sheet, _whole(sheet)


def _whole(sheet: _published_lists.Sheet) -> Found:
    for line, (youtube_id, start, label, stated) in sheet.rows():
        if not NUMBER.fullmatch(start):
            raise UserError(f"{sheet.place(line)}: start {start!r} is no number of seconds")
        yield line, (youtube_id, start, str(float(start) + SECONDS), stated, label)


def _older(split: str, sheet: _published_lists.Sheet) -> Found:
    for line, (file, label) in sheet.rows():
        match = FILE.fullmatch(file)
        if not match:
            raise UserError(f"{sheet.place(line)}: {file!r} is not made of a YouTube id and a start in six digits")
        start = int(match[2])
        yield line, (match[1], str(start), str(start + SECONDS), split, label)
    sheet.refuse_cut()
