"""Multinomial logistic regression on the pooled features: the baseline that every other model has to reach.

Of numbers it is ridge regression; of tags, one logistic regression a tag.

Standardised features of all modalities side by side, an L2 penalty whose strength the validation clips choose,
parameters found by scikit-learn instead of gradient descent. A modality's embedding is what it adds to the logits, so
that the model is a sum of one function per modality: it cannot learn a label that needs two modalities at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modalens.models._base import Batches, Features, Model
from modalens.models._shapes import Shape, Shapes, channel_axis
from modalens.stats.calibration import calibrated
from modalens.stats.targets import CLASSES, MULTILABEL, REGRESSION

Array = NDArray[np.float64]

# scikit-learn's C, for clips of a mean squared length of 1: from predictions that hardly differ to hardly any penalty.
STRENGTHS = tuple(10.0**power for power in range(-1, 5))
ITERATIONS = 1000
# Nats by which a class without a training clip lies below the rarest of the others.
ABSENT = 10.0


class Logistic(Model):
    networks: nn.ModuleDict
    head: "_Bias"
    solves = True

    def __init__(self, shapes: Shapes, classes: int, *, cells: int = 4, strengths: Sequence[float] = STRENGTHS) -> None:
        """cells: time, tokens, height and width are averaged down to at most this many; mels and channels stay.
        strengths: of the data against the penalty, scikit-learn's C, of which the validation clips choose one."""
        networks = {name: _Contribution(shapes[name], classes, cells) for name in sorted(shapes)}
        super().__init__(shapes, networks, _Sum(), _Bias(classes))
        self.strengths = tuple(strengths)

    @torch.no_grad()
    def solve(self, train: Batches, validation: Batches) -> None:
        """The strength is that of lowest calibrated loss of the validation clips; the smaller of equals."""
        pooled, labels = self._pooled(train)
        for name, values in pooled.items():
            self._network(name).standardise(values)
        rows = self._joined(pooled)
        held_out, held_out_labels = self._pooled(validation)
        others = self._joined(held_out)
        basis, scores = _principal(rows)
        projected = others @ basis
        fits = [_FITS[self.learns](scores, labels, len(self.head.bias), strength) for strength in self.strengths]
        logits = np.stack([projected @ weight.T + bias for weight, bias in fits])
        _, losses = calibrated(logits, held_out_labels, self.learns)
        weight, bias = fits[int(losses.argmin())]
        self._set(weight @ basis.T, bias)
        self.solved = True

    def _pooled(self, batches: Batches) -> tuple[dict[str, Array], NDArray[Any]]:
        """Pooled features (N, D_m) by modality, and labels (N,)."""
        parts: dict[str, list[Tensor]] = {name: [] for name in self.modalities}
        labels = []
        for features, given in batches:
            for name, rows in parts.items():
                rows.append(self._network(name).pooled(self.normalizers[name](features[name])).cpu())
            labels.append(given.cpu())
        return {name: torch.cat(rows).double().numpy() for name, rows in parts.items()}, torch.cat(labels).numpy()

    def _joined(self, pooled: Mapping[str, Array]) -> Array:
        return np.concatenate([self._network(name).standardised(pooled[name]) for name in self.modalities], axis=1)

    def _set(self, weight: Array, bias: Array) -> None:
        """weight: (classes, sum of D_m)."""
        self.head.bias.copy_(torch.from_numpy(bias))
        start = 0
        for name in self.modalities:
            own = self._network(name).linear.weight
            own.copy_(torch.from_numpy(weight[:, start : start + own.shape[1]]))
            start += own.shape[1]

    def _network(self, name: str) -> "_Contribution":
        network = self.networks[name]
        assert isinstance(network, _Contribution)
        return network


