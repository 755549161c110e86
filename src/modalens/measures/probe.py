"""Probe: does a modality's sub-network inside a joint model know as much as the one that was trained alone?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from modalens.measures._asked import axes_of, counted, embeddings
from modalens.measures._base import Measure
from modalens.measures._studied import Array, Clips, StudiedModel
from modalens.measures._test_clips import multimodal, with_modality
from modalens.stats.bootstrap import Bootstrap, kind_of
from modalens.stats.coalitions import model_of
from modalens.stats.metrics import Array as Numbers
from modalens.stats.metrics import check_metrics, named
from modalens.utils.errors import UserError
from modalens.utils.extras import not_installed

# scikit-learn's C, for embeddings of a mean squared length of 1: from predictions that hardly differ to hardly any
# penalty.
STRENGTHS = tuple(10.0**power for power in range(-1, 5))
ITERATIONS = 1000


class Probe(Measure):
    """Ridge logistic regression (scikit-learn) on frozen embeddings: of the joint model's sub-network, and of the model
    that was trained on the modality alone from the same seed. The open question of the relevancy study, section 5.

    Trained on the training clips, its penalty chosen by the validation clips' log-probability, tested on the test
    clips; clips that lack the modality take no part. An embedding with steps is averaged over them. models: joint ones
    by name, all of them by default. strengths: of the data against the penalty, scikit-learn's C. metrics: of
    stats.metrics.METRICS.
    """

    needs = "model"
    unit = "inside the joint model minus trained alone"

    def __init__(
        self,
        *,
        models: list[str] | None = None,
        metrics: Sequence[str] = ("accuracy", "balanced_accuracy", "log_probability"),
        strengths: Sequence[float] = STRENGTHS,
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        check_metrics("probe: metrics", metrics)
        if not strengths or min(strengths) <= 0:
            raise UserError(f"probe: strengths: expected numbers above 0, got {list(strengths)}")
        self.models = models
        self.metrics = tuple(metrics)
        self.strengths = tuple(strengths)
        self.resampling: dict[str, Any] = {"replicates": bootstrap, "confidence": confidence, "seed": seed}

    def __call__(self, models: Sequence[StudiedModel]) -> pd.DataFrame:
        """One row per joint model, modality and metric; none for a model of one modality:

        model, modality, alone_model (trained on the modality alone; empty where the study has none), metric,
        inside, inside_low, inside_high; alone, alone_low, alone_high: of the probe on either embedding,
        difference = inside - alone, paired by clip and seed; low, high its interval over groups and seeds; groups_low,
        groups_high, seeds_low, seeds_high, seed_std, detectable,
        clips, groups, seeds: how many were tested.
        """
        takes = {model.name: tuple(model.modalities) for model in models}
        by_name = {model.name: model for model in models}
        probed: dict[tuple[str, str], dict[str, Numbers]] = {}  # the models trained alone serve every joint one
        rows: list[dict[str, Any]] = []
        for model in multimodal("probe", models, self.models):
            for modality in model.modalities:
                test = _clips(model, modality)["test"]
                axes = axes_of(test, model.seeds)
                bootstrap = Bootstrap(len(axes.groups), len(axes.seeds), **self.resampling)
                size = {"clips": len(test.table), "groups": len(axes.groups), "seeds": len(axes.seeds)}
                name = model_of((modality,), takes) or ""
                inside, alone = self._metrics(model, modality, bootstrap), None
                if name and by_name[name].seeds == model.seeds:
                    if (name, modality) not in probed:
                        probed[name, modality] = self._metrics(by_name[name], modality, bootstrap)
                    alone = probed[name, modality]
                for metric in named(self.metrics, inside):
                    key = {"model": model.name, "modality": modality, "alone_model": name if alone else ""}
                    values = (inside[metric], alone[metric] if alone else np.full_like(inside[metric], np.nan))
                    rows.append(key | {"metric": metric} | _row(metric, *values, bootstrap) | size)
        columns = ["model", "modality", "alone_model", "metric", "inside", "alone", "difference", "low", "high"]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: accuracy inside, and how far it is from that of the model trained alone."""
        found = {}
        for row in table[table["metric"] == "accuracy"].to_dict("records"):
            found[f"inside/{row['modality']}"] = row["inside"]
            if not np.isnan(row["difference"]):
                found[f"difference/{row['modality']}"] = row["difference"]
        return found

    def _metrics(self, model: StudiedModel, modality: str, bootstrap: Bootstrap) -> dict[str, Numbers]:
        chosen = _clips(model, modality)
        test = chosen["test"]
        answers = {}
        for seed in model.seeds:
            network = model.network(seed)
            parts = {}
            for split, clips in chosen.items():
                embedded = embeddings(network, {modality: clips.features[modality]})[modality]
                parts[split] = (_pooled(embedded), clips.truth)
            answers[seed] = self._probe(parts["train"], parts["validation"], parts["test"][0], len(test.labels))
        return bootstrap.metrics(counted(test, answers, axes_of(test, model.seeds)))

    def _probe(self, train: tuple[Array, Array], validation: tuple[Array, Array], test: Array, classes: int) -> Array:
        """(N, classes) log-probabilities of the test clips; a class without a training clip has none to give."""
        try:
            from sklearn.linear_model import LogisticRegression
            from sklearn.preprocessing import StandardScaler
        except ModuleNotFoundError as error:
            raise not_installed(error, "the measure probe", "torch") from error
        scaler = StandardScaler().fit(train[0])
        size = np.sqrt(max(1, int((scaler.var_ > 0).sum())))
        rows = [scaler.transform(values) / size for values in (train[0], validation[0], test)]
        model = LogisticRegression(C=1.0, max_iter=ITERATIONS, warm_start=True)
        best, answer = -np.inf, np.empty(0)
        for strength in sorted(self.strengths):
            model.set_params(C=strength).fit(rows[0], train[1])
            told = _columns(model, rows[1], classes)[np.arange(len(rows[1])), validation[1]].mean()
            if told > best or not answer.size:
                best, answer = told, _columns(model, rows[2], classes)
        return answer


