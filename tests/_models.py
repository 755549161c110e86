"""Models as a measure is given them, without PyTorch: clips whose features tell the label as well as is stated."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from modalens.measures import Clips

SIZES = {"train": 90, "validation": 45, "test": 60}
LABELS = ["a", "b", "c"]


def clips(split, strengths, seed=0):
    """features: modality -> (N, 6) float16; the first three numbers tell the label, by `strengths`."""
    count = SIZES[split]
    rng = np.random.default_rng([seed, len(split)])
    truth = rng.permutation(np.arange(count) % len(LABELS))
    names = [f"{split}{index:03d}" for index in range(count)]
    table = pd.DataFrame({"clip_id": names, "group": names, "label": np.array(LABELS)[truth]})
    features = {}
    for name, strength in sorted(strengths.items()):
        values = rng.standard_normal((count, 6))
        values[np.arange(count), truth] += strength
        features[name] = values.astype(np.float16)
    return Clips(table, LABELS, truth, features)


@dataclass
class Linear:
    """Embeds by a matrix a modality, and adds the first three numbers of each embedding up to logits."""

    matrices: dict

    @property
    def modalities(self):
        return tuple(sorted(self.matrices))

    def embed(self, features):
        return {name: values.astype(np.float64) @ self.matrices[name] for name, values in features.items()}

    def log_probabilities(self, embeddings):
        return log_softmax(sum(values[:, :3] for values in embeddings.values()), axis=1)


@dataclass
class Studied:
    """matrices: modality -> (6, 6); scaled a little by seed, so that seeds differ."""

    name: str
    matrices: dict
    strengths: dict
    seeds: tuple = (0, 1, 2)
    asked: list = field(default_factory=list)

    @property
    def modalities(self):
        return tuple(sorted(self.matrices))

    @property
    def shapes(self):
        return {name: {"channel": 6} for name in self.modalities}

    def network(self, seed):
        self.asked.append(seed)
        return Linear({name: matrix * (1 + 0.1 * seed) for name, matrix in self.matrices.items()})

    def clips(self, split="test"):
        return clips(split, self.strengths)
