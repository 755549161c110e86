"""A study's config as the user wrote it -> a whole one, defaults filled in; what is wrong is refused in one line."""

import json
from typing import Any

from modalens.config import grid, modalities
from modalens.config.references import check_references, check_targets
from modalens.config.rules import check_schema, check_values, fill, schema
from modalens.config.yaml_file import load as load
from modalens.plugins import registry
from modalens.plugins.introspection import attribute
from modalens.utils import csv_input, secrets
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

Config = dict[str, Any]
ONLY = "_only"  # of a model's name: late fusion of the one modality before it


def resolve(config: Config) -> Config:
    """Config as the user wrote it -> a whole one. Raises UserError: where, what is wrong, what would be right."""
    rules = schema()
    config = json.loads(json.dumps(config))
    check_values(config, "")
    check_schema(config, rules)
    asked = dict(config.get("report", {}))  # what the user wrote, before defaults are filled in
    registry.use(config.get("plugins", []))
    secrets.refuse(config, "")
    if "models" in config:
        config["models"] = grid.expanded(config["models"])
    fill(config, rules, rules)
    for key in ("training", "missing"):
        config[key] = {**rules["properties"][key]["default"], **config[key]}
    config["download"].setdefault("private_addresses", not _from_web(config["dataset"]))
    config["mlflow"].setdefault("tracking_uri", f"sqlite:///{config['results']}/mlflow.db")
    config["mlflow"].setdefault("experiment", config["name"])
    config["report"].setdefault("title", config["name"])
    for name in config["modalities"]:
        config["modalities"][name] = modalities.resolve(name, config["modalities"][name])
    check_targets(config)
    config.setdefault("models", _default_models(list(config["modalities"]), set(config["targets"].values())))
    for name, model in config["models"].items():
        config["models"][name] = _model(name, model, config, rules)
    check_references(config, asked)
    return config


def _default_models(names: list[str], kinds: set[str]) -> Config:
    """kinds: of labels other than classes, too."""
    unimodal = [f"{name}{ONLY}" for name in sorted(names)]
    whole: Config = {name: {} for name in unimodal}
    if len(names) > 1:
        whole |= {"late_fusion": {}, "distillation": {"teachers": unimodal}}
        if not kinds <= set(attribute("models", "distillation", "targets_learnt")):
            del whole["distillation"]
    # What the others have to reach.
    return whole | {"logistic": {}}


def _model(name: str, given: Config | None, config: Config, rules: Config) -> Config:
    """A model's entry with its defaults; `audio_only: {}` is late fusion of one modality."""
    model = dict(given or {})
    fill(model, rules["properties"]["models"]["additionalProperties"], rules)
    known = config["modalities"]
    if name.endswith(ONLY) and name.removesuffix(ONLY) in known:
        model = {"model": "late_fusion", "modalities": [name.removesuffix(ONLY)]} | model
    elif name.endswith(ONLY) and "model" not in model and name not in registry.names("models"):
        nearby = suggest(name, [f"{one}{ONLY}" for one in known])
        raise UserError(f"config: models.{name}: no modality {name.removesuffix(ONLY)!r}; {nearby}")
    model.setdefault("model", name)
    model.setdefault("modalities", sorted(known))
    for one in model["modalities"]:
        if one not in known:
            raise UserError(f"config: models.{name}.modalities: no modality {one!r}; {suggest(one, known)}")
    model["modalities"] = sorted(model["modalities"])
    for key in ("training", "missing"):
        model[key] = {**config[key], **model.get(key, {})}
    return model


def _from_web(value: Any) -> bool:
    """Whether a list of the data set is a stranger's: an address among its options."""
    if isinstance(value, dict | list):
        return any(map(_from_web, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and csv_input.is_url(value)
