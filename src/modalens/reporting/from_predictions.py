"""The report of predictions that no study made: a folder as the stages leave it, of what there is, then its page."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.reporting.page import page
from modalens.reporting.study_results import Study
from modalens.stats.leaderboard import leaderboard


def page_of(
    tables: Mapping[str, pd.DataFrame],
    measured: Mapping[str, Mapping[str, pd.DataFrame]],
    settings: dict[str, Any],
    resampling: Mapping[str, Any],
) -> str:
    """HTML. tables: task -> predictions, checked. measured: task -> measure -> its table. settings: of `report`."""
    models = sorted({name for table in tables.values() for name in table["model"].unique()})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for task, table in tables.items():
            _write(root, _file(task), table, measured[task], settings["model"], resampling)
        config = {
            "tasks": [_file(task) for task in tables],
            "models": [_file(name) for name in models],
            "relevance": {"confidence": resampling["confidence"]},
            "report": {**settings, "model": _file(settings["model"])},
        }
        html, *_ = page(Study(root, config), "", beside=False)
    return html


def _write(
    root: Path,
    task: str,
    table: pd.DataFrame,
    measured: Mapping[str, pd.DataFrame],
    reference: str,
    resampling: Mapping[str, Any],
) -> None:
    models = {str(name): part for name, part in table.groupby("model")}
    for folder in (root / "evaluate" / task, root / "relevance" / task, root / "leaderboard"):
        folder.mkdir(parents=True, exist_ok=True)
    for name, part in models.items():
        part.to_parquet(root / "evaluate" / task / f"{_file(name)}.parquet", index=False)
    for name, found in measured.items():
        made = found.assign(task=task, model=found["model"].map(_file))
        made.to_csv(root / "relevance" / task / f"{name}.csv", index=False)
    board = _leaderboard(models, reference, resampling)
    if board is not None:
        board = board.assign(task=task, model=board["model"].map(_file), reference=_file(board["reference"].iloc[0]))
        board.to_csv(root / "leaderboard" / f"{task}.csv", index=False)


def _leaderboard(
    models: Mapping[str, pd.DataFrame], reference: str, resampling: Mapping[str, Any]
) -> pd.DataFrame | None:
    """None for one model, and for models that were not tested on the same clips and seeds."""
    full = {name: part[part["replacement"] == ""] for name, part in models.items()}
    tests = [set(zip(part["clip_id"], part["seed"], strict=True)) for part in full.values()]
    if len(full) < 2 or any(test != tests[0] for test in tests):
        return None
    if reference not in full:
        reference = max(full, key=lambda name: full[name]["coalition"].iloc[0].count(","))
    options = {"replicates": resampling["bootstrap"], "confidence": resampling["confidence"]}
    return leaderboard(full, reference, seed=resampling["seed"], **options).assign(reference=reference)


def _file(name: str) -> str:
    """A model may be called openai/clip, a file may not: a slash that looks the same stands for it."""
    return name.replace(os.sep, "\u2215")
