"""What no clip of a task has ends the study where that is seen, with the commonest cause."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from modalens.utils.csv_tables import read_table
from modalens.utils.errors import UserError


def expect_some(study: Path, stages: Iterable[str], labels: pd.DataFrame, task: str) -> None:
    """labels: clip_id and shard of the labelled clips. Raises UserError for a stage in which all of them failed: the
    commonest cause and what was said of it, with a status table that holds it."""
    for stage in dict.fromkeys(stages):
        failed = []
        for shard, clips in labels.groupby("shard")["clip_id"]:
            path = study / stage / f"{shard}.csv"
            status = read_table(path).set_index("clip_id").reindex(clips)
            if (status["status"] == "ok").any():
                break
            failed.append(status.assign(path=str(path)))
        else:
            raise UserError(f"{task}: " + _told(pd.concat(failed), stage))


def _told(failed: pd.DataFrame, stage: str) -> str:
    cause = failed["cause"].mode()[0]
    rows = failed[failed["cause"] == cause]
    detail = rows["detail"].mode()[0]
    most = "" if len(rows) == len(failed) else f" {len(rows)} times"
    said = f" ({' '.join(detail.split())[:200]})" if detail else ""
    return (
        f"{stage}: expected some clips that could be read, but all {len(failed)} failed,{most} with the cause {cause!r}"
        f"{said}; see {rows['path'].iloc[0]}"
    )
