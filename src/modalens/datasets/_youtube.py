"""Rows of manifests for clips of YouTube videos, and what the id and the times of each must be."""

import re

from modalens.cli import UserError
from modalens.datasets._lists import SPLITS, SPREADSHEET, Entries, Sheet

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?")
# Ids are random: that this many hold no capital letter, or no small one, has a chance below 1e-40. So few clips that
# are all shorter than usual may be meant.
ENOUGH_IDS = 50


class Clips:
    """Manifest rows from rows of lists, and what every one of them must be. longest: seconds of a clip."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._places: dict[str, tuple[str, int]] = {}
        self._capital = self._small = False
        self._most = 0.0

    def row(
        self, sheet: Sheet | Entries, line: int, youtube_id: str, start: str, end: str, split: str
    ) -> dict[str, str]:
        """start, end: seconds as the list has them. split: "" or one of SPLITS."""
        place = sheet.place(line)
        if not YOUTUBE_ID.fullmatch(youtube_id):
            raise UserError(f"{place}: {_bad_id(youtube_id, sheet)}")
        first, last = _seconds(place, "start", start), _seconds(place, "end", end)
        if last <= first:
            raise UserError(f"{place}: the clip ends at {end} s, not after its start at {start} s")
        # A hair above: sums of decimal fractions.
        if last - first > self._longest + 1e-6:
            raise UserError(
                f"{place}: the clip lasts {last - first:g} s, {self._longest:g} s are the most in this data set; "
                "are its times milliseconds?"
            )
        if split and split.lower() not in SPLITS:
            raise UserError(f"{place}: {split!r} is no split; train, validation and test are")
        clip_id = f"{youtube_id}_{first:.12g}"
        if clip_id in self._places:
            other, number = self._places[clip_id]
            raise UserError(f"{place}: clip {clip_id} is there already, {other}, line {number}")
        self._places[clip_id] = (sheet.location, line)
        self._most = max(self._most, last - first)
        self._capital |= youtube_id.lower() != youtube_id
        self._small |= youtube_id.upper() != youtube_id
        return {
            "clip_id": clip_id,
            "source": f"youtube:{youtube_id}",
            "start_s": f"{first:.12g}",
            "end_s": f"{last:.12g}",
            "group": youtube_id,
            "split": SPLITS[split.lower()] if split else "",
            "text": "",
        }

    def finish(self) -> None:
        """What only all rows together show."""
        if len(self._places) < ENOUGH_IDS:
            return
        location, line = next(iter(self._places.values()))
        if self._most < self._longest - 1e-6:
            raise UserError(
                f"{location}, line {line}: from here on no clip lasts the {self._longest:g} s of this data set, "
                f"the longest {self._most:g} s; are its times seconds?"
            )
        if not (self._capital and self._small):
            raise UserError(
                f"{location}, line {line}: ids are all {'small' if self._small else 'capital'} letters from here on; "
                "the case of YouTube ids counts, fetch the list anew"
            )


def _seconds(place: str, name: str, value: str) -> float:
    if not NUMBER.fullmatch(value):
        hint = ", with a point for the decimals" if "," in value else ""
        raise UserError(f"{place}: {name} {value!r} is no number of seconds{hint}")
    return float(value)


def _bad_id(value: str, sheet: Sheet | Entries) -> str:
    if SPREADSHEET.match(value):
        return (
            f"{value!r} stands where the id was, in {sheet.spreadsheet_errors()} rows: a spreadsheet took ids "
            "that begin with - for formulas; fetch the list anew"
        )
    if value.startswith("#"):
        return "a comment among the rows; are these two lists in one file?"
    return f"{value[:40]!r} is no YouTube id, which has 11 of A-Z a-z 0-9 _ -"
