"""IEMOCAP: ten actors in five sessions of dialogues, 10,039 utterances judged by their emotion.

Source: Busso et al. 2008, IEMOCAP: Interactive emotional dyadic motion capture database. Layout:
Session1/dialog/EmoEvaluation/Ses01F_impro01.txt (times, utterance, emotion, valence, activation, dominance),
Session1/dialog/avi/DivX/Ses01F_impro01.avi, Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav,
Session1/dialog/transcriptions/Ses01F_impro01.txt.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from modalens.datasets import _corpora
from modalens.datasets._base import Dataset
from modalens.utils.errors import UserError

EMOTIONS = {
    "ang": "anger",
    "dis": "disgust",
    "exc": "excited",
    "fea": "fear",
    "fru": "frustrated",
    "hap": "happy",
    "neu": "neutral",
    "oth": "other",
    "sad": "sad",
    "sur": "surprised",
    "xxx": "",  # the judges did not agree
}
FOUR = {"ang": "anger", "exc": "happy", "hap": "happy", "neu": "neutral", "sad": "sad"}
SESSIONS = [f"Session{number}" for number in range(1, 6)]
UTTERANCES = {"four": 5531, "all": 10_039}
SPLITS = {"train": 3871, "validation": 553, "test": 1107}  # of BalanceMLA's paper: .7, .1 and .2 of 5,531
JUDGED = re.compile(r"\[(\d+\.\d+) - (\d+\.\d+)\]\s+(\S+)\s+([a-z]{3})\s+\[(\d+\.\d+), *(\d+\.\d+), *(\d+\.\d+)\]\s*")
SAID = re.compile(r"(Ses\S+) \[[\d.-]+\]: *(.*)")
SCALES = ("valence", "activation", "dominance")
LOWEST, HIGHEST = 0.5, 5.5  # of scales of 1 to 5, with half a point of tolerance


class Iemocap(Dataset):
    """root: the folder that holds Session1 to Session5. classes: "four" (anger, happy with excited, neutral, sad: the
    usual benchmark) or "all" ten. media: "video" (the dialogue's film, both actors in one picture, from the utterance's
    start to its end; with sound) or "audio" (the utterance's own WAV). split: by "sessions" (no split shares a speaker)
    or "utterances" (drawn by `seed` in the sizes .7, .1 and .2 of BalanceMLA's paper; every speaker is in every split).
    partial: take a part of the corpus.

    Tasks: emotion; valence, activation and dominance (numbers of 1 to 5). Transcripts are the clips' text where they
    are there.
    """

    def __init__(
        self,
        tasks: list[str],
        *,
        root: str,
        classes: str = "four",
        media: str = "video",
        split: str = "sessions",
        seed: int = 0,
        partial: bool = False,
    ) -> None:
        super().__init__(tasks)
        _corpora.check_tasks(tasks, ("emotion", *SCALES), "dataset iemocap")
        _corpora.check_choice(classes, [*UTTERANCES], "dataset iemocap: classes")
        _corpora.check_choice(media, ("video", "audio"), "dataset iemocap: media")
        _corpora.check_choice(split, ("sessions", "utterances"), "dataset iemocap: split")
        self.root, self.classes, self.media, self.split = Path(root), classes, media, split
        self.seed, self.partial = seed, partial

    def manifest(self) -> pd.DataFrame:
        where = "dataset iemocap"
        found = _corpora.files(self.root, (".txt",), where)
        lists = [path for path in found if path.parent.name == "EmoEvaluation" and path.name.startswith("Ses")]
        if not lists:
            raise UserError(f"{where}: no Session1/dialog/EmoEvaluation/Ses*.txt lies below {self.root}")
        rows = [row for path in lists for row in self._rows(path)]
        _corpora.check_whole((row["group"] for row in rows), SESSIONS, "sessions", where, self.partial)
        if self.tasks == ["emotion"] and self.classes == "four":
            rows = [row for row in rows if row["emotion"]]
            _corpora.check_count(len(rows), UTTERANCES["four"], "utterance of the four classes", where, self.partial)
        else:
            _corpora.check_count(len(rows), UTTERANCES["all"], "utterance", where, self.partial)
        table = _corpora.table(rows, self.tasks, where)
        return self._drawn(table) if self.split == "utterances" else table

    def inputs(self) -> list[Path]:
        return sorted(self.root.glob("Session*/dialog/EmoEvaluation/Ses*.txt"))

    def _rows(self, path: Path) -> Iterator[dict[str, str]]:
        session, dialogue = path.parents[2], path.stem
        if session.name not in SESSIONS or not dialogue.startswith(f"Ses0{session.name[-1]}"):
            raise UserError(f"{path}: the dialogue {dialogue} lies in the folder {session.name}; expected its session")
        said = _transcript(session / "dialog" / "transcriptions" / path.name)
        judged = [(number, line) for number, line in enumerate(_lines(path), 1) if line.startswith("[")]
        if not judged:
            raise UserError(f"{path}: expected lines [start - end] utterance emotion [v, a, d], got none")
        for number, line in judged:
            match = JUDGED.fullmatch(line)
            if not match:
                raise UserError(
                    f"{path}, line {number}: expected [start - end] utterance emotion [v, a, d], got {line!r}"
                )
            start, end, utterance, emotion, *scales = match.groups()
            place = f"{path}, line {number}"
            if not utterance.startswith(f"{dialogue}_"):
                raise UserError(f"{place}: utterance {utterance} is of another dialogue")
            if float(end) <= float(start):
                raise UserError(f"{place}: expected an end after the start {start}, got {end}")
            for scale, value in zip(SCALES, scales, strict=True):
                if not LOWEST <= float(value) <= HIGHEST:
                    raise UserError(f"{place}: expected {scale} of 1 to 5, got {value}")
            label = _corpora.meaning(emotion, EMOTIONS, "emotion", place)
            yield {
                "place": place,
                "clip_id": utterance,
                "group": session.name,
                "text": said.get(utterance, ""),
                "emotion": FOUR.get(emotion, "") if self.classes == "four" else label,
                **dict(zip(SCALES, scales, strict=True)),
                **self._media(session, dialogue, utterance, start, end),
            }

    def _media(self, session: Path, dialogue: str, utterance: str, start: str, end: str) -> dict[str, str]:
        if self.media == "audio":
            return {"source": (session / "sentences" / "wav" / dialogue / f"{utterance}.wav").as_posix()}
        film = session / "dialog" / "avi" / "DivX" / f"{dialogue}.avi"
        return {"source": film.as_posix(), "start_s": f"{float(start):.12g}", "end_s": f"{float(end):.12g}"}

    def _drawn(self, table: pd.DataFrame) -> pd.DataFrame:
        """Splits of utterances; each is a group of its own."""
        order = np.random.default_rng(self.seed).permutation(len(table))
        total = sum(SPLITS.values())
        last = [round(len(table) * part / total) for part in np.cumsum([*SPLITS.values()])]
        split = np.empty(len(table), object)
        for name, places in zip(SPLITS, np.split(order, last[:-1]), strict=True):
            split[places] = name
        return table.assign(split=split.astype(str), group=table["clip_id"])


def _transcript(path: Path) -> dict[str, str]:
    """{utterance: what was said}; {} where there is no transcript."""
    if not path.exists():
        return {}
    return {match[1]: match[2].strip() for line in _lines(path) if (match := SAID.fullmatch(line))}


def _lines(path: Path) -> list[str]:
    return path.read_bytes().decode("utf-8", "replace").splitlines()
