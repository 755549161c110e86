"""Rows of manifests for clips of YouTube videos, and what the id and the times of each must be."""

import re
from collections.abc import Iterator
from math import nan

import pandas as pd

from modalens.datasets._published_lists import SPLITS, SPREADSHEET, Entries, Sheet
from modalens.utils import csv_chunks
from modalens.utils.errors import UserError

YOUTUBE_ID = r"[A-Za-z0-9_-]{11}"
NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?")
# Ids are random: that this many hold no capital letter, or no small one, has a chance below 1e-40. So few clips that
# are all shorter than usual may be meant.
ENOUGH_IDS = 50


class Clips:
    """Manifest rows from rows of lists, and what every one of them must be. longest: seconds of a clip.

    A context: what only all rows together show is told at its end, and a clip that comes again before any later error.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._ids: list[tuple[Sheet | Entries, pd.Series[str]]] = []
        self._capital = self._small = False
        self._most = 0.0

    def __enter__(self) -> "Clips":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._ids and (kind is None or issubclass(kind, UserError)):
            self._refuse_repeated()
        if self._ids and kind is None:
            self._finish()

    def rows(self, sheet: Sheet | Entries, part: pd.DataFrame, called: str = "") -> Iterator[pd.DataFrame]:
        """Manifest rows, and part's other columns beside them.

        part: youtube_id, start and end in seconds as the list has them, split ("" or one of SPLITS), and others.
        called: the split that the config calls the list by, if it does.
        """
        ids = part["youtube_id"]
        split = csv_chunks.each(part["split"], lambda name: SPLITS.get(name.lower(), ""))
        first, last = (csv_chunks.each(part[name], _seconds, float) for name in ("start", "end"))
        faults: list[csv_chunks.Fault] = [
            (~ids.str.fullmatch(YOUTUBE_ID), lambda row: _bad_id(row["youtube_id"], sheet)),
            (first.isna(), lambda row: _no_seconds("start", row["start"])),
            (last.isna(), lambda row: _no_seconds("end", row["end"])),
            (
                last <= first,
                lambda row: f"the clip ends at {row['end']} s, not after its start at {row['start']} s",
            ),
            # A hair above: sums of decimal fractions.
            (
                last - first > self._longest + 1e-6,
                lambda row: (
                    f"the clip lasts {_seconds(row['end']) - _seconds(row['start']):g} s, {self._longest:g} s "
                    "are the most in this data set; are its times milliseconds?"
                ),
            ),
            (
                (split == "") & (part["split"] != ""),
                lambda row: f"{row['split']!r} is no split; train, validation and test are",
            ),
            (
                split != (called or split),
                lambda row: f"split {row['split']!r} in a list that the config calls {called}",
            ),
        ]
        for good in csv_chunks.sound(part, sheet.place, faults):
            ids, start = good["youtube_id"], csv_chunks.each(good["start"], _written)
            clip_id = ids + "_" + start
            self._ids.append((sheet, clip_id))
            self._most = max(self._most, float((last - first)[: len(good)].max()))
            self._capital = self._capital or bool(ids.str.contains("[A-Z]").any())
            self._small = self._small or bool(ids.str.contains("[a-z]").any())
            fields = {
                "clip_id": clip_id,
                "source": "youtube:" + ids,
                "start_s": start,
                "end_s": csv_chunks.each(good["end"], _written),
                "group": ids,
                "split": split[: len(good)],
                "text": pd.Series("", index=good.index, dtype="str"),
            }
            yield pd.DataFrame(fields | dict(good.drop(columns=["youtube_id", "start", "end", "split"])))

    def _refuse_repeated(self) -> None:
        if pd.concat([ids for _, ids in self._ids]).is_unique:
            return
        every = pd.concat([ids for _, ids in self._ids], keys=range(len(self._ids)))
        again = every.index[every.duplicated()][0]
        (part, line), clip_id = again, every[again]
        other, number = every.index[every == clip_id][0]
        raise UserError(
            f"{self._ids[part][0].place(line)}: clip {clip_id} is there already, "
            f"{self._ids[other][0].location}, line {number}"
        )

    def _finish(self) -> None:
        """What only all rows together show."""
        if sum(len(ids) for _, ids in self._ids) < ENOUGH_IDS:
            return
        sheet, ids = self._ids[0]
        place = f"{sheet.location}, line {ids.index[0]}"
        if self._most < self._longest - 1e-6:
            raise UserError(
                f"{place}: from here on no clip lasts the {self._longest:g} s of this data set, "
                f"the longest {self._most:g} s; are its times seconds?"
            )
        if not (self._capital and self._small):
            raise UserError(
                f"{place}: ids are all {'small' if self._small else 'capital'} letters from here on; "
                "the case of YouTube ids counts, fetch the list anew"
            )


def _seconds(value: str) -> float:
    return float(value) if NUMBER.fullmatch(value) else nan


def _written(value: str) -> str:
    return f"{float(value):.12g}"


def _no_seconds(name: str, value: str) -> str:
    hint = ", with a point for the decimals" if "," in value else ""
    return f"{name} {value!r} is no number of seconds{hint}"


def _bad_id(value: str, sheet: Sheet | Entries) -> str:
    if SPREADSHEET.match(value):
        return (
            f"{value!r} stands where the id was, in {sheet.spreadsheet_errors()} rows: a spreadsheet took ids "
            "that begin with - for formulas; fetch the list anew"
        )
    if value.startswith("#"):
        return "a comment among the rows; are these two lists in one file?"
    return f"{value[:40]!r} is no YouTube id, which has 11 of A-Z a-z 0-9 _ -"
