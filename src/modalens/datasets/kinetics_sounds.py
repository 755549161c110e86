"""Kinetics-Sounds: the classes of Kinetics that can be both seen and heard, in each of the lists that papers mean.

Source: Arandjelovic and Zisserman 2017, Look, Listen and Learn, appendix; Kay et al. 2017, Kinetics.
Lists: Kinetics' own CSVs, the two text files of OGM-GE (Peng et al. 2022), or the JSON of BML (Wei et al. 2024).
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.datasets import _published_lists
from modalens.datasets._base import Dataset
from modalens.datasets._youtube import Clips
from modalens.media import fetching
from modalens.utils import csv_chunks
from modalens.utils.errors import UserError
from modalens.utils.suggest import nearest, suggest
from modalens.utils.words import counted

log = logging.getLogger("modalens")

SECONDS = 10.0
# Names that the paper's appendix and the released Kinetics share.
EXACT_27 = (
    "blowing nose", "bowling", "chopping wood", "laughing", "playing accordion", "playing bagpipes",
    "playing bass guitar", "playing clarinet", "playing drums", "playing guitar", "playing harmonica",
    "playing keyboard", "playing organ", "playing piano", "playing saxophone", "playing trombone", "playing trumpet",
    "playing violin", "playing xylophone", "ripping paper", "shoveling snow", "shuffling cards", "singing",
    "tap dancing", "tapping guitar", "tapping pen", "tickling",
)  # fmt: skip
# The paper's other seven were renamed or merged before Kinetics was released: no released list has them.
UNRELEASED = (
    "blowing out", "dribbling ball", "fingerpicking", "mowing the lawn by pushing lawnmower", "patting", "stomping",
    "typing",
)  # fmt: skip
RENAMED = ("blowing out candles", "dribbling basketball", "mowing lawn", "stomping grapes")
VARIANTS = {
    # Appendix A.1 of the paper, as two public projects quote it.
    "arandjelovic_34": (*EXACT_27, *UNRELEASED),
    # CrissCross and AVSlowFast: pritamqu/CrissCross, issue 4.
    "crisscross_32": (*EXACT_27, *RENAMED, "strumming guitar"),
    # AdaMML (IBM/AdaMML, issue 3), OGM-GE and BML: the usual one.
    "ogm_ge_31": (*EXACT_27, *RENAMED),
    # Over Kinetics-700, one public project.
    "kinetics700_30": (*EXACT_27, "blowing leaves", "dribbling basketball", "mowing lawn"),
    "exact_27": EXACT_27,
}
# OGM-GE numbers its classes in this order.
OGM_GE = sorted(VARIANTS["ogm_ge_31"])
KINETICS_CLASSES = (400, 600, 700)
OGM_GE_ROWS = {"train": (14_799,), "test": (2_597,)}
KINETICS: _published_lists.Columns = {
    "label": ("class", "action", "label_name"),
    "youtube_id": ("ytid", "video_id"),
    "time_start": ("start", "start_s"),
    "time_end": ("end", "end_s"),
    "split": ("subset",),
    "is_cc": (),
}
TEXT: _published_lists.Columns = {"clip": (), "seconds": (), "class": ()}
TEXT_ROW = re.compile(r'"?[A-Za-z0-9_-]{11}_\d+(_\d+)?"?\s*[,;\t]')
CLIP = re.compile(r"(.{11})_(\d+)(?:_(\d+))?")
# Line, and the clip's columns: as `Clips` wants them, and the class.
CLIP_COLUMNS = ["youtube_id", "start", "end", "split", "label"]
Found = Iterator[tuple[int, tuple[str, str, str, str, str]]]


class KineticsSounds(Dataset):
    """csv: a list (path or URL), several, or {split: list}. OGM-GE's text files tell their split in no other way.
    classes: one of VARIANTS, or a list of Kinetics' classes. partial: take lists that are not whole.

    One task, under any name: the class. The split is the owner's; validation is made where the lists have none.
    """

    def __init__(
        self,
        tasks: list[str],
        *,
        csv: str | list[str] | dict[str, Any],
        classes: str | list[str] = "ogm_ge_31",
        partial: bool = False,
    ) -> None:
        if len(tasks) != 1:
            raise UserError(f"dataset kinetics_sounds has one task, the class; {len(tasks)} are asked for")
        self.task, self.partial = tasks[0], partial
        self.csv = _published_lists.sources(csv, "dataset kinetics_sounds: csv")
        if isinstance(classes, str) and classes not in VARIANTS:
            raise UserError(f"dataset kinetics_sounds: no classes are called {classes!r}; {suggest(classes, VARIANTS)}")
        self.own = not isinstance(classes, str)
        self.classes = list(VARIANTS[classes]) if isinstance(classes, str) else [_plain(name) for name in classes]

    def manifest(self) -> pd.DataFrame:
        present: Counter[str] = Counter()
        found = []
        with Clips(SECONDS) as clips:
            for split, location in self.csv:
                sheet, rows = self._read(split, location)
                for part in csv_chunks.gathered(rows, CLIP_COLUMNS):
                    for good in clips.rows(sheet, part, split):
                        if (good["split"] == "").any():
                            raise UserError(f"{location} tells no split; write csv: {{train: ..., test: ...}}")
                        label = csv_chunks.each(good.pop("label"), _plain)
                        present.update(label.tolist())
                        found.append(good.assign(**{self.task: label})[label.isin(self.classes)])
        table = pd.concat(found, ignore_index=True)
        self._say(present, len(table))
        return table

    def answers(self) -> dict[str, dict[str, Any]]:
        return {}

    def inputs(self) -> list[Path]:
        return _published_lists.local([location for _, location in self.csv], "csv")

    fetch = staticmethod(fetching.fetch)

    def _read(self, split: str, location: str) -> tuple[_published_lists.Sheet | _published_lists.Entries, Found]:
        content = _published_lists.text(location)
        if _published_lists.is_json(content):
            entries = _published_lists.Entries(location)
            return entries, _json(entries, content)
        if TEXT_ROW.match(content.lstrip()):
            sheet = _published_lists.Sheet(location, content, TEXT)
            return sheet, self._text(split, sheet)
        sheet = _published_lists.Sheet(location, content, KINETICS, optional=("is_cc",))
        return sheet, self._kinetics(sheet)

    def _kinetics(self, sheet: _published_lists.Sheet) -> Found:
        labels = set()
        for line, (label, youtube_id, start, end, stated, _) in sheet.rows():
            labels.add(label)
            yield line, (youtube_id, start, end, stated, label)
        if not self.partial:
            _label_count(sheet, labels)

    def _text(self, split: str, sheet: _published_lists.Sheet) -> Found:
        """Rows `<id>_<start>[_<end>],10,<number of the class>`."""
        count = 0
        for line, (clip, seconds, number) in sheet.rows():
            count += 1
            if seconds != "10":
                raise UserError(f"{sheet.place(line)}: {seconds} s where 10 are wanted")
            if not number.isdecimal() or int(number) >= len(OGM_GE):
                raise UserError(f"{sheet.place(line)}: {number!r} is no class; 0 to {len(OGM_GE) - 1} are")
            yield line, (*_cut(clip, sheet.place(line)), split, OGM_GE[int(number)])
        sheet.refuse_cut()
        if split in OGM_GE_ROWS:
            _published_lists.check_rows(sheet.location, count, OGM_GE_ROWS[split], self.partial)

    def _say(self, present: Counter[str], used: int) -> None:
        """One line on what the classes yield, and which of them no released list has."""
        absent = [name for name in self.classes if not present[name]]
        log.info("%d of %d classes, %d clips", len(self.classes) - len(absent), len(self.classes), used)
        if absent and (self.own or len(absent) == len(self.classes)):
            near = nearest(absent[0], present)
            hint = near and f"; {near}"
            raise UserError(f"dataset kinetics_sounds: the lists have no clip of class {absent[0]!r}{hint}")
        if absent:
            log.warning("without a clip in the lists, and so no class of the study: %s", ", ".join(absent))


def _label_count(sheet: _published_lists.Sheet, labels: set[str]) -> None:
    """Kinetics' lists are in the order of their classes: a list that was cut lacks some."""
    if len(labels) not in KINETICS_CLASSES:
        raise UserError(
            f"{sheet.place(sheet.last)} ends with {counted(len(labels), 'class', 'classes')}, Kinetics has 400, 600 "
            "or 700; fetch it anew, or write `partial: true` in the config if a part is meant"
        )


