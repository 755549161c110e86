"""What every data set is: annotations -> a manifest, and where the media of a clip are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from modalens.media import fetching
from modalens.media.sources import DownloadOptions, Fetched
from modalens.utils.errors import UserError
from modalens.utils.words import counted


@dataclass(frozen=True)
class Reads:
    """What the modalities of a study read of a row.

    columns: of the annotations, which stand among the tasks. files: those of them whose cells name files. media: the
    media file is "required" where no modality is elsewhere, "optional" where some are, else "none".
    """

    columns: Sequence[str] = ()
    files: Sequence[str] = ()
    media: Literal["required", "optional", "none"] = "required"


class Dataset:
    """Options of a subclass are keyword arguments after the tasks; it raises UserError for lists that are not whole."""

    tasks: list[str]
    reads: Reads = Reads()
    # Sources that describe files of this machine otherwise than by a path: a list from the web may not hold them.
    describes_files: bool = False

    def __init__(self, tasks: list[str]) -> None:
        """tasks: label columns of the study."""
        self.tasks = tasks

    def manifest(self) -> pd.DataFrame:
        """One row a clip, every cell a text, "" where there is nothing: clip_id, source, start_s, end_s (seconds of the
        source), group (what a split must not cut), split (train, validation, test), text, and a column for each task
        and each of `reads.columns`. A row without a source has no media file.

        A media file that is not there is no error here: `fetch` finds that out.
        """
        raise NotImplementedError

    def answers(self) -> dict[str, dict[str, Any]]:
        """{task: its known answer}, for rendered clips; {} where nobody knows it."""
        return {}

    def inputs(self) -> list[Path]:
        """Files whose change makes the manifest anew."""
        return []

    @staticmethod
    def fetch(
        source: str, start_s: float | None, end_s: float | None, destination: Path, options: DownloadOptions
    ) -> Fetched:
        """A file on the disk where it lies, or an address downloaded to `destination` + a suffix. Raises ClipError."""
        return fetching.fetch(source, start_s, end_s, destination, options)


def unique(
    table: pd.DataFrame, where: str, remedy: Callable[[str, str], str], places: "pd.Series[str] | None" = None
) -> pd.DataFrame:
    """The manifest itself. Raises UserError where two rows, two files mostly, are the same clip.

    places: of the rows, where that is not their source. remedy: of the places of the first two.
    """
    again = table.loc[table["clip_id"].duplicated(), "clip_id"]
    if len(again):
        clip_id = again.iloc[0]
        first, second = (table["source"] if places is None else places)[table["clip_id"] == clip_id].iloc[:2]
        raise UserError(
            f"{where}: {counted(len(again), 'clip id')} occur{'s' * (len(again) == 1)} again, first {clip_id!r} "
            f"({first} and {second}); {remedy(first, second)}"
        )
    return table
