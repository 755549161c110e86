"""LRW: 500 English words said on television, 538,766 clips of 29 frames, with the owners' split.

Source: Chung and Zisserman 2016, Lip Reading in the Wild. Layout: lipread_mp4/ABOUT/train/ABOUT_00001.mp4 (word, split,
word and number).
"""

import re
from collections import Counter
from pathlib import Path

import pandas as pd

from modalens.datasets import _corpora
from modalens.datasets._base import Dataset
from modalens.utils.errors import UserError

SPLITS = {"train": "train", "val": "validation", "test": "test"}
CLIPS = {"train": 488_766, "validation": 25_000, "test": 25_000}
NUMBERED = {"train": 1000, "validation": 50, "test": 50}  # at most, of each word
WORDS = 500
NAME = re.compile(r"([A-Z']+)_(\d{5})")


class Lrw(Dataset):
    """root: the folder lipread_mp4. words: those to take, all by default. partial: take a part of the corpus.

    One task, under any name: the word. The split is the owners'. Who speaks is not published, so that a speaker may be
    in several splits.
    """

    def __init__(self, tasks: list[str], *, root: str, words: list[str] | None = None, partial: bool = False) -> None:
        super().__init__(tasks)
        if len(tasks) != 1:
            raise UserError(f"dataset lrw has one task, the word; {len(tasks)} are asked for")
        self.root, self.words, self.partial = Path(root), words, partial

    def manifest(self) -> pd.DataFrame:
        where = "dataset lrw"
        found = _corpora.named(self.root, (".mp4",), NAME, "ABOUT_00001", where)
        rows = [row for path, match in found if (row := self._row(path, *match.groups()))]
        there = (row[self.tasks[0]] for row in rows)
        remedy = "unpack the rest, or take what is missing out of `words`"
        _corpora.check_there(there, self.words or (), "words", where, remedy)
        table = _corpora.table(rows, self.tasks, where)
        if self.words is None:
            _corpora.check_count(table[self.tasks[0]].nunique(), WORDS, "word", where, self.partial)
            counts = Counter(table["split"].tolist())
            for split, count in CLIPS.items():
                _corpora.check_count(counts[split], count, f"clip of {split}", where, self.partial)
        return table

    def _row(self, path: Path, word: str, number: str) -> dict[str, str] | None:
        if self.words is not None and word not in self.words:
            return None
        split = _corpora.meaning(path.parent.name, SPLITS, "folder", path)
        if path.parent.parent.name != word:
            raise UserError(f"{path}: the word {word} lies in the folder of {path.parent.parent.name}")
        if not 1 <= int(number) <= NUMBERED[split]:
            most = NUMBERED[split]
            raise UserError(f"{path}: expected a number of 1 to {most:,} in {path.parent.name}, got {number}")
        return {
            "clip_id": f"{path.stem}_{split}",  # numbers begin anew in every split
            "source": path.as_posix(),
            "group": path.relative_to(self.root).as_posix(),
            "split": split,
            self.tasks[0]: word,
        }
