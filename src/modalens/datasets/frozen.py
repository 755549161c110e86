"""A study as it was published: the list that `modalens freeze` wrote, with its splits and what was there then."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.datasets._base import Dataset
from modalens.datasets.folder import escapes
from modalens.media import fetching, local_file, sources
from modalens.media.sources import DownloadOptions, Fetched
from modalens.plugins import registry
from modalens.utils import csv_input
from modalens.utils.errors import UserError

EXPECTED = ["clip_id", "status", "cause", "sha256"]
SKETCH = "_sketch"  # ending of the columns that hold the word of a sketch
OPTIONAL = ["start_s", "end_s", "group", "text"]


class Frozen(Dataset):
    """csv: path or URL of frozen.csv. media: folder that its files on disk count from."""

    def __init__(self, tasks: list[str], *, csv: str, media: str | None = None) -> None:
        self.tasks, self.csv, self.media = tasks, str(csv), media
        self.remote = csv_input.is_url(self.csv)

    def manifest(self) -> pd.DataFrame:
        table = csv_input.read(self.csv)
        for name in ("clip_id", "source", *self.tasks):
            csv_input.column(name, list(table.columns), self.csv)
        splits = sorted({f"split:{task}" for task in self.tasks} & set(table.columns))
        blank = pd.Series("", index=table.index, dtype="str")
        kept = {name: table.get(name, blank) for name in (*OPTIONAL, *splits, *self.tasks)}
        rows = zip(table.index, kept["start_s"], kept["end_s"], table["source"], strict=True)
        source = pd.Series([self._source(*row) for row in rows], index=table.index, dtype="str")
        kept |= {name: table[name].map(partial(self._located, name)) for name in self.reads.files}
        kept["group"] = (
            kept["group"].where(kept["group"] != "", source).where(kept["group"] + source != "", table["clip_id"])
        )
        found = pd.DataFrame({"clip_id": table["clip_id"], "source": source, "split": blank} | kept)
        return found.reset_index(drop=True)

    def expected(self) -> pd.DataFrame:
        """What each clip was when the list was written: EXPECTED and words of sketches, in order of clip id."""
        table = csv_input.read(self.csv)
        words = [str(name) for name in table if str(name).endswith(SKETCH)]
        table = table.reindex(columns=[*EXPECTED, *words], fill_value="")
        return table.sort_values("clip_id", ignore_index=True)

    def answers(self) -> dict[str, dict[str, Any]]:
        """Those of rendered clips lie beside the list."""
        path = Path(self.csv).with_name("answers.json")
        if self.remote or not path.exists():
            return {}
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: no readable JSON ({str(error)[:100]}); delete it, or fetch it anew") from error
        if not isinstance(known, dict) or not all(isinstance(known.get(task, {}), dict) for task in self.tasks):
            raise UserError(f"{path}: expected {{task: its answer}}; delete it, or fetch it anew")
        return {task: known[task] for task in self.tasks if task in known}

    def inputs(self) -> list[Path]:
        return [] if self.remote else [Path(self.csv)]

    @staticmethod
    def fetch(
        source: str, start_s: float | None, end_s: float | None, destination: Path, options: DownloadOptions
    ) -> Fetched:
        """A source that names a data set is fetched by that one: `known_answer:...` is rendered."""
        name = source.partition(":")[0]
        if name in registry.names("datasets"):
            fetched: Fetched = registry.load("datasets", name).fetch(source, start_s, end_s, destination, options)
            return fetched
        return fetching.fetch(source, start_s, end_s, destination, options)

    def _source(self, line: int, start: str, end: str, source: str) -> str:
        _check_time(f"{self.csv}, line {line}", "start_s", start)
        _check_time(f"{self.csv}, line {line}", "end_s", end)
        if not source and self.reads.media == "required":
            raise UserError(f"{self.csv}, line {line}: the source is empty")
        name = source.partition(":")[0]
        if self.remote and name in registry.names("datasets") and registry.load("datasets", name).describes_files:
            raise UserError(
                f"{self.csv}, line {line}: {name} reads files of this machine, which no list from the web may"
            )
        return self._path(f"line {line}", source) if source and on_disk(source) else source

    def _located(self, column: str, cell: str) -> str:
        """Paths of the files that a cell names, where they lie."""
        paths = [self._path(f"column {column}", path) for path in cell.split(local_file.SEPARATOR)] if cell else []
        return local_file.SEPARATOR.join(paths)

    def _path(self, place: str, path: str) -> str:
        if self.remote and self.media is None:
            raise UserError(f"dataset frozen: media is wanted, {self.csv} lists files such as {path!r}")
        if self.media is None:
            return path
        if escapes(path):
            raise UserError(f"{self.csv}, {place}: {path!r} leads out of the media folder")
        return (Path(self.media) / path).as_posix()


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
