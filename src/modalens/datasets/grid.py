"""GRID: talkers say sentences of six words such as "bin blue at f two now", 1,000 each.

Source: Cooke et al. 2006, An audio-visual corpus for speech perception and automatic speech recognition. Layout:
s1/bbaf2n.mpg, with any folders between (s1/video/mpg_6000/bbaf2n.mpg); the six letters are the six words. 33 of the 34
talkers were filmed (not s21).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from modalens.datasets import _corpora
from modalens.datasets._base import Dataset
from modalens.utils.errors import UserError
from modalens.utils.words import counted, listed

COMMANDS = {"b": "bin", "l": "lay", "p": "place", "s": "set"}
COLOURS = {"b": "blue", "g": "green", "r": "red", "w": "white"}
PREPOSITIONS = {"a": "at", "b": "by", "i": "in", "w": "with"}
DIGITS = {"z": "zero"} | dict(
    zip("123456789", ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine"), strict=True)
)
ADVERBS = {"a": "again", "n": "now", "p": "please", "s": "soon"}
LETTERS = [letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter != "w"]
TALKERS = [f"s{number}" for number in range(1, 35) if number != 21]
UNSEEN = ("s1", "s2", "s20", "s22")  # Assael et al. 2016, LipNet
SENTENCES = 1000
NAME = re.compile(r"([a-z])([a-z])([a-z])([a-z])([a-z0-9])([a-z])")
TASKS = ("command", "colour", "preposition", "letter", "digit", "adverb")


class Grid(Dataset):
    """root: the folder that holds s1, s2 …, or one of them. talkers: those to take, all that are there by default.
    split: by "talkers" (no split shares one), by "sentences" (talkers are in every split), or "unseen": talkers s1, s2,
    s20 and s22 are the test, as in LipNet's paper. partial: take a part of the talkers' 1,000 sentences.

    Tasks: the six words. The owners publish no split.
    """

    def __init__(
        self,
        tasks: list[str],
        *,
        root: str,
        talkers: list[str] | None = None,
        split: str = "talkers",
        partial: bool = False,
    ) -> None:
        super().__init__(tasks)
        _corpora.check_tasks(tasks, TASKS, "dataset grid")
        _corpora.check_choice(split, ("talkers", "sentences", "unseen"), "dataset grid: split")
        for talker in talkers or ():
            _corpora.check_choice(talker, TALKERS, "dataset grid: talkers")
        self.root, self.talkers, self.split, self.partial = Path(root), talkers, split, partial

    def manifest(self) -> pd.DataFrame:
        where = "dataset grid"
        found = _corpora.named(self.root, (".mpg", ".mp4", ".avi"), NAME, "bbaf2n", where)
        rows = []
        for path, match in found:
            talker = _talker(path, self.root)
            if self.talkers is None or talker in self.talkers:
                rows.append(_row(path, talker, self.split, *match.groups()))
        talkers = sorted({row["talker"] for row in rows}, key=TALKERS.index)
        remedy = "unpack the rest, or take what is missing out of `talkers`"
        _corpora.check_there(talkers, self.talkers or (), "talkers", where, remedy)
        if self.split == "unseen":
            remedy = f"split unseen tests {listed(UNSEEN)}: unpack them, and name them where `talkers` is set"
            _corpora.check_there(talkers, UNSEEN, "talkers", where, remedy)
        if self.split == "unseen" and set(talkers) <= set(UNSEEN):
            raise UserError(f"{where}: split unseen tests {', '.join(UNSEEN)}; no other talker is there to train on")
        if self.split == "talkers" and len(talkers) < 3:
            raise UserError(
                f"{where}: {counted(len(talkers), 'talker is', 'talkers are')} there ({', '.join(talkers)}), no three "
                "splits without a shared talker; write `split: sentences` in the config"
            )
        table = _corpora.table(rows, self.tasks, where)
        for talker in talkers:
            count = sum(row["talker"] == talker for row in rows)
            _corpora.check_count(count, SENTENCES, f"sentence of {talker}", where, self.partial)
        return table


def _talker(path: Path, root: Path) -> str:
    """The folder below the root that is named like a talker; the root itself may be one."""
    found = {name for name in path.relative_to(root).parts[:-1] if name in TALKERS}
    if len(found) > 1:
        raise UserError(f"{path}: lies in the folders of two talkers, {listed(sorted(found))}")
    if talker := next(iter(found or {root.resolve().name} & {*TALKERS}), ""):
        return talker
    raise UserError(f"{path}: lies in no folder of a talker, s1 to s34")


def _row(path: Path, talker: str, split: str, *letters: str) -> dict[str, str]:
    known: tuple[Mapping[str, str] | Sequence[str], ...] = (COMMANDS, COLOURS, PREPOSITIONS, LETTERS, DIGITS, ADVERBS)
    words = {
        task: _corpora.meaning(letter, meanings, task, path)
        for task, meanings, letter in zip(TASKS, known, letters, strict=True)
    }
    test = split == "unseen" and talker in UNSEEN
    clip_id = f"{talker}_{path.stem}"
    return {
        "clip_id": clip_id,
        "source": path.as_posix(),
        "group": clip_id if split == "sentences" else talker,
        "split": "test" if test else "",
        "talker": talker,
        **words,
    }
