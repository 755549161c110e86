"""Replacement values for withheld modalities, and the names of evaluation conditions.

`kind@input` replaces the modality before its sub-network, `kind@fusion` replaces the sub-network's output. Source: seed
paper, section 4, which has black, silence and Gaussian noise; zero, training mean and shuffle are the field's others.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from modalens.evaluation.baselines import BLANK, NOISES
from modalens.models import TrainedModel
from modalens.utils.errors import UserError

KINDS = (
    "blank@input", "gaussian@input", "shuffle@input", "mean@input",
    "zero@fusion", "mean@fusion", "gaussian@fusion",
)  # fmt: skip
FROM_FILE = ("blank@input", "gaussian@input")
ROWS = (BLANK, *NOISES)
SEED = 0


def condition(withheld: Iterable[str], kind: str) -> str:
    """ "audio=blank,video=blank"; "full" when nothing is withheld."""
    what, _, stage = kind.partition("@")
    suffix = "" if stage == "input" else f"@{stage}"
    names = [f"{name}={what}{suffix}" for name in sorted(withheld)]
    return ",".join(names) or "full"


@dataclass
class ModalityAblator:
    """Embeddings of one trained model for N test clips, with any modality replaced.

    Draws depend on modality and position in the sorted clips alone: all models and seeds are given the same ones.
    """

    trained: TrainedModel
    features: Mapping[str, Tensor]
    replacements: Mapping[str, Tensor]  # modality -> (len(ROWS), ...)
    device: torch.device
    batch: int
    _known: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def embeddings(self, name: str, kind: str) -> Tensor:
        """(N, D_m), or (N, T, D_m), of modality `name` replaced by `kind`; "" is the clips' own. Computed once."""
        if (name, kind) not in self._known:
            self._known[name, kind] = self._replaced(name, kind)
        return self._known[name, kind]

    def _replaced(self, name: str, kind: str) -> Tensor:
        count = len(self.features[name])
        draw = np.random.default_rng([SEED, zlib.crc32(name.encode())])
        if kind == "":
            return self._embed(name, self.features[name])
        if kind == "shuffle@input":
            return self.embeddings(name, "")[derangement(count, draw)]
        if kind == "gaussian@input":
            noises = self._embed(name, self.replacements[name][1:])
            return noises[torch.from_numpy(draw.integers(len(NOISES), size=count))]
        if kind == "blank@input":
            return _repeated(self._embed(name, self.replacements[name][:1])[0], count)
        if kind == "mean@input":
            return _repeated(self._embed(name, self.trained.model.training_mean(name))[0], count)
        mean, std = (part[name].to(self.device) for part in (self.trained.embedding_means, self.trained.embedding_stds))
        if kind == "mean@fusion":
            return _repeated(mean, count)
        if kind == "zero@fusion":
            return _repeated(torch.zeros_like(mean), count)
        # gaussian@fusion. The paper does not give the noise's size: ours has each dimension's training deviation.
        noise = draw.standard_normal((count, *std.shape)).astype(np.float32)
        return torch.from_numpy(noise).to(self.device) * std

    def _embed(self, name: str, features: Tensor) -> Tensor:
        parts = [features[start : start + self.batch] for start in range(0, len(features), self.batch)]
        return torch.cat([self.trained.model.embed({name: part.to(self.device)})[name] for part in parts])


def _repeated(embedding: Tensor, count: int) -> Tensor:
    """(...) -> (count, ...)."""
    return embedding.expand(count, *embedding.shape)


def derangement(count: int, draw: np.random.Generator) -> Tensor:
    """A permutation (count,) that leaves nothing in place: one random cycle."""
    if count < 2:
        raise UserError("shuffle@input needs at least two test clips")
    cycle = draw.permutation(count)
    shuffled = np.empty(count, np.int64)
    shuffled[cycle] = np.roll(cycle, 1)
    return torch.from_numpy(shuffled)
