"""AudioSet's segment lists: clips that have one of several exclusive labels, and further labels of the same clips.

Source: Gemmeke et al. 2017. The lists have one row a clip: YouTube id, start, end and all classes heard in it.
"""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modalens.datasets import _published_lists
from modalens.datasets._audioset_classes import MACHINE_ID, Classes
from modalens.datasets._base import Dataset
from modalens.datasets._youtube import Clips
from modalens.media import fetching
from modalens.utils import csv_chunks
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

log = logging.getLogger("modalens")

COLUMNS: _published_lists.Columns = {
    "ytid": ("youtube_id", "video_id", "yid"),
    "start_seconds": ("start", "start_s"),
    "end_seconds": ("end", "end_s"),
    "positive_labels": ("labels", "label"),
}
SECONDS = 10.0
# Rows of the balanced, eval and unbalanced list, by their own comments.
PUBLISHED = (22_160, 20_371, 2_041_789)
Choice = dict[str, frozenset[str] | None]


class Audioset(Dataset):
    """csv: segment list (path or URL), several, or {split: list}; without splits the study makes its own.
    labels: {task: {label: class, list of classes, or null for all other clips}}, a class by machine id or name.
    clips_of: task whose labels choose the clips (the study's first by default); a clip with two of them is left out.
    The other tasks label the same clips.
    classes: class_labels_indices.csv or ontology.json; names and descendants want it, and ids are checked by it.
    descendants: a class means also those under it in the ontology.
    balance: of each label of clips_of as many clips as the rarest has, drawn by `seed`.
    partial: take lists that are not whole.
    """

    def __init__(
        self,
        tasks: list[str],
        *,
        csv: str | list[str] | dict[str, Any],
        labels: dict[str, dict[str, Any]],
        clips_of: str | None = None,
        classes: str | None = None,
        descendants: bool = False,
        balance: bool = False,
        seed: int = 0,
        partial: bool = False,
    ) -> None:
        self.tasks, self.labels, self.clips_of = tasks, labels, clips_of or tasks[0]
        self.csv = _published_lists.sources(csv, "dataset audioset: csv")
        for task in (self.clips_of, *tasks):
            if task not in labels:
                raise UserError(f"dataset audioset: labels says nothing of task {task!r}; {suggest(task, labels)}")
        self.classes, self.descendants = classes, descendants
        self.balance, self.seed, self.partial = balance, seed, partial

    def manifest(self) -> pd.DataFrame:
        known = Classes(self.classes) if self.classes else None
        choices = {task: self._choice(task, known) for task in dict.fromkeys((self.clips_of, *self.tasks))}
        tallies: dict[str, Counter[str]] = {task: Counter() for task in choices}
        found, total = [], 0
        with Clips(SECONDS) as clips:
            for split, location in self.csv:
                check = _Check(location, known, self.partial)
                for part in check.parts():
                    for rows in clips.rows(check.sheet, part.assign(split=split)):
                        positive = rows.pop("positive_labels")
                        labels = {task: _labels(positive, choice, tallies[task]) for task, choice in choices.items()}
                        found.append(rows.assign(**labels)[labels[self.clips_of] != ""])
                check.finish()
                total += check.rows
        for task, choice in choices.items():
            _say(task, choice, tallies[task], total)
        if not sum(map(len, found)):
            raise UserError(f"dataset audioset: no clip has a label of task {self.clips_of!r}")
        table = pd.concat(found, ignore_index=True)
        if self.balance:
            table = balanced(table, self.clips_of, self.seed)
        return table

    def answers(self) -> dict[str, dict[str, Any]]:
        return {}

    def inputs(self) -> list[Path]:
        found = _published_lists.local([location for _, location in self.csv], "csv")
        return found + (_published_lists.local(self.classes, "classes") if self.classes else [])

    fetch = staticmethod(fetching.fetch)

    def _choice(self, task: str, known: Classes | None) -> Choice:
        """{label: classes that give it, None for the rest}."""
        where = f"dataset audioset: labels.{task}"
        given = self.labels[task]
        if not isinstance(given, dict) or len(given) < 2:
            raise UserError(f"{where}: two labels or more are wanted, e.g. {{speech: /m/09x0r, none: null}}")
        choice: Choice = {}
        owner: dict[str, str] = {}
        for label, names in given.items():
            choice[label] = None if names is None else self._classes(where, label, names, known)
            for machine_id in choice[label] or ():
                if machine_id in owner:
                    raise UserError(f"{where}: {machine_id} is both {owner[machine_id]!r} and {label!r}")
                owner[machine_id] = label
        if list(choice.values()).count(None) > 1:
            raise UserError(f"{where}: only one label can be null, which means all other clips")
        return choice

    def _classes(self, where: str, label: str, names: Any, known: Classes | None) -> frozenset[str]:
        names = names if isinstance(names, list) else [names]
        if not names or not all(isinstance(name, str) for name in names):
            raise UserError(f"{where}.{label}: a class, a list of classes or null is wanted")
        if known is None:
            named = [name for name in names if not MACHINE_ID.fullmatch(name)]
            if named or self.descendants:
                what = repr(named[0]) if named else "descendants"
                raise UserError(f"{where}.{label}: {what} can be told only with the file of classes; give `classes`")
            return frozenset(names)
        found = [known.find(name) for name in names]
        return frozenset().union(*map(known.below, found)) if self.descendants else frozenset(found)


