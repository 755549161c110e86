"""Replacement values for withheld modalities, and the names of evaluation conditions.

`kind@input` replaces the modality before its sub-network, `kind@fusion` replaces the sub-network's output. Source: seed
paper, section 4, which has black, silence and Gaussian noise; zero, training mean and shuffle are the field's others.
Arrays only: what PyTorch computes lies behind a Network.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from modalens.evaluation.networks import Array, Network
from modalens.utils.errors import UserError

KINDS = (
    "blank@input", "gaussian@input", "shuffle@input", "mean@input",
    "zero@fusion", "mean@fusion", "gaussian@fusion",
)  # fmt: skip
FROM_FILE = ("blank@input", "gaussian@input")
SEED = 0


def condition(withheld: Iterable[str], kind: str) -> str:
    """ "audio=blank,video=blank"; "full" when nothing is withheld."""
    what, _, stage = kind.partition("@")
    suffix = "" if stage == "input" else f"@{stage}"
    names = [f"{name}={what}{suffix}" for name in sorted(withheld)]
    return ",".join(names) or "full"


@dataclass
class ModalityAblator:
    """Embeddings of one model for N test clips, with any modality replaced.

    features: modality -> (N, ...). stand_ins: kind -> modality -> (K, ...), of which each clip is given one.
    embedding_means, embedding_stds: modality -> (D_m,), for the kinds `@fusion`. batch: clips at once.
    lacking: modality -> (N,) clips that have none: it cannot be withheld from them, so what stands for it stays.
    Draws depend on modality and position among the clips alone: all models and seeds are given the same ones.
    """

    network: Network
    features: Mapping[str, Array]
    stand_ins: Mapping[str, Mapping[str, Array]]
    embedding_means: Mapping[str, Array]
    embedding_stds: Mapping[str, Array]
    batch: int
    lacking: Mapping[str, Array] = field(default_factory=dict)
    _known: dict[tuple[str, str], Array] = field(default_factory=dict)

    def embeddings(self, name: str, kind: str) -> Array:
        """(N, D_m), or (N, T, D_m), of modality `name` replaced by `kind`; "" is the clips' own. Computed once."""
        if (name, kind) not in self._known:
            self._known[name, kind] = self._replaced(name, kind)
        return self._known[name, kind]

    def _replaced(self, name: str, kind: str) -> Array:
        if kind == "":
            return self._embed(name, self.features[name])
        lacks = self.lacking.get(name)
        if lacks is None:
            return self._values(name, kind, self.embeddings(name, ""))
        values: Array = self.embeddings(name, "").copy()
        values[~lacks] = self._values(name, kind, values[~lacks])
        return values

    def _values(self, name: str, kind: str, own: Array) -> Array:
        """As many as the embeddings that the clips have."""
        count = len(own)
        draw = np.random.default_rng([SEED, zlib.crc32(name.encode())])
        if kind == "shuffle@input":
            return own[derangement(count, draw)]
        if kind in self.stand_ins:
            stand_ins = self._embed(name, self.stand_ins[kind][name])
            if len(stand_ins) == 1:
                return _repeated(stand_ins[0], count)
            rows: Array = stand_ins[draw.integers(len(stand_ins), size=count)]
            return rows
        mean, std = self.embedding_means[name], self.embedding_stds[name]
        if kind == "mean@fusion":
            return _repeated(mean, count)
        if kind == "zero@fusion":
            return _repeated(np.zeros_like(mean), count)
        # gaussian@fusion. The paper does not give the noise's size: ours has each dimension's training deviation.
        return draw.standard_normal((count, *std.shape)).astype(np.float32) * std

    def _embed(self, name: str, features: Array) -> Array:
        parts = [features[start : start + self.batch] for start in range(0, len(features), self.batch)]
        return np.concatenate([self.network.embed({name: part})[name] for part in parts])


def _repeated(embedding: Array, count: int) -> Array:
    """(...) -> (count, ...), read-only."""
    return np.broadcast_to(embedding, (count, *embedding.shape))


def derangement(count: int, draw: np.random.Generator) -> Array:
    """A permutation (count,) that leaves nothing in place: one random cycle."""
    if count < 2:
        raise UserError("shuffle@input needs at least two test clips")
    cycle = draw.permutation(count)
    shuffled = np.empty(count, np.int64)
    shuffled[cycle] = np.roll(cycle, 1)
    return shuffled