class _Contribution(nn.Module):
    """(B, ...) -> (B, classes): what a modality adds to the logits; 0 for the mean features."""

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: Shape, classes: int, cells: int) -> None:
        super().__init__()
        channel = channel_axis(shape)
        self._averages: list[tuple[int, str]] = []
        size = 1
        for axis, length in enumerate(shape.values()):
            if axis == channel:
                size *= length
                continue
            matrix = _averaging(length, cells)
            size *= matrix.shape[1]
            self._averages.append((axis + 1, f"average_{axis}"))
            self.register_buffer(f"average_{axis}", matrix, persistent=False)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.linear = nn.Linear(size, classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        values: Tensor = self.linear((self.pooled(features) - self.mean) * self.scale)
        return values

    def pooled(self, features: Tensor) -> Tensor:
        """(B, ...) -> (B, D)."""
        for axis, name in self._averages:
            features = (features.movedim(axis, -1) @ self.get_buffer(name)).movedim(-1, axis)
        return features.flatten(1)

    def standardise(self, pooled: Array) -> None:
        mean, std = pooled.mean(0), pooled.std(0)
        self.mean.copy_(torch.from_numpy(mean))
        # A feature that never varied in training says nothing about its other values.
        self.scale.copy_(torch.from_numpy(np.divide(1.0, std, out=np.zeros_like(std), where=std > 1e-6)))

    def standardised(self, pooled: Array) -> Array:
        mean, scale = (part.cpu().double().numpy() for part in (self.mean, self.scale))
        values: Array = (pooled - mean) * scale
        return values


class _Sum(nn.Module):
    def forward(self, embeddings: Features) -> Tensor:
        return torch.stack([embeddings[name] for name in sorted(embeddings)]).sum(0)


class _Bias(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, logits: Tensor) -> Tensor:
        return logits + self.bias


def _averaging(length: int, cells: int) -> Tensor:
    """(length, at most `cells`): columns that average equal stretches, the last one perhaps shorter."""
    stretch = -(-length // cells)
    cell = torch.arange(length) // stretch
    matrix = torch.nn.functional.one_hot(cell).float()
    return matrix / matrix.sum(0)


def _principal(rows: Array) -> tuple[Array, Array]:
    """(N, D) -> basis (D, K) of the rows' span, scaled, and the rows in it (N, K), of a mean squared length of 1.

    Exact: weights under an L2 penalty lie in the span of the rows, and a rotation does not change the penalty. What is
    solved for is then as large as the clips are many, not as the features are.
    """
    length = np.sqrt(np.square(rows).sum(1).mean()) or 1.0
    if rows.shape[0] >= rows.shape[1]:
        return np.eye(rows.shape[1]) / length, rows / length
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > values[-1] * 1e-10
    if not kept.any():  # no feature varies: the shares of the classes are all that there is to say
        return np.zeros((rows.shape[1], 1)), np.zeros((len(rows), 1))
    basis = rows.T @ (vectors[:, kept] / np.sqrt(values[kept])) / length
    return basis, rows @ basis


def _fitted(rows: Array, labels: NDArray[np.int64], classes: int, strength: float) -> tuple[Array, Array]:
    """weight (classes, K), bias (classes,)."""
    # Here: importing it takes a second, which only this model is to pay.
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    weight, bias = np.zeros((classes, rows.shape[1])), np.zeros(classes)
    if len(present) > 1:
        found = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(rows, labels)
        own, constant = found.coef_, found.intercept_
        if len(present) == 2:  # one row, for the second class against the first
            own, constant = np.concatenate([-own, own]) / 2, np.concatenate([-constant, constant]) / 2
        weight[present], bias[present] = own, constant
    absent = np.setdiff1d(np.arange(classes), present)
    bias[absent] = bias[present].min() - ABSENT
    return weight, bias


def _ridge(rows: Array, labels: Array, outputs: int, strength: float) -> tuple[Array, Array]:
    """weight (1, K), bias (1,): the same penalty against the same loss of a clip as the logistic regression's."""
    from sklearn.linear_model import Ridge

    del outputs
    found = Ridge(alpha=1 / strength).fit(rows, labels)
    return found.coef_.reshape(1, -1), np.reshape(found.intercept_, 1)


def _tags(rows: Array, labels: Array, outputs: int, strength: float) -> tuple[Array, Array]:
    """weight (tags, K), bias (tags,). A tag that all training clips have, or none, is told by its bias alone."""
    del outputs
    fits = [_fitted(rows, column.astype(np.int64), 2, strength) for column in labels.T]
    weight = np.stack([own[1] - own[0] for own, _ in fits])
    return weight, np.array([constant[1] - constant[0] for _, constant in fits])


_FITS: dict[str, Any] = {CLASSES: _fitted, REGRESSION: _ridge, MULTILABEL: _tags}
