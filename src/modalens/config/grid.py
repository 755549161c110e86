"""One line of a config -> a model for each combination of fusions, balancing methods and options."""

import itertools
import json
from typing import Any

from modalens.plugins.introspection import attribute
from modalens.plugins.registry import names
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

Config = dict[str, Any]

# Options of models that name a fusion, and the stage at which it is to serve; `fusion_options` are the first one's.
FUSIONS = {"fusion": "intermediate", "rule": "late"}
NONE = "none"  # of the balancing methods: as it would be without


def expanded(models: Config) -> Config:
    """`late_fusion: {grid: {options.fusion: all, balancing: [none, agm]}}` -> `late_fusion-add-none`, ... there.

    A combination is named after the model and its choices, and is the model's other keys with these put in. "all" is
    every fusion that serves there, or every balancing method after none. Raises UserError for a path or a choice that
    does not exist, and for a name that is taken.
    """
    whole: Config = {}
    for name, model in models.items():
        if not model or "grid" not in model:
            found = {name: model}
        else:
            rest = {key: value for key, value in model.items() if key != "grid"}
            rest.setdefault("model", name)
            axes = [_choices(f"models.{name}.grid", path, given) for path, given in model["grid"].items()]
            found = dict(_combined(name, rest, combination) for combination in itertools.product(*axes))
        if taken := sorted(set(found) & set(whole)):
            raise UserError(f"config: models.{name}: there is a model {taken[0]!r} already")
        whole |= found
    return whole


def _choices(where: str, path: str, given: Any) -> list[tuple[str, str, Any]]:
    """(path, name, value) of each choice."""
    option = path.removeprefix("options.")
    if path == "balancing":
        known = [NONE, *names("balancing")]
        chosen = known if given == "all" else given
        for name in chosen:
            if name not in known:
                raise UserError(f"config: {where}.{path}: no balancing {name!r}; {suggest(str(name), known)}")
        return [(path, name, {} if name == NONE else {name: {}}) for name in chosen]
    if given == "all":
        if option not in FUSIONS:
            raise UserError(f"config: {where}.{path}: expected a list; 'all' is for balancing, options.{{fusion,rule}}")
        given = [name for name in names("fusions") if FUSIONS[option] in attribute("fusions", name, "stages")]
    return [(path, str(value), value) for value in given]


def _combined(name: str, model: Config, choices: tuple[tuple[str, str, Any], ...]) -> tuple[str, Config]:
    made = json.loads(json.dumps(model))
    for path, _, value in choices:
        *parents, last = path.split(".")
        place = made
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return "-".join([name, *(choice for _, choice, _ in choices)]), made
