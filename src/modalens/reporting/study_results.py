"""What the report is made of: a study folder -> tables, each tidy and with a column `task`."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.config import modalities
from modalens.media.status import causes
from modalens.plugins import introspection, registry
from modalens.reporting.model_scores import ModelScores, read_scores
from modalens.reporting.tables import OF_MEASURES, read
from modalens.stats.coalitions import model_of
from modalens.stats.significance import corrected
from modalens.stats.targets import TARGETS
from modalens.utils import checksums, hdf5
from modalens.utils.errors import UserError

# Parts of a resolved config that are read here. Those of predictions that no study made lack most of them.
PARTS = ("modalities", "relevance", "report", "evaluate", "search", "splits", "media", "dataset")
OF_A_MODALITY = ("kind", "encoder", "decode", "keep")


@dataclass
class Study:
    """A study folder and its resolved config. Raises UserError where there is nothing to report, and for the config of
    another version."""

    root: Path
    config: dict[str, Any]
    tasks: list[str] = field(init=False)
    models: list[str] = field(init=False)
    _measures: dict[str, pd.DataFrame] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if strange := _strange(self.config):
            raise UserError(
                f"{self.root}: its config {strange}: another version of modalens wrote it, or a hand; run the study "
                "again with its own config"
            )
        found: dict[str, dict[str, Path]] = {}
        for path in sorted(self.root.glob("evaluate/*/*.parquet")):
            found.setdefault(path.parent.name, {})[path.stem] = path
        # The config's order is the author's; results of tasks and models that it no longer names are not part of it.
        self.tasks = [task for task in self.config.get("tasks") or sorted(found) if task in found]
        names = {model for task in self.tasks for model in found[task]}
        self.models = [model for model in self.config.get("models") or sorted(names) if model in names]
        if not self.tasks or not self.models:
            raise UserError(f"{self.root}/evaluate holds no predictions of this config's tasks and models")
        self._files = {
            task: {model: found[task][model] for model in self.models if model in found[task]} for task in found
        }

    @property
    def settings(self) -> dict[str, Any]:
        return self.config.get("report") or {}

    @cached_property
    def replacement(self) -> str:
        """The replacement that the answer is about."""
        known = list((self.config.get("evaluate") or {}).get("replacements") or [])
        for table in (self.measure("shapley"), self.measure("leave_one_out")):
            known += [] if table.empty else sorted(set(table["replacement"]) - {""})
        wanted = self.settings.get("replacement", "")
        return wanted if wanted in known else next(iter(known), "")

    @cached_property
    def scores(self) -> dict[str, dict[str, ModelScores]]:
        wanted = sorted({"blank@input", "gaussian@input", self.replacement})
        return {t: {m: read_scores(path, wanted) for m, path in self._files[t].items()} for t in self.tasks}

    def multimodal(self, task: str) -> list[str]:
        return [model for model, scored in self.scores[task].items() if len(scored.modalities) > 1]

    def headline(self, task: str) -> str:
        """The model that the answer is about: the config's, else the first multimodal one, else the first."""
        several = self.multimodal(task)
        wanted = self.settings.get("model", "")
        return wanted if wanted in self.scores[task] else next(iter([*several, *self.scores[task]]))

    def target(self, task: str) -> str:
        """What a label of the task is, of stats.targets."""
        return self.scores[task][self.headline(task)].target

    def metric(self, task: str) -> str:
        """What the task's answer is told in. Where one class is most of the test set, accuracy hardly moves when a
        model learns to tell the others."""
        scored = self.scores[task][self.headline(task)]
        return "balanced_accuracy" if scored.imbalanced else TARGETS[scored.target].metrics[0]

    @cached_property
    def forms(self) -> list[str]:
        """Folders of the decoded forms."""
        return list(modalities.forms(self.config)) if self.config.get("modalities") else []

    def expert(self, task: str, modality: str) -> str | None:
        return model_of((modality,), {name: scored.modalities for name, scored in self.scores[task].items()})

    def measure(self, name: str) -> pd.DataFrame:
        """relevance/<task>/<name>.csv of all tasks, those of the config's models; empty when it was not asked for."""
        if name not in self._measures:
            self._measures[name] = self._read_measure(name)
        return self._measures[name]

    def measures(self) -> list[str]:
        """All that were computed, those of the config first."""
        there = {path.stem for task in self.tasks for path in (self.root / "relevance" / task).glob("*.csv")}
        wanted = (self.config.get("relevance") or {}).get("measures") or {}
        # What a study no longer asks for is not part of it; predictions that no study made ask for nothing.
        return [name for name in wanted if name in there] if wanted else sorted(there)

    def unmeasured(self) -> dict[str, list[str]]:
        """Measure -> tasks that it was asked for and has no table of, as far as the measure's file is known here."""
        lacking: dict[str, list[str]] = {}
        known = registry.names("measures")
        for name in (self.config.get("relevance") or {}).get("measures") or {}:
            for task in self.tasks if name in known else ():
                defined = self.target(task) in introspection.attribute("measures", name, "targets_measured")
                if defined and not (self.root / "relevance" / task / f"{name}.csv").exists():
                    lacking.setdefault(name, []).append(task)
        return lacking

    def predictions(self, task: str, model: str) -> Path:
        return self._files[task][model]

    def _read_measure(self, name: str) -> pd.DataFrame:
        paths = [self.root / "relevance" / task / f"{name}.csv" for task in self.tasks]
        tables = [_of_measure(path) for path in paths if path.exists()]
        table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
        if table.empty:
            return table
        table = table[table["model"].isin(self.models)]
        # A file is of one task; what is read together is one family.
        return corrected(table, "metric") if {"p_value", "p_holm", "metric"} <= set(table) else table

    def answers(self) -> dict[str, Any]:
        path = self.root / "manifest" / "answers.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            return {task: found[task] for task in self.tasks if task in found}
        except (ValueError, TypeError) as error:
            raise checksums.damaged(path, error) from error

    def attrition(self) -> pd.DataFrame:
        """task, split, label, cause (empty = used), stage, clips."""
        paths = {task: self.root / "splits" / task / "attrition.csv" for task in self.tasks}
        tables = [read(path, "attrition").assign(task=task) for task, path in paths.items() if path.exists()]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def split_sizes(self) -> dict[str, pd.DataFrame]:
        """task -> split, clips, share, asked (not-a-number in an official split)."""
        paths = {task: self.root / "splits" / task / "sizes.csv" for task in self.tasks}
        return {task: read(path, "sizes") for task, path in paths.items() if path.exists()}

    def histories(self, task: str) -> pd.DataFrame:
        """model, seed and the columns of history.csv."""
        tables = []
        for model in self.scores[task]:
            for path in sorted((self.root / "train" / task / model).glob("*/history.csv")):
                tables.append(read(path, "history").assign(model=model, seed=path.parent.name))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def decoding(self) -> pd.DataFrame:
        """stage, decoder, status, cause, clips, median_seconds: what became of each clip at each stage.

        A clip that is used counts for each cause that was noted of it.
        """
        tables = []
        for stage in ("clips", *self.forms):
            for path in sorted((self.root / stage).glob("*.csv")):
                tables.append(read(path, "status").assign(stage=stage))
        if not tables:
            return pd.DataFrame()
        table = pd.concat(tables, ignore_index=True)
        table = table.reindex(columns=["stage", "decoder", "status", "cause", "detail", "seconds", "clip_id"])
        table[["decoder", "cause", "detail"]] = table[["decoder", "cause", "detail"]].fillna("")
        cells = zip(table["status"], table["cause"], table["detail"], strict=True)
        table["cause"] = [causes(*row) or [""] for row in cells]
        table = table.explode("cause")
        grouped = table.groupby(["stage", "decoder", "status", "cause"], sort=True)
        return grouped.agg(clips=("clip_id", "size"), median_seconds=("seconds", "median")).reset_index()