class _Check:
    """One list against what it says of itself."""

    def __init__(self, location: str, known: Classes | None, partial: bool) -> None:
        self.sheet = _published_lists.Sheet(location, _published_lists.text(location), COLUMNS, spread=",")
        self._known, self._partial = known, partial
        self.rows = self._labels = 0
        self._ids: list[pd.Series[str]] = []
        self._seen: set[str] = set()

    def parts(self) -> Iterator[pd.DataFrame]:
        """Rows whose classes are in order, as `Clips` wants them."""
        for part in self.sheet.parts():
            wrong = csv_chunks.each(part["positive_labels"], self._wrong)
            faults: list[csv_chunks.Fault] = [(wrong != "", lambda row: row["wrong"])]
            for good in csv_chunks.sound(part.assign(wrong=wrong), self.sheet.place, faults):
                self.rows += len(good)
                self._labels += int(csv_chunks.each(good["positive_labels"], lambda text: len(_ids(text)), int).sum())
                self._ids.append(good["ytid"])
                names = {"ytid": "youtube_id", "start_seconds": "start", "end_seconds": "end"}
                yield good.drop(columns="wrong").rename(columns=names)

    def _wrong(self, positive: str) -> str:
        """What is said of the first class that cannot be; nothing where all can."""
        for machine_id in _ids(positive):
            if machine_id in self._seen:
                continue
            if not MACHINE_ID.fullmatch(machine_id):
                return f"{machine_id!r} is no class id such as /m/09x0r"
            if self._known and machine_id not in self._known.names:
                return f"class {machine_id} is not in {self._known.location}"
            self._seen.add(machine_id)
        return ""

    def finish(self) -> None:
        stated = {
            name: (int(number), line)
            for line, comment in self.sheet.comments
            for name, number in re.findall(r"num_(\w+)=(\d+)", comment)
        }
        if "segs" not in stated:
            _published_lists.check_rows(self.sheet.location, self.rows, PUBLISHED, self._partial)
            if not self._known:
                self.sheet.refuse_cut()
        if self._partial:
            return
        found = {
            "segs": (self.rows, "rows"),
            "ytids": (pd.concat(self._ids).nunique() if self._ids else 0, "videos"),
            "unique_labels": (len(self._seen), "classes"),
            "positive_labels": (self._labels, "labels"),
        }
        for name, (number, what) in found.items():
            wanted, line = stated.get(name, (number, 0))
            if number != wanted:
                raise UserError(
                    f"{self.sheet.place(self.sheet.last)} ends with {number:,} {what}, line {line} promises {wanted:,}"
                    "; fetch the list anew, or write `partial: true` in the config if a part is meant"
                )


def balanced(table: pd.DataFrame, task: str, seed: int) -> pd.DataFrame:
    """As many clips of each label of `task` as the rarest has; which ones depends on their ids and the seed alone."""
    fewest = int(table[task].value_counts().min())
    # 64 bits of the digest put the clips in the order that all of them would.
    draw = [
        int.from_bytes(hashlib.sha256(f"{seed} {clip_id}".encode()).digest()[:8])
        for part in csv_chunks.parts(table["clip_id"])
        for clip_id in part.tolist()
    ]
    order = np.argsort(np.array(draw, np.uint64), kind="stable")
    kept = table[task].iloc[order].groupby(table[task].iloc[order]).head(fewest).index.sort_values()
    log.info("%s: balanced to %d clips of each label, drawn with seed %d", task, fewest, seed)
    return table.loc[kept].reset_index(drop=True)


def _ids(positive: str) -> list[str]:
    """Machine ids of a row."""
    return [part.strip() for part in positive.strip(" \"'").split(",")]


def _labels(positive: "pd.Series[str]", choice: Choice, tally: Counter[str]) -> "pd.Series[str]":
    """The one label that each row's classes give, else "". Counts rows per label, and under "" those with several."""
    codes, distinct = pd.factorize(positive)
    found = []
    for text, count in zip(distinct.tolist(), np.bincount(codes).tolist(), strict=True):
        classes = _ids(text)
        hits = [label for label, wanted in choice.items() if wanted and not wanted.isdisjoint(classes)]
        hits = hits or [label for label, wanted in choice.items() if wanted is None]
        for label in hits if len(hits) < 2 else [*hits, ""]:
            tally[label] += count
        found.append(hits[0] if len(hits) == 1 else "")
    return pd.Series(found, dtype="str").take(codes).set_axis(positive.index)


def _say(task: str, choice: Choice, tally: Counter[str], total: int) -> None:
    for label in choice:
        if not tally[label]:
            raise UserError(f"dataset audioset: labels.{task}.{label}: no clip of the lists has it")
    counts = ", ".join(f"{label} {tally[label]:,}" for label in choice)
    both = f"; {tally['']:,} carry more than one of them and are left out" if tally[""] else ""
    log.info("%s: of %s rows %s%s", task, f"{total:,}", counts, both)
