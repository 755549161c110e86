"""CREMA-D: 91 actors say 12 sentences in six emotions, 7,442 clips.

Source: Cao et al. 2014, CREMA-D: Crowd-Sourced Emotional Multimodal Actors Dataset. Layout, as
published: VideoFlash/1001_DFA_ANG_XX.flv (actor, sentence, emotion, level).
"""

import re
from pathlib import Path

import pandas as pd

from modalens.datasets import _corpora
from modalens.datasets._base import Dataset
from modalens.utils.errors import UserError

EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}  # one clip has one X
ACTORS = [str(number) for number in range(1001, 1092)]
CLIPS = 7442
NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")


class CremaD(Dataset):
    """root: the folder that holds VideoFlash. partial: take a part of the corpus.

    Tasks: emotion (six, as acted), sentence (twelve codes), level (of the sentence IEO where it is not neutral). Groups
    are the actors, so no split shares one; the owners publish no split.
    """

    def __init__(self, tasks: list[str], *, root: str, partial: bool = False) -> None:
        super().__init__(tasks)
        _corpora.check_tasks(tasks, ("emotion", "sentence", "level"), "dataset crema_d")
        self.root, self.partial = Path(root), partial

    def manifest(self) -> pd.DataFrame:
        where = "dataset crema_d"
        found = _corpora.named(self.root, (".flv", ".mp4"), NAME, "1001_DFA_ANG_XX", where)
        rows = [_row(path, *match.groups()) for path, match in found]
        _corpora.check_whole((row["group"] for row in rows), ACTORS, "actors", where, self.partial)
        table = _corpora.table(rows, self.tasks, where)
        _corpora.check_count(len(table), CLIPS, "clip", where, self.partial)
        return table


def _row(path: Path, actor: str, sentence: str, emotion: str, level: str) -> dict[str, str]:
    levels = sentence == SENTENCES[0] and emotion != "NEU"
    if level in LEVELS and levels != (LEVELS[level] != "unspecified"):
        expected = "LO, MD or HI" if levels else "XX"
        raise UserError(f"{path}: expected level {expected} of sentence {sentence} and emotion {emotion}, got {level}")
    return {
        "clip_id": path.stem,
        "source": path.as_posix(),
        "group": _corpora.meaning(actor, ACTORS, "actor", path),
        "emotion": _corpora.meaning(emotion, EMOTIONS, "emotion", path),
        "sentence": _corpora.meaning(sentence, SENTENCES, "sentence", path),
        "level": _corpora.meaning(level, LEVELS, "level", path),
    }
