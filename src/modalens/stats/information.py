"""Exact answers of a known joint distribution: what an ideal model scores with each set of modalities.

Pure functions of a table; the yardstick that estimates are held against. Payoffs are keyed by coalition: the kept
modalities' names, sorted and joined by commas, "" for none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modalens.stats.coalitions import coalitions, from_text, shapley_values, to_text
from modalens.stats.decomposition import entropy, information, parts

Table = NDArray[np.float64]


@dataclass(frozen=True)
class Joint:
    """p(label, symbol of each modality): table (labels, symbols_1, ..., symbols_M), one axis a modality, sum 1."""

    modalities: tuple[str, ...]
    table: Table

    def __post_init__(self) -> None:
        if self.table.ndim != 1 + len(self.modalities):
            raise ValueError(f"{self.table.ndim} axes for a label and {len(self.modalities)} modalities")
        if list(self.modalities) != sorted(set(self.modalities)):
            raise ValueError("modalities are named once each, in sorted order")
        if (self.table < 0).any() or not np.isclose(self.table.sum(), 1):
            raise ValueError("probabilities are not negative and sum to one")

    def marginal(self, kept: tuple[str, ...]) -> Table:
        """p(label, symbols of the kept modalities), those flattened to one axis: (labels, product of symbols)."""
        withheld = tuple(axis for axis, name in enumerate(self.modalities, start=1) if name not in kept)
        return self.table.sum(axis=withheld).reshape(len(self.table), -1)


def bayes_accuracy(joint: Joint) -> dict[str, float]:
    """Chance that the likeliest label given the kept symbols is the true one, for each coalition."""
    return {to_text(kept): float(joint.marginal(kept).max(axis=0).sum()) for kept in coalitions(joint.modalities)}


def log_probability(joint: Joint) -> dict[str, float]:
    """Expected natural logarithm of p(true label | kept symbols), that is -H(label | kept), for each coalition."""
    tables = {to_text(kept): joint.marginal(kept) for kept in coalitions(joint.modalities)}
    return {
        key: float(np.log(2)) * float(entropy(table.sum(axis=0)) - entropy(table, axes=2))
        for key, table in tables.items()
    }


def shapley(value_functions: dict[str, float]) -> dict[str, float]:
    """Exact Shapley value of each modality from the value_function of every coalition. They sum to full minus none."""
    return shapley_values({from_text(key): value for key, value in value_functions.items()})


def shares(values: dict[str, float]) -> dict[str, float | None]:
    """Each value over their sum; None for all when the sum is zero: there is nothing to share."""
    total = sum(values.values())
    return {name: None if abs(total) < 1e-12 else value / total for name, value in values.items()}


def decomposition(joint: Joint) -> dict[str, float]:
    """Partial information decomposition (BROJA) of two modalities about the label, in bits: see stats.decomposition."""
    first, second = joint.modalities
    one, other = (joint.marginal((name,)) for name in joint.modalities)
    found = parts(one, other, information(joint.marginal(joint.modalities)))
    names = {"unique_first": f"unique_{first}", "unique_second": f"unique_{second}"}
    return {names.get(name, name): float(value) for name, value in found.items()}
