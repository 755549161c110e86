"""What a resolved config says of its tasks, measures and models."""

from typing import Any

from modalens.config import modalities
from modalens.config.grid import FUSIONS
from modalens.plugins import introspection
from modalens.plugins.introspection import attribute
from modalens.stats.targets import CLASSES, REGRESSION

Config = dict[str, Any]

ASKING = ("model", "input")


def target_of(config: Config, task: str) -> str:
    """classes, regression or multilabel: what the labels of a task of a resolved config are."""
    kind: str = config["targets"].get(task, CLASSES)
    return kind


def measures_of(config: Config, task: str) -> list[str]:
    """Those of a resolved config that are defined for labels of this kind."""
    kind, asked = target_of(config, task), config["relevance"]["measures"]
    return [name for name in asked if kind in attribute("measures", name, "targets_measured")]


def left_out(config: Config) -> list[str]:
    """A line for each task whose labels some of the asked measures are not defined for, and for each measure that some
    models take no part in."""
    lines = []
    for task in config["tasks"]:
        if without := [name for name in config["relevance"]["measures"] if name not in measures_of(config, task)]:
            what = "numbers" if target_of(config, task) == REGRESSION else "tags"
            lines.append(f"task {task}: {', '.join(without)} not computed: of classes only, and its labels are {what}")
    if through := [name for name, model in config["models"].items() if modalities.learnt(model)]:
        asking = [name for name in config["relevance"]["measures"] if attribute("measures", name, "needs") in ASKING]
        lines += [f"{name}: not of {', '.join(through)}: learnt through an encoder" for name in asking]
    return lines


def fusions(model: Config) -> dict[str, str]:
    """Option -> fusion of a model of a resolved config, the constructor's default where the config names none."""
    defaults = {name: option.default for name, option in introspection.options("models", model["model"]).items()}
    chosen = defaults | model["options"]
    return {option: chosen[option] for option in FUSIONS if option in chosen}
