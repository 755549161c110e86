"""What a measure that needs trained models is given. Arrays only; what computes lies behind a Network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd
from numpy.typing import NDArray

Array = NDArray[Any]


class Network(Protocol):
    """One model trained from one seed. modalities: sorted. Both calls take a batch of B clips and are independent
    between clips."""

    @property
    def modalities(self) -> Sequence[str]: ...

    def embed(self, features: Mapping[str, Array]) -> dict[str, Array]:
        """{modality: (B, ...)} of some modalities -> {modality: (B, D_m) or (B, T, D_m)} of these."""

    def log_probabilities(self, embeddings: Mapping[str, Array]) -> Array:
        """{modality: (B, D_m)} of all modalities -> (B, C) float64, natural logarithm."""


@dataclass
class Clips:
    """Clips of one split. table: clip_id, group, label, sorted by clip_id; the arrays' rows are in its order. labels:
    class index -> name. truth: (N,) class indices. features: modality -> (N, ...)."""

    table: pd.DataFrame
    labels: list[str]
    truth: Array
    features: dict[str, Array]


class StudiedModel(Protocol):
    """One model of a task, trained from several seeds.

    shapes: of one clip's features by modality, with named axes: {"audio": {"mel": 64, "time": 101}}.
    """

    name: str
    modalities: tuple[str, ...]
    seeds: tuple[int, ...]
    shapes: Mapping[str, Mapping[str, int]]

    def network(self, seed: int) -> Network: ...

    def clips(self, split: str = "test") -> Clips:
        """Of the split "train", "validation" or "test", read once. Only the test clips are unknown to the model."""

    def stand_ins(self, kind: str, seed: int) -> dict[str, Array]:
        """modality -> (K, ...) features, of which one takes the place of a clip's: "mean@input" (the training mean, of
        this seed's normalizer), "blank@input", "gaussian@input". Raises UserError for another kind."""
