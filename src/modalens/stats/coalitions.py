"""Coalitions of modalities and their Shapley values: the one kernel for predictions, closed forms and training."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import factorial
from typing import Any, TypeVar

V = TypeVar("V", bound=Any)
Coalition = tuple[str, ...]


def coalitions(modalities: Sequence[str]) -> list[Coalition]:
    """All 2^M subsets, smallest first, each sorted."""
    names = sorted(modalities)
    return [subset for size in range(len(names) + 1) for subset in combinations(names, size)]


def shapley_values(value_function: Mapping[Coalition, V]) -> dict[str, V]:
    """Value of each of the 2^M coalitions (numbers, arrays or tensors) -> Shapley value of each modality, same shape.

    Source: Shapley 1953. value(i) = sum over S without i of |S|! (M - |S| - 1)! / M! * (v(S + i) - v(S)).
    """
    names = max(value_function, key=len)
    count = len(names)
    values = {}
    for name in names:
        others = [subset for subset in value_function if name not in subset]
        values[name] = sum(
            (
                factorial(len(subset)) * factorial(count - len(subset) - 1) / factorial(count)
                * (value_function[tuple(sorted((*subset, name)))] - value_function[subset])
                for subset in others
            ),
            start=0 * value_function[names],
        )  # fmt: skip
    return values


def interaction_values(value_function: Mapping[Coalition, V]) -> dict[tuple[str, str], V]:
    """Value of each of the 2^M coalitions -> Shapley interaction index of each pair of modalities, sorted.

    Source: Grabisch and Roubens 1999. I(i, j) = sum over S without i and j of |S|! (M - |S| - 2)! / (M - 1)! *
    (v(S + i + j) - v(S + i) - v(S + j) + v(S)).
    """
    names = max(value_function, key=len)
    count = len(names)
    values = {}
    for one, other in combinations(names, 2):
        rest = [subset for subset in value_function if one not in subset and other not in subset]
        values[one, other] = sum(
            (
                factorial(len(subset)) * factorial(count - len(subset) - 2) / factorial(count - 1)
                * (
                    value_function[tuple(sorted((*subset, one, other)))]
                    - value_function[tuple(sorted((*subset, one)))]
                    - value_function[tuple(sorted((*subset, other)))]
                    + value_function[subset]
                )
                for subset in rest
            ),
            start=0 * value_function[names],
        )  # fmt: skip
    return values


def to_text(coalition: Iterable[str]) -> str:
    """("video", "audio") -> `audio,video`, the cell of a table; empty for none."""
    return ",".join(sorted(coalition))


def from_text(text: str) -> Coalition:
    """`audio,video` -> ("audio", "video"); empty -> ()."""
    return tuple(text.split(",")) if text else ()


def model_of(coalition: Coalition, models: Mapping[str, Coalition]) -> str | None:
    """The model that takes exactly these modalities; of several, `audio_only` for audio, else the first by name."""
    names = sorted(name for name, takes in models.items() if takes == coalition)
    preferred = f"{'_'.join(coalition)}_only"
    return preferred if preferred in names else next(iter(names), None)
