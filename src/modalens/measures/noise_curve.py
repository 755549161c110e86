"""Robustness to noise: each metric against the size of the noise in a modality's features."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from modalens.measures._asked import axes_of, counted, embeddings, log_probabilities
from modalens.measures._base import Measure
from modalens.measures._curves import checked_levels, curve_rows
from modalens.measures._studied import Array, StudiedModel
from modalens.stats.bootstrap import Bootstrap
from modalens.stats.coalitions import to_text
from modalens.stats.metrics import check_metrics, named

Curves = dict[str, dict[str, dict[float, Array]]]  # what is noisy -> metric -> level -> (1 + replicates, seeds)


class NoiseCurve(Measure):
    """Gaussian noise on the test clips' features, each number's in units of its standard deviation over training clips.

    One draw a clip and modality, the same for all levels, models and seeds: a curve is smooth in the level, and models
    are compared on the same noise. MultiBench (Liang et al. 2021) adds noise of its own kind to each raw modality; ours
    is at what the model is given. levels: sizes of the noise. metrics: of stats.metrics.METRICS. baseline: the model
    that effective robustness compares with. Features that are no real numbers, such as token ids, have no noise.
    """

    needs = "model"

    def __init__(
        self,
        *,
        levels: Sequence[float] = (0, 0.5, 1, 2, 4),
        metrics: Sequence[str] = ("accuracy", "balanced_accuracy", "log_probability"),
        baseline: str = "late_fusion",
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        check_metrics("noise_curve: metrics", metrics)
        self.levels = checked_levels("noise_curve", levels)
        self.metrics = tuple(metrics)
        self.baseline = baseline
        self.seed = seed
        self.resampling: dict[str, Any] = {"replicates": bootstrap, "confidence": confidence, "seed": seed}

    def __call__(self, models: Sequence[StudiedModel]) -> pd.DataFrame:
        """One row per model, modality (one, or all of the model's, joined by commas), metric and level, and one for
        each number of the curve:

        model, modality, metric,
        quantity: `curve`; `relative` robustness, the mean of the curve; `effective` robustness, the mean of how much
        less it falls than the baseline's (above 0: more robust),
        level: size of the noise, in standard deviations; empty for the two numbers,
        value with low, high, groups_low, groups_high, seeds_low, seeds_high, seed_std, detectable,
        clips, groups, seeds: how many were tested.
        """
        # The baseline first: the others are compared with it, and no more than two models' curves are kept.
        ordered = sorted(models, key=lambda model: (model.name != self.baseline, model.name))
        base: Curves = {}
        tables: dict[str, list[dict[str, Any]]] = {}
        for model in ordered:
            curves, bootstrap, size = self._curves(model)
            if model.name == self.baseline:
                base = curves
            rows = tables.setdefault(model.name, [])
            for noisy, by_metric in curves.items():
                for metric, curve in by_metric.items():
                    other = base.get(noisy, {}).get(metric) if model.name != self.baseline else None
                    key = {"model": model.name, "modality": noisy, "metric": metric}
                    rows += [key | row | size for row in curve_rows(metric, curve, other, bootstrap)]
        return pd.DataFrame([row for name in sorted(tables) for row in tables[name]])

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: both numbers of accuracy, by modality."""
        numbers = table[(table["metric"] == "accuracy") & (table["quantity"] != "curve")]
        return {
            f"{row['quantity']}/{row['modality'].replace(',', '.')}": row["value"] for row in numbers.to_dict("records")
        }

    def _curves(self, model: StudiedModel) -> tuple[Curves, Bootstrap, dict[str, int]]:
        clips = model.clips("test")
        axes = axes_of(clips, model.seeds)
        bootstrap = Bootstrap(len(axes.groups), len(axes.seeds), **self.resampling)
        answers = self._answers(model)
        curves: Curves = {}
        for (noisy, level), found in answers.items():
            metrics = bootstrap.metrics(counted(clips, found, axes))
            for name in named(self.metrics, metrics):
                curves.setdefault(noisy, {}).setdefault(name, {})[level] = metrics[name]
        size = {"clips": len(clips.table), "groups": len(axes.groups), "seeds": len(axes.seeds)}
        return curves, bootstrap, size

    def _answers(self, model: StudiedModel) -> dict[tuple[str, float], dict[int, Array]]:
        """(what is noisy, level) -> seed -> (N, C) log-probabilities."""
        features = model.clips("test").features
        real = [name for name in model.modalities if np.issubdtype(features[name].dtype, np.floating)]
        noise = {name: self._noise(name, features[name], model.clips("train").features[name]) for name in real}
        kinds = [*((name,) for name in real), *([tuple(real)] if len(real) > 1 else [])]
        found: dict[tuple[str, float], dict[int, Array]] = {
            (to_text(kind), level): {} for kind in kinds for level in self.levels
        }
        for seed in model.seeds:
            network = model.network(seed)
            whole = embeddings(network, {name: features[name] for name in model.modalities})
            for level in self.levels:
                noisy = {name: _embedded(network, name, features, noise, level) for name in real} if level else whole
                for kind in kinds:
                    mixed = whole | {name: noisy[name] for name in kind}
                    found[to_text(kind), level][seed] = log_probabilities(network, mixed)
        return found

    def _noise(self, name: str, features: Array, training: Array) -> Array:
        """(N, ...) float32. The clips come sorted by id."""
        draw = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        scale = training.std(axis=0, dtype=np.float64).astype(np.float32)
        return draw.standard_normal(features.shape, dtype=np.float32) * scale


def _embedded(
    network: Any, name: str, features: Mapping[str, Array], noise: Mapping[str, Array], level: float
) -> Array:
    values = features[name].astype(np.float32) + np.float32(level) * noise[name]
    # A number too large for half precision would be infinite.
    most = float(np.finfo(features[name].dtype).max)
    return embeddings(network, {name: values.clip(-most, most).astype(features[name].dtype)})[name]
