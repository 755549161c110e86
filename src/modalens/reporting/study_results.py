"""What the report is made of: a study folder -> tables, each tidy and with a column `task`."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modalens.config import modalities
from modalens.media.status import causes
from modalens.reporting import appearance
from modalens.reporting.appearance import withheld
from modalens.stats.coalitions import from_text, model_of, to_text
from modalens.stats.metrics import RANK, TOP, Array, confusion_metrics
from modalens.stats.predictions import PRIOR_PREDICTED
from modalens.stats.significance import corrected
from modalens.stats.targets import CLASSES, TARGETS, axes_of, commonest, count, target_of
from modalens.utils import hdf5, parquet
from modalens.utils.errors import UserError

IMBALANCE = 0.1  # so much more than its equal share has the commonest class, where accuracy hides the others
TEXT = {
    "task",
    "model",
    "notion",
    "replacement",
    "value_function",
    "modality",
    "metric",
    "split",
    "label",
    "cause",
    "stage",
}
TEXT |= {"coalition", "value_function"}
TEXT |= {"clip_id", "status", "detail", "decoder", "group", "shard", "since"}
TEXT |= {"kind", "other", "other_split", "other_label", "reference", "verdict"}
METRIC_NAMES = {
    "accuracy": "Acc.",
    "balanced_accuracy": "Balanced Acc.",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "top3_accuracy": "Top-3 Acc.",
    "top5_accuracy": "Top-5 Acc.",
}


def read(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """A CSV of ours. A class may well be called `NA` or `01`: text stays text, an empty number is not-a-number."""
    try:
        header = pd.read_csv(path, nrows=0).columns
        numbers = {name: [""] for name in header if name not in TEXT}
        types = dict.fromkeys(TEXT & set(header), str)
        return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=numbers, usecols=columns)
    except (ValueError, pd.errors.ParserError) as error:  # pandas calls an empty file, other bytes and columns so
        raise UserError(f"{path} is damaged ({' '.join(str(error).split())[:100]}); delete it and run again") from error


@dataclass(frozen=True)
class ModelScores:
    """One model on one task's test set. confusion: (replacement, coalition) -> (seeds, classes, classes), of classes
    only. top: likewise, top-k accuracy by its name (seeds,), where there are more classes. target: of stats.targets."""

    modalities: tuple[str, ...]
    classes: list[str]
    clips: int
    groups: int
    # The main metric of always naming the commonest class of the training set (of the test set, where that is not
    # known), the mean number or the tags that most clips have.
    chance: float
    confusion: dict[tuple[str, str], Array]
    seeds: int
    target: str = CLASSES
    top: dict[tuple[str, str], dict[str, Array]] = field(default_factory=dict)

    @property
    def full(self) -> Array:
        return self.confusion["", to_text(self.modalities)]

    @property
    def imbalanced(self) -> bool:
        """One class is so common in the test set that accuracy hides the others."""
        if self.target != CLASSES:
            return False
        counts = self.full[0].sum(axis=1)
        return bool(counts.max() / counts.sum() > 1 / np.count_nonzero(counts) + IMBALANCE)

    @property
    def rarest(self) -> tuple[str, int]:
        """The class with the fewest test clips, of those that have any, and how many. Of classes only."""
        counts = self.full[0].sum(axis=1)
        place = int(np.where(counts > 0, counts, np.inf).argmin())
        return self.classes[place], int(counts[place])


def read_scores(path: Path, replacements: list[str]) -> ModelScores:
    columns = ["clip_id", "group", "seed", "replacement", "coalition", "label", "predicted"]
    columns += [name for name in (PRIOR_PREDICTED, "target", RANK) if name in parquet.columns(path)]
    frame = parquet.read(path, columns, [("replacement", "in", ["", *replacements])])
    full = frame[frame["replacement"] == ""]
    if full.empty:
        raise UserError(f"{path} holds no prediction on the full input; run evaluate again")
    takes = from_text(str(full["coalition"].iloc[0]))
    sizes = (full["clip_id"].nunique(), full["group"].nunique())
    if (kind := target_of(full)) != CLASSES:
        return ModelScores(takes, [], *sizes, _chance(full, kind), {}, full["seed"].nunique(), kind)
    classes = sorted({*frame["label"].unique(), *frame["predicted"].unique()})
    seeds = sorted(frame["seed"].unique())
    index = pd.Index(classes)
    cell = np.ravel_multi_index(
        (
            np.asarray(pd.Index(seeds).get_indexer(pd.Index(frame["seed"]))),
            np.asarray(index.get_indexer(pd.Index(frame["label"]))),
            np.asarray(index.get_indexer(pd.Index(frame["predicted"]))),
        ),
        (len(seeds), len(classes), len(classes)),
    )
    confusion = {}
    for (replacement, kept), rows in frame.reset_index(drop=True).groupby(["replacement", "coalition"]):
        counts = np.bincount(cell[rows.index], minlength=len(seeds) * len(classes) ** 2).astype(np.float64)
        confusion[str(replacement), str(kept)] = counts.reshape(len(seeds), len(classes), len(classes))
    prior = full.get(PRIOR_PREDICTED, full["label"].mode().iloc[0])
    chance = float((full["label"] == prior).mean())
    top = _top(frame) if RANK in frame else {}
    return ModelScores(takes, classes, *sizes, chance, confusion, len(seeds), top=top)


def _top(frame: pd.DataFrame) -> dict[tuple[str, str], dict[str, Array]]:
    """(replacement, coalition) -> top-k accuracy (seeds,)."""
    wanted = {name: most for name, most in TOP.items() if most < frame["label"].nunique()}
    within = pd.DataFrame({name: frame[RANK] <= most for name, most in wanted.items()}, frame.index)
    found: dict[tuple[str, str], dict[str, Array]] = {}
    shares = within.groupby([frame["replacement"], frame["coalition"], frame["seed"]]).mean()
    for (replacement, kept), part in shares.groupby(level=[0, 1]):
        found[str(replacement), str(kept)] = {name: part[name].to_numpy() for name in wanted}
    return found


def _chance(full: pd.DataFrame, kind: str) -> float:
    """Of numbers or tags."""
    prior = full.get(PRIOR_PREDICTED, commonest(full["label"], kind))
    guess = full.assign(predicted=prior, log_probability=np.nan)
    axes = axes_of(guess)
    found = count(guess, axes).metrics(np.ones((1, len(axes.groups))))
    return float(found[TARGETS[kind].metrics[0]].mean())


@dataclass
class Study:
    """A study folder and its resolved config. Raises UserError where there is nothing to report."""

    root: Path
    config: dict[str, Any]
    tasks: list[str] = field(init=False)
    models: list[str] = field(init=False)
    _measures: dict[str, pd.DataFrame] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
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
        return [*(name for name in wanted if name in there), *sorted(there - set(wanted))]

    def predictions(self, task: str, model: str) -> Path:
        return self._files[task][model]

    def _read_measure(self, name: str) -> pd.DataFrame:
        paths = [self.root / "relevance" / task / f"{name}.csv" for task in self.tasks]
        tables = [read(path) for path in paths if path.exists()]
        table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
        if table.empty:
            return table
        table = table[table["model"].isin(self.models)]
        # A file is of one task; what is read together is one family.
        return corrected(table, "metric") if {"p_value", "p_holm", "metric"} <= set(table) else table

    def answers(self) -> dict[str, Any]:
        path = self.root / "manifest" / "answers.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return {task: found[task] for task in self.tasks if task in found}

    def attrition(self) -> pd.DataFrame:
        """task, split, label, cause (empty = used), stage, clips."""
        paths = {task: self.root / "splits" / task / "attrition.csv" for task in self.tasks}
        tables = [read(path).assign(task=task) for task, path in paths.items() if path.exists()]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def split_sizes(self) -> dict[str, pd.DataFrame]:
        """task -> split, clips, share, asked (not-a-number in an official split)."""
        paths = {task: self.root / "splits" / task / "sizes.csv" for task in self.tasks}
        return {task: read(path) for task, path in paths.items() if path.exists()}

    def histories(self, task: str) -> pd.DataFrame:
        """model, seed and the columns of history.csv."""
        tables = []
        for model in self.scores[task]:
            for path in sorted((self.root / "train" / task / model).glob("*/history.csv")):
                tables.append(read(path).assign(model=model, seed=path.parent.name))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def decoding(self) -> pd.DataFrame:
        """stage, decoder, status, cause, clips, median_seconds: what became of each clip at each stage.

        A clip that is used counts for each cause that was noted of it.
        """
        tables = []
        for stage in ("clips", *self.forms):
            for path in sorted((self.root / stage).glob("*.csv")):
                tables.append(read(path).assign(stage=stage))
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


def weights(study: Study) -> dict[str, str]:
    """modality -> its encoder, and what its cached features say of the weights that made them."""
    found = {}
    for folder in sorted((study.root / "features").glob("*")):
        path = next(iter(sorted(folder.glob("*.h5"))), None)
        if path is not None:
            made = hdf5.attributes(path)
            found[folder.name] = f"{made.get('encoder', '')}: {made.get('weights', 'not stated')}"
    return found


def results(study: Study) -> pd.DataFrame:
    """The seed paper's Tables 1-3 for each multimodal model, in percent: task, model, row, metric, mean, std, seeds."""
    rows = []
    for task in study.tasks:
        for model in study.multimodal(task) or list(study.scores[task]):
            for name, (scored, condition) in _cases(study, task, model).items():
                metrics = confusion_metrics(scored.confusion[condition]) | scored.top.get(condition, {})
                for metric, values in metrics.items():
                    std = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
                    key = {"task": task, "model": model, "row": name, "metric": metric}
                    rows.append(key | {"mean": 100 * float(values.mean()), "std": 100 * std, "seeds": len(values)})
    return pd.DataFrame(rows)


