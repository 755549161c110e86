"""A measure by its name and options, which are checked before anything runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalens.measures._base import Measure
from modalens.plugins import registry
from modalens.plugins.options import parameters, resolve
from modalens.stats.metrics import check_metrics
from modalens.stats.targets import TARGETS
from modalens.utils.errors import UserError

KNOWN = tuple(dict.fromkeys(metric for target in TARGETS.values() for metric in target.metrics))


def build(name: str, given: Mapping[str, Any], where: str) -> tuple[Measure, dict[str, Any]]:
    """The measure, and all of its options. where: the place of `given` in a config. Raises UserError for an option that
    it does not take, and for replicates, confidence, seed or metrics that no measure can work with."""
    kind = registry.load("measures", name)
    settings = resolve(kind, given, where)
    _check_resampling(settings, where)
    defaults = {option: found.default for option, found in parameters(kind).items()}
    for option in ("metrics", "value_functions"):
        default = defaults.get(option)
        # A plugin's own may be something else.
        if isinstance(default, Sequence) and default and set(default) <= set(KNOWN):
            _check_names(settings[option], f"{where}.{option}")
    return kind(**settings), settings


def _check_resampling(settings: Mapping[str, Any], where: str) -> None:
    replicates, confidence, seed = (settings.get(one, 0) for one in ("bootstrap", "confidence", "seed"))
    if replicates < 0 or replicates == 1:
        raise UserError(f"{where}.bootstrap: expected 2 replicates or more, or 0 for no intervals, got {replicates}")
    if "confidence" in settings and not 0 < confidence < 1:
        raise UserError(f"{where}.confidence: expected a number between 0 and 1, such as 0.95, got {confidence}")
    if seed < 0:
        raise UserError(f"{where}.seed: expected a whole number from 0, got {seed}")


def _check_names(names: Any, where: str) -> None:
    check_metrics(where, names, KNOWN)
    if not names or len(set(names)) < len(names):
        raise UserError(f"{where}: expected one metric or more, each once, got {list(names)}")