def _strange(config: dict[str, Any]) -> str:
    """What is not as `config.resolve` makes it, "" for nothing."""
    for name in PARTS:
        if not isinstance(config.get(name), dict | None):
            return f"has no mapping {name!r}"
    for name in ("tasks", "models"):
        if not all(isinstance(one, str) for one in config.get(name) or ()):
            return f"has other than names in {name!r}"
    for name, entry in (config.get("modalities") or {}).items():
        if not isinstance(entry, dict) or not set(OF_A_MODALITY) <= set(entry):
            return f"lacks {', '.join(OF_A_MODALITY)} in 'modalities.{name}'"
    confidence = (config.get("relevance") or {}).get("confidence")
    if not isinstance(confidence, float) or not 0 < confidence < 1:
        return "has no 'relevance.confidence' between 0 and 1"
    if (config.get("search") or {}).get("budget") and "seeds" not in config["search"]:
        return "has no 'search.seeds'"
    return ""


def weights(study: Study) -> dict[str, str]:
    """modality -> its encoder, and what its cached features say of the weights that made them."""
    found = {}
    for folder in sorted((study.root / "features").glob("*")):
        path = next(iter(sorted(folder.glob("*.h5"))), None)
        if path is not None:
            made = hdf5.attributes(path)
            found[folder.name] = f"{made.get('encoder', '')}: {made.get('weights', 'not stated')}"
    return found


def _of_measure(path: Path) -> pd.DataFrame:
    """Raises UserError for what the stage `relevance` did not write: no finding may come of it, not even that there is
    none."""
    return read(path, path.stem if path.stem in OF_MEASURES else "", path.parent.name)
