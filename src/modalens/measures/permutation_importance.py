"""Permutation importance: how far each metric falls when one modality is exchanged between test clips."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pandas as pd

from modalens.measures._asked import axes_of, counted, embeddings, log_probabilities
from modalens.measures._base import Measure
from modalens.measures._studied import Array, Clips, StudiedModel
from modalens.measures._test_clips import exchanged, multimodal
from modalens.stats.bootstrap import Bootstrap, kind_of
from modalens.stats.metrics import TOP, ConfusionCounts, CountAxes, check_metrics, named
from modalens.utils.errors import UserError

METRICS = ("accuracy", "balanced_accuracy", "log_probability", *TOP)  # those that are means over clips or classes
LEAST = 20


class PermutationImportance(Measure):
    """The perceptual score of Gat, Schwartz and Schwing 2021 (arXiv 2110.14375), over many exchanges.

    What a clip is given is real, as its own was, and comes from a clip of another group (source video, speaker); where
    no group holds more than half of the clips each clip's is given to exactly one other. The replacement shuffle@input
    is one such exchange, between clips; here the chance of a single one is averaged away, and what is left is told. A
    clip that lacks the modality takes no part in its exchanges.
    """

    needs = "model"

    def __init__(
        self,
        *,
        models: list[str] | None = None,
        exchanges: int = LEAST,
        metrics: Sequence[str] = METRICS,
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        """models: by name, those of several modalities by default. exchanges: of each modality, 20 or more, the same
        for all models and seeds. metrics: accuracy, balanced_accuracy, log_probability."""
        if exchanges < LEAST:
            raise UserError(f"permutation_importance: exchanges: expected {LEAST} or more, got {exchanges}")
        check_metrics("permutation_importance: metrics", metrics, METRICS)
        self.models, self.exchanges, self.metrics, self.seed = models, exchanges, tuple(metrics), seed
        self.resampling: dict[str, Any] = {"replicates": bootstrap, "confidence": confidence, "seed": seed}

    def __call__(self, models: Sequence[StudiedModel]) -> pd.DataFrame:
        """One row per model, modality and metric:

        model, modality, metric, full, permuted (the metric; permuted is the mean over the exchanges),
        drop = full - permuted with low, high, groups_low, groups_high, seeds_low, seeds_high, seed_std, detectable,
        sampling_error: standard error of the drop that the exchanges leave,
        score = drop / full, for accuracies: the part of the model's performance that hangs on the modality,
        exchanges, clips, groups, seeds.
        """
        rows = [row for model in multimodal("permutation_importance", models, self.models) for row in self._rows(model)]
        return pd.DataFrame(rows, columns=None if rows else ["model", "modality", "metric", "drop"])

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: the drop of accuracy, by modality."""
        found = {}
        for row in table[table["metric"] == "accuracy"].to_dict("records"):
            for end, column in {"": "drop", "/low": "low", "/high": "high"}.items():
                found[f"exchanged/{row['modality']}{end}"] = row[column]
        return found

    def _rows(self, model: StudiedModel) -> Iterator[dict[str, Any]]:
        clips = model.clips("test")
        axes = axes_of(clips, model.seeds)
        bootstrap = Bootstrap(len(axes.groups), len(axes.seeds), **self.resampling)
        asked = []
        for seed in model.seeds:
            network = model.network(seed)
            asked.append(
                (seed, network, embeddings(network, {name: clips.features[name] for name in model.modalities}))
            )
        answers = {seed: log_probabilities(network, whole) for seed, network, whole in asked}
        full = bootstrap.metrics(counted(clips, answers, axes))
        for name in model.modalities:
            exchanged = []
            for others in self._others(name, clips):
                answers = {
                    seed: log_probabilities(network, whole | {name: whole[name][others]})
                    for seed, network, whole in asked
                }
                exchanged.append(counted(clips, answers, axes))
            permuted, errors = self._over_exchanges(exchanged, bootstrap, axes)
            for metric in named(self.metrics, full):
                drop = full[metric] - permuted[metric]
                row: dict[str, Any] = {"model": model.name, "modality": name, "metric": metric}
                row |= {"full": float(full[metric][0].mean()), "permuted": float(permuted[metric][0].mean())}
                row["drop"] = float(drop[0].mean())
                row |= bootstrap.summary(drop, kind_of(metric, difference=True))
                row["sampling_error"] = errors[metric]
                rate = metric != "log_probability" and row["full"] > 0
                row["score"] = row["drop"] / row["full"] if rate else float("nan")
                size = {"clips": len(clips.table), "groups": len(axes.groups), "seeds": len(axes.seeds)}
                yield row | {"exchanges": self.exchanges} | size

    def _others(self, name: str, clips: Clips) -> list[Array]:
        """For each exchange, (N,) the place of the clip whose modality each clip is given."""
        draw = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        return [exchanged(clips, name, draw) for _ in range(self.exchanges)]

    def _over_exchanges(
        self, exchanged: Sequence[ConfusionCounts], bootstrap: Bootstrap, axes: CountAxes
    ) -> tuple[dict[str, Array], dict[str, float]]:
        """Metrics (1 + replicates, seeds) of all exchanges as one, and the standard error of their mean that they
        leave. All metrics are linear in the counts of an exchange, since each clip keeps its label."""
        first = exchanged[0]
        total = replace(first, matrix=reduce(add, (one.matrix for one in exchanged)))
        once = np.ones((1, len(axes.groups)), np.uint16)
        single = [one.metrics(once) for one in exchanged]
        errors = {
            name: float(np.std([one[name][0].mean() for one in single], ddof=1) / np.sqrt(len(single)))
            for name in named(self.metrics, single[0])
        }
        return bootstrap.metrics(total), errors