def _json(sheet: _published_lists.Entries, content: str) -> Found:
    """{"labels": [...], "database": {"<id>_<start>[_<end>]": {"subset": split, "label": class}}}."""
    found = _published_lists.parse_json(sheet.location, content)
    try:
        labels = set(found["labels"])
        entries = [(clip, entry["subset"], entry["label"]) for clip, entry in found["database"].items()]
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{sheet.location}: labels, and a database of subset and label by clip, are wanted") from error
    for number, (clip, subset, label) in enumerate(entries, 1):
        if label not in labels:
            raise UserError(f"{sheet.place(number)}: {label!r} is none of the file's labels")
        yield number, (*_cut(clip, sheet.place(number)), subset, label)


def _cut(clip: str, place: str) -> tuple[str, str, str]:
    """`<id>_<start>[_<end>]` -> YouTube id, start, end."""
    match = CLIP.fullmatch(clip)
    if not match:
        raise UserError(f"{place}: {clip!r} is not made of a YouTube id and a start, such as 74csnCOiUsA_12")
    youtube_id, start, end = match.groups()
    return youtube_id, str(int(start)), str(int(end)) if end else str(int(start) + int(SECONDS))


def _plain(label: str) -> str:
    """Class names as Kinetics has them: small letters, single blanks."""
    return " ".join(label.replace("_", " ").lower().split())
