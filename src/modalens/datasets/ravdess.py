"""RAVDESS: 24 actors speak, and 23 of them sing, two sentences in eight emotions.

Source: Livingstone and Russo 2018, The Ryerson Audio-Visual Database of Emotional Speech and Song. Layout:
Actor_01/01-01-06-01-02-01-12.mp4 (modality, channel, emotion, intensity, statement, repetition, actor), in one folder
or in one a published archive.
"""

import re
from pathlib import Path

import pandas as pd

from modalens.datasets import _corpora
from modalens.datasets._base import Dataset
from modalens.utils.errors import UserError

BOTH = "01"  # sound and picture; 02 is picture alone, 03 sound alone: the same recordings
MODALITIES = (BOTH, "02", "03")
CHANNELS = {"01": "speech", "02": "song"}
EMOTIONS = dict(
    zip(
        ("01", "02", "03", "04", "05", "06", "07", "08"),
        ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
        strict=True,
    )
)
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "kids", "02": "dogs"}
REPETITIONS = ("01", "02")
ACTORS = [f"{number:02d}" for number in range(1, 25)]
UNSUNG = ("disgust", "surprised")
SILENT = "18"  # has no song
CLIPS = {"speech": 1440, "song": 1012}
FOLDER = re.compile(r"(?:.*_)?Actor_(\d\d)")
NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")


class Ravdess(Dataset):
    """root: the folder that holds the actors' folders. channels: of speech and song those to take. partial: take a part
    of the corpus.

    Tasks: emotion (eight; song has no disgust and no surprise), intensity, statement, channel. Clips with sound and
    picture, once each. Groups are the actors, so no split shares one; the owners publish no split.
    """

    def __init__(
        self, tasks: list[str], *, root: str, channels: tuple[str, ...] = ("speech",), partial: bool = False
    ) -> None:
        super().__init__(tasks)
        _corpora.check_tasks(tasks, ("emotion", "intensity", "statement", "channel"), "dataset ravdess")
        if isinstance(channels, str) or not channels:
            raise UserError(f"dataset ravdess: channels: expected a list of speech and song, got {channels!r}")
        for name in channels:
            _corpora.check_choice(name, [*CLIPS], "dataset ravdess: channels")
        self.root, self.channels, self.partial = Path(root), channels, partial

    def manifest(self) -> pd.DataFrame:
        where = "dataset ravdess"
        found = _corpora.named(self.root, (".mp4",), NAME, "01-01-06-01-02-01-12", where)
        every = [row for path, match in found if (row := _row(path, *match.groups()))]
        rows = [row for row in every if row["channel"] in self.channels]
        for name in self.channels:
            part = [row for row in rows if row["channel"] == name]
            actors = [actor for actor in ACTORS if name == "speech" or actor != SILENT]
            _corpora.check_whole((row["group"] for row in part), actors, f"actors of {name}", where, self.partial)
        if not rows:
            raise UserError(f"{where}: no clip below {self.root} has sound and picture of {' or '.join(self.channels)}")
        table = _corpora.table(rows, self.tasks, where)
        published = sum(CLIPS[name] for name in set(self.channels))
        _corpora.check_count(len(table), published, f"clip of {' and '.join(self.channels)}", where, self.partial)
        return table


def _row(path: Path, modality: str, *codes: str) -> dict[str, str] | None:
    """None of a clip without sound or picture."""
    channel, emotion, intensity, statement, again, actor = codes
    _corpora.meaning(modality, MODALITIES, "modality", path)
    _corpora.meaning(again, REPETITIONS, "repetition", path)
    row = {
        "clip_id": path.stem,
        "source": path.as_posix(),
        "group": _corpora.meaning(actor, ACTORS, "actor", path),
        "channel": _corpora.meaning(channel, CHANNELS, "channel", path),
        "emotion": _corpora.meaning(emotion, EMOTIONS, "emotion", path),
        "intensity": _corpora.meaning(intensity, INTENSITIES, "intensity", path),
        "statement": _corpora.meaning(statement, STATEMENTS, "statement", path),
    }
    if (folder := FOLDER.fullmatch(path.parent.name)) and folder[1] != actor:
        raise UserError(f"{path}: a clip of actor {actor} lies in the folder of actor {folder[1]}")
    if row["channel"] == "song" and (row["emotion"] in UNSUNG or actor == SILENT):
        raise UserError(f"{path}: expected no song with {row['emotion']} of actor {actor}; the corpus has none")
    if (row["emotion"], row["intensity"]) == ("neutral", "strong"):
        raise UserError(f"{path}: expected neutral of normal intensity, got strong")
    return row if modality == BOTH else None
