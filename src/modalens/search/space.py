"""Search space, {dotted path: range} -> the settings of its trials. A range is a list of choices or {low, high, log};
a path begins with `options.`, `training.` or `balancing.` (an option of the model's balancing method)."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from zlib import crc32

import numpy as np

from modalens.training.history import CALIBRATED_LOSS
from modalens.utils.errors import UserError

Settings = dict[str, dict[str, Any]]  # options, training, balancing
Drawn = dict[str, Any]  # path -> value

SCORE = CALIBRATED_LOSS  # nats; trials are compared by what epochs are compared by
PARTS = ("options", "training", "balancing")
REPEATS = 100  # draws in a row that give nothing new, after which a space of choices counts as used up


def sample_trials(space: Mapping[str, Any], budget: int, seed: int) -> list[Drawn]:
    """At most `budget` trials, no two the same: {} first, the settings as they are, then values drawn uniformly, or
    log-uniformly where the range says so. Between whole numbers whole ones are drawn.

    What is drawn for a path depends on the seed and the path alone: models that share a range share its draws, and a
    larger budget begins with the trials of the smaller one. Raises UserError for a path or a range without meaning.
    """
    for path, given in space.items():
        _check(path, given)
    return list(islice(_distinct(space, seed), budget))


def _distinct(space: Mapping[str, Any], seed: int) -> Iterator[Drawn]:
    generators = {path: np.random.default_rng([seed, crc32(path.encode())]) for path in sorted(space)}
    seen: list[Drawn] = [{}]
    yield {}
    repeated = 0
    while space and repeated < REPEATS:
        drawn = {path: _value(space[path], float(generator.random())) for path, generator in generators.items()}
        repeated = repeated + 1 if drawn in seen else 0
        if not repeated:
            seen.append(drawn)
            yield drawn


def _value(given: Any, draw: float) -> Any:
    """draw: uniform in [0, 1)."""
    if isinstance(given, Sequence):
        return given[int(draw * len(given))]
    low, high = given["low"], given["high"]
    whole = isinstance(low, int) and isinstance(high, int)
    # Whole numbers are rounded down: `high` itself is to be drawn as often as the others.
    end = high + 1 if whole else high
    value = low * (end / low) ** draw if given.get("log") else low + (end - low) * draw
    return min(int(value), high) if whole else float(value)


def apply_overrides(settings: Settings, drawn: Drawn) -> Settings:
    """A copy of the settings with the drawn values in place."""
    changed = copy.deepcopy(settings)
    for path, value in drawn.items():
        *way, last = _way(path, settings)
        at: dict[str, Any] = changed
        for name in way:
            # An option may be left out or be None, as `fusion_options` is by default.
            if not isinstance(at.get(name), dict):
                at[name] = {}
            at = at[name]
        at[last] = value
    return changed


def value_of(settings: Settings, path: str) -> Any:
    """What settings hold at a path; None where they hold nothing."""
    at: Any = settings
    for name in _way(path, settings):
        at = at.get(name) if isinstance(at, dict) else None
    return at


def _way(path: str, settings: Settings) -> list[str]:
    part, *rest = path.split(".")
    if part != "balancing":
        return [part, *rest]
    if not settings["balancing"]:
        raise UserError(f"search: {path!r} is varied, but the model has no balancing")
    return [part, next(iter(settings["balancing"])), *rest]


def _check(path: str, given: Any) -> None:
    part, _, rest = path.partition(".")
    if part not in PARTS or not rest:
        raise UserError(f"search: expected options., training. or balancing. and an option, got {path!r}")
    if isinstance(given, Mapping):
        if not {"low", "high"} <= set(given) <= {"low", "high", "log"}:
            raise UserError(f"search: {path}: expected a list of choices or {{low, high, log}}, got {dict(given)}")
        if given["low"] >= given["high"]:
            raise UserError(f"search: {path}: low, {given['low']}, must be less than high, {given['high']}")
        if given.get("log") and given["low"] <= 0:
            raise UserError(f"search: {path}: low must be above 0 where log is true")
    elif not isinstance(given, list) or not given:
        raise UserError(f"search: {path}: expected a list of choices or {{low, high, log}}, got {given!r}")
