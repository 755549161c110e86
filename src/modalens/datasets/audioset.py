"""AudioSet's segment lists: clips that have one of several exclusive labels, and further labels of the same clips.

Source: Gemmeke et al. 2017. The lists have one row a clip: YouTube id, start, end and all classes heard in it.
"""

import hashlib
import logging
import re
from collections import Counter
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from modalens import sources
from modalens.cli import UserError
from modalens.datasets import _lists
from modalens.datasets._audioset_classes import MACHINE_ID, Classes
from modalens.datasets._youtube import Clips

log = logging.getLogger("modalens")

COLUMNS: _lists.Columns = {
    "ytid": ("youtube_id", "video_id", "yid"),
    "start_seconds": ("start", "start_s"),
    "end_seconds": ("end", "end_s"),
    "positive_labels": ("labels", "label"),
}
SECONDS = 10.0
# Rows of the balanced, eval and unbalanced list, by their own comments.
PUBLISHED = (22_160, 20_371, 2_041_789)
Choice = dict[str, frozenset[str] | None]


class Audioset:
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
        self.csv = _lists.sources(csv, "dataset audioset: csv")
        for task in (self.clips_of, *tasks):
            if task not in labels:
                near = get_close_matches(task, labels, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(labels)}"
                raise UserError(f"dataset audioset: labels says nothing of task {task!r}; {hint}")
        self.classes, self.descendants = classes, descendants
        self.balance, self.seed, self.partial = balance, seed, partial

    def manifest(self) -> pd.DataFrame:
        known = Classes(self.classes) if self.classes else None
        choices = {task: self._choice(task, known) for task in dict.fromkeys((self.clips_of, *self.tasks))}
        tallies: dict[str, Counter[str]] = {task: Counter() for task in choices}
        clips, rows, total = Clips(SECONDS), [], 0
        for split, location in self.csv:
            check = _Check(location, known, self.partial)
            for line, (youtube_id, start, end, positive) in check.sheet.rows():
                classes = check.classes(line, positive)
                row = clips.row(check.sheet, line, youtube_id, start, end, split)
                check.ids.add(youtube_id)
                labels = {task: _label(classes, choice, tallies[task]) for task, choice in choices.items()}
                if labels[self.clips_of]:
                    rows.append(row | labels)
            check.finish()
            total += check.rows
        clips.finish()
        for task, choice in choices.items():
            _say(task, choice, tallies[task], total)
        if not rows:
            raise UserError(f"dataset audioset: no clip has a label of task {self.clips_of!r}")
        table = pd.DataFrame(rows)
        if self.balance:
            table = balanced(table, self.clips_of, self.seed)
        return table

    def answers(self) -> dict[str, dict[str, Any]]:
        return {}

    def inputs(self) -> list[Path]:
        found = _lists.local([location for _, location in self.csv], "csv")
        return found + (_lists.local(self.classes, "classes") if self.classes else [])

    fetch = staticmethod(sources.fetch)

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
        self.sheet = _lists.Sheet(location, _lists.text(location), COLUMNS, spread=",")
        self._known, self._partial = known, partial
        self.ids: set[str] = set()
        self.rows = self._labels = 0
        self._seen: set[str] = set()

    def classes(self, line: int, positive: str) -> set[str]:
        """Machine ids of a row."""
        found = [part.strip() for part in positive.strip(" \"'").split(",")]
        for machine_id in found:
            if machine_id in self._seen:
                continue
            if not MACHINE_ID.fullmatch(machine_id):
                raise UserError(f"{self.sheet.place(line)}: {machine_id!r} is no class id such as /m/09x0r")
            if self._known and machine_id not in self._known.names:
                raise UserError(f"{self.sheet.place(line)}: class {machine_id} is not in {self._known.location}")
            self._seen.add(machine_id)
        self.rows += 1
        self._labels += len(found)
        return set(found)

    def finish(self) -> None:
        stated = {
            name: (int(number), line)
            for line, comment in self.sheet.comments
            for name, number in re.findall(r"num_(\w+)=(\d+)", comment)
        }
        if "segs" not in stated:
            _lists.counted(self.sheet.location, self.rows, PUBLISHED, self._partial)
            if not self._known:
                self.sheet.refuse_cut()
        if self._partial:
            return
        found = {
            "segs": (self.rows, "rows"),
            "ytids": (len(self.ids), "videos"),
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
    draw = table["clip_id"].map(lambda clip_id: hashlib.sha256(f"{seed} {clip_id}".encode()).hexdigest())
    kept = table.loc[draw.sort_values().index].groupby(task).head(fewest).sort_index()
    log.info("%s: balanced to %d clips of each label, drawn with seed %d", task, fewest, seed)
    return kept.reset_index(drop=True)


def _label(classes: set[str], choice: Choice, tally: Counter[str]) -> str:
    """The one label that the classes give, else "". Counts rows per label, and under "" those with two or more."""
    hits = [label for label, wanted in choice.items() if wanted and not wanted.isdisjoint(classes)]
    hits = hits or [label for label, wanted in choice.items() if wanted is None]
    tally.update(hits)
    if len(hits) > 1:
        tally[""] += 1
    return hits[0] if len(hits) == 1 else ""


def _say(task: str, choice: Choice, tally: Counter[str], total: int) -> None:
    for label in choice:
        if not tally[label]:
            raise UserError(f"dataset audioset: labels.{task}.{label}: no clip of the lists has it")
    counts = ", ".join(f"{label} {tally[label]:,}" for label in choice)
    both = f"; {tally['']:,} carry more than one of them and are left out" if tally[""] else ""
    log.info("%s: of %s rows %s%s", task, f"{total:,}", counts, both)
