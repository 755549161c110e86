"""A measure by its name and options, which are checked before anything runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from modalens.measures._base import Measure
from modalens.plugins import registry
from modalens.plugins.options import parameters, resolve
from modalens.stats.metrics import check_each_once, check_metrics
from modalens.stats.targets import TARGETS
from modalens.utils import arguments
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
            check_metrics(f"{where}.{option}", settings[option], KNOWN)
    for option, noun in (("replacement", "replacement"), ("models", "model")):
        if isinstance(names := settings.get(option), list) and all(isinstance(name, str) for name in names):
            check_each_once(f"{where}.{option}", names, noun)
    return kind(**settings), settings


def _check_resampling(settings: Mapping[str, Any], where: str) -> None:
    if "bootstrap" in settings and arguments.whole(f"{where}.bootstrap", settings["bootstrap"], 0) == 1:
        raise UserError(f"{where}.bootstrap: expected 2 replicates or more, or 0 for no intervals, got 1")
    if "confidence" in settings:
        arguments.share(f"{where}.confidence", settings["confidence"])
    if "seed" in settings:
        arguments.whole(f"{where}.seed", settings["seed"], 0)
