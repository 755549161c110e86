"""A study as it was published: the list that `modalens freeze` wrote, with its splits and what was there then."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from modalens import registry, sources
from modalens.cli import UserError
from modalens.datasets import _table
from modalens.datasets.folder import escapes
from modalens.sources import Fetched, Options

EXPECTED = ["clip_id", "status", "cause", "sha256", "picture", "sound"]
OPTIONAL = ["start_s", "end_s", "group", "text"]


class Frozen:
    """csv: path or URL of frozen.csv. media: folder that its files on disk count from."""

    def __init__(self, tasks: list[str], *, csv: str, media: str | None = None) -> None:
        self.tasks, self.csv, self.media = tasks, str(csv), media
        self.remote = _table.is_url(self.csv)

    def manifest(self) -> pd.DataFrame:
        present, rows = self._read()
        for name in ("clip_id", "source", *self.tasks):
            _table.column(name, present, self.csv)
        splits = {f"split:{task}" for task in self.tasks} & set(present)
        table = []
        for line, row in rows:
            for name in ("start_s", "end_s"):
                _check_time(f"{self.csv}, line {line}", name, row.get(name, ""))
            kept = {name: row.get(name, "") for name in (*OPTIONAL, *sorted(splits), *self.tasks)}
            source = self._source(row["source"], line)
            table.append({"clip_id": row["clip_id"], "source": source, "split": "", **kept})
        found = pd.DataFrame(table)
        found["group"] = found["group"].where(found["group"] != "", found["source"])
        return found

    def expected(self) -> pd.DataFrame:
        """What each clip was when the list was written: EXPECTED, in order of clip id."""
        _, rows = self._read()
        table = pd.DataFrame([{name: row.get(name, "") for name in EXPECTED} for _, row in rows])
        return table.sort_values("clip_id", ignore_index=True)

    def answers(self) -> dict[str, dict[str, Any]]:
        """Those of rendered clips lie beside the list."""
        path = Path(self.csv).with_name("answers.json")
        if self.remote or not path.exists():
            return {}
        known = json.loads(path.read_text(encoding="utf-8"))
        return {task: known[task] for task in self.tasks if task in known}

    def inputs(self) -> list[Path]:
        return [] if self.remote else [Path(self.csv)]

    @staticmethod
    def fetch(source: str, start_s: float | None, end_s: float | None, destination: Path, options: Options) -> Fetched:
        """A source that names a data set is fetched by that one: `known_answer:...` is rendered."""
        name = source.partition(":")[0]
        if name in registry.names("datasets"):
            fetched: Fetched = registry.load("datasets", name).fetch(source, start_s, end_s, destination, options)
            return fetched
        return sources.fetch(source, start_s, end_s, destination, options)

    def _read(self) -> tuple[list[str], list[_table.Row]]:
        return _table.read(self.csv)

    def _source(self, source: str, line: int) -> str:
        if not source:
            raise UserError(f"{self.csv}, line {line}: the source is empty")
        if not on_disk(source):
            return source
        if self.remote and self.media is None:
            raise UserError(f"dataset frozen: media is wanted, {self.csv} lists files such as {source!r}")
        if self.media is None:
            return source
        if escapes(source):
            raise UserError(f"{self.csv}, line {line}: {source!r} leads out of the media folder")
        return (Path(self.media) / source).as_posix()


def on_disk(source: str) -> bool:
    """Whether a source is the path of a file, neither an address nor a description that a data set renders."""
    return not sources.is_address(source) and source.partition(":")[0] not in registry.names("datasets")


def _check_time(place: str, name: str, value: str) -> None:
    try:
        good = not value or 0 <= float(value) < float("inf")
    except ValueError:
        good = False
    if not good:
        raise UserError(f"{place}: {name} {value!r} is no number of seconds")