def _clips(model: StudiedModel, modality: str) -> dict[str, Clips]:
    """split -> its clips that have the modality. Raises UserError where these are too few for a probe."""
    found = {split: with_modality(model.clips(split), modality) for split in ("train", "validation", "test")}
    if empty := [split for split, clips in found.items() if not len(clips.truth)]:
        raise UserError(f"probe: {modality}: no clip of the {empty[0]} split has it")
    if len(np.unique(found["train"].truth)) < 2:
        raise UserError(
            f"probe: {modality}: expected training clips of two classes or more that have it, got one class"
        )
    return found


def _columns(model: Any, rows: Array, classes: int) -> Array:
    """Log-probabilities in a column for each class."""
    found = np.full((len(rows), classes), -np.inf)
    with np.errstate(divide="ignore"):  # a probability of 0 gets the least that there is
        found[:, model.classes_] = model.predict_log_proba(rows)
    return np.maximum(found, np.log(np.finfo(np.float32).tiny))


def _pooled(embedded: Array) -> Array:
    """(N, ..., D) -> (N, D) float64."""
    values = embedded.astype(np.float64)
    return values if values.ndim == 2 else values.reshape(len(values), -1, values.shape[-1]).mean(axis=1)


def _row(metric: str, inside: Numbers, alone: Numbers, bootstrap: Bootstrap) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, values in (("inside", inside), ("alone", alone)):
        row[name] = float(values[0].mean())
        row[f"{name}_low"], row[f"{name}_high"] = bootstrap.interval(values, kind_of(metric, difference=False))
    row["difference"] = row["inside"] - row["alone"]
    return row | bootstrap.summary(inside - alone, kind_of(metric, difference=True))