def _cases(study: Study, task: str, model: str) -> dict[str, tuple[ModelScores, tuple[str, str]]]:
    """Row of the table -> whose scores, under which condition."""
    scored = study.scores[task][model]
    if scored.target != CLASSES:
        return {}
    kinds = appearance.kinds(study.config)
    cases = {}
    if len(scored.modalities) > 1:
        for modality in scored.modalities:
            name = study.expert(task, modality)
            if name is not None:
                cases[f"{appearance.label(modality, kinds.get(modality, ''))} Model"] = _full(study.scores[task][name])
    cases[f"{model} (full)"] = _full(scored)
    for kind in ("gaussian", "blank"):
        for modality in scored.modalities:
            kept = to_text(name for name in scored.modalities if name != modality)
            if (f"{kind}@input", kept) in scored.confusion:
                name = withheld(modality, kind, kinds.get(modality, ""))
                cases[name] = scored, (f"{kind}@input", kept)
    return cases


def _full(scored: ModelScores) -> tuple[ModelScores, tuple[str, str]]:
    return scored, ("", to_text(scored.modalities))


def per_class(study: Study) -> pd.DataFrame:
    """The seed paper's Figure 4: task, model, case, modality, label, mean, std over seeds of the accuracy in a class.

    case: `full`; `only`, the multimodal model with this modality alone (the others blank); `expert`, the model trained
    on this modality alone.
    """
    rows = []
    for task in study.tasks:
        for model in study.multimodal(task) or list(study.scores[task]):
            scored = study.scores[task][model]
            if scored.target != CLASSES:
                continue
            cases = [("full", "", scored.classes, scored.full)]
            for modality in scored.modalities if len(scored.modalities) > 1 else ():
                for replacement in ("blank@input", study.replacement):
                    if (replacement, modality) in scored.confusion:
                        cases.append(("only", modality, scored.classes, scored.confusion[replacement, modality]))
                        break
                name = study.expert(task, modality)
                if name is not None:
                    other = study.scores[task][name]
                    cases.append(("expert", modality, other.classes, other.full))
            for case, modality, classes, confusion in cases:
                totals = confusion.sum(axis=2)
                right = np.diagonal(confusion, axis1=1, axis2=2)
                for index, label in enumerate(classes):
                    if totals[0, index] == 0:
                        continue
                    values = right[:, index] / totals[:, index]
                    std = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
                    key = {"task": task, "model": model, "case": case, "modality": modality, "label": label}
                    rows.append(key | {"mean": float(values.mean()), "std": std, "clips": int(totals[0, index])})
    return pd.DataFrame(rows)
