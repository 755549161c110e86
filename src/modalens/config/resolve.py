"""A study's config: defaults filled in, unknown keys and wrong types refused in one line."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from modalens.config import grid, modalities
from modalens.config.grid import FUSIONS
from modalens.config.yaml_file import load as load
from modalens.config.yaml_file import number_hint
from modalens.plugins import introspection, options, registry
from modalens.plugins.introspection import attribute
from modalens.stats.targets import CLASSES, REGRESSION
from modalens.utils import csv_input, secrets
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

SCHEMA = Path(__file__).with_name("schema.yaml")

Config = dict[str, Any]
# The schema's patterns in words. \Z, since $ also stands before a newline at the end.
PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z": "a name of letters, digits, _ . and -, with a letter or digit first",
    r"^[^-{}\x00-\x1f][^{}\x00-\x1f]*\Z": (
        "a path without braces, which are Snakemake's, without control characters, and with no - first"
    ),
    r"^[a-z][a-z0-9_]*\Z": "a name of small letters, digits and _, with a letter first",
    r"^(balancing|(options|training|missing)\.[A-Za-z0-9_.]+)\Z": "balancing, options., training. or missing.NAME",
    r"^(options|training|balancing)\.[A-Za-z0-9_.]+\Z": "options.NAME, training.NAME or balancing.NAME",
}
ASKING = ("model", "input")
NEEDS = ("predictions", "history", *ASKING)  # of measures
OF_MANIFESTS = {"clip_id", "source", "start_s", "end_s", "group", "split", "text"}
ONLY = "_only"  # of a model's name: late fusion of the one modality before it


@cache
def schema() -> Config:
    return yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))


def resolve(config: Config) -> Config:
    """Config as the user wrote it -> a whole one. Raises UserError: where, what is wrong, what would be right."""
    rules = schema()
    config = json.loads(json.dumps(config))
    _check_finite(config, "")
    _check(config, rules)
    asked = dict(config.get("report", {}))  # what the user wrote, before defaults are filled in
    registry.use(config.get("plugins", []))
    secrets.refuse(config, "")
    if "models" in config:
        config["models"] = grid.expanded(config["models"])
    _fill(config, rules, rules)
    for key in ("training", "missing"):
        config[key] = {**rules["properties"][key]["default"], **config[key]}
    config["download"].setdefault("private_addresses", not _from_web(config["dataset"]))
    config["mlflow"].setdefault("tracking_uri", f"sqlite:///{config['results']}/mlflow.db")
    config["mlflow"].setdefault("experiment", config["name"])
    config["report"].setdefault("title", config["name"])
    for name in config["modalities"]:
        config["modalities"][name] = modalities.resolve(name, config["modalities"][name])
    _check_targets(config)
    config.setdefault("models", _default_models(list(config["modalities"]), set(config["targets"].values())))
    for name, model in config["models"].items():
        config["models"][name] = _model(name, model, config, rules)
    _check_references(config, asked)
    return config


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
    _fill(model, rules["properties"]["models"]["additionalProperties"], rules)
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


def fusions(model: Config) -> dict[str, str]:
    """Option -> fusion of a model of a resolved config, the constructor's default where the config names none."""
    defaults = {name: option.default for name, option in introspection.options("models", model["model"]).items()}
    chosen = defaults | model["options"]
    return {option: chosen[option] for option in FUSIONS if option in chosen}


def _check_finite(value: Any, where: str) -> None:
    """YAML's .inf and .nan are numbers to a schema, and no number that anything here can work with."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"config: {where}: expected a finite number, got {value}")
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        _check_finite(part, f"{where}[{name}]" if isinstance(value, list) else f"{where}.{name}".lstrip("."))


def _check(config: Config, rules: Config) -> None:
    errors = sorted(jsonschema.Draft202012Validator(rules).iter_errors(config), key=lambda error: len(error.path))
    if errors:
        raise UserError(schema_line(errors[0]))


def schema_line(error: Any) -> str:
    """What is said of an error of jsonschema: where, what was expected, what is there."""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.path).lstrip(".")
    place = f"config: {where}" if where else "config"
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))[0]
        return f"{place}: unknown key {unknown!r}; {suggest(str(unknown), known)}"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"{place}: the key {missing!r} is missing"
    if error.validator == "type":
        hint = number_hint(error.instance) if isinstance(error.instance, str) else ""
        return (
            f"{place}: expected {type_name(error.validator_value)}, got {json.dumps(error.instance)}"
            f"{f'; {hint}' if hint else ''}"
        )
    if error.validator == "enum":
        return f"{place}: expected one of {', '.join(map(str, error.validator_value))}, got {error.instance!r}"
    if error.validator == "pattern":
        return f"{place}: expected {PATTERNS[error.validator_value]}, got {error.instance!r}"
    if error.validator == "maxLength":
        return f"{place}: expected {error.validator_value} characters at most, got {len(error.instance)}"
    return f"{place}: {error.message}"


def type_name(kind: str | list[str]) -> str:
    if isinstance(kind, list):
        return " or ".join(map(type_name, kind))
    names = {"object": "a mapping", "array": "a list", "integer": "an integer", "string": "a text"}
    return names.get(kind, f"a {kind}")


def _fill(value: Config, node: Config, rules: Config) -> None:
    """Put in each default that the schema gives, depth first."""
    if "$ref" in node:
        node = rules["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    for name, child in node.get("properties", {}).items():
        if name not in value and "default" in child:
            value[name] = json.loads(json.dumps(child["default"]))
        if isinstance(value.get(name), dict):
            _fill(value[name], child, rules)
    extra = node.get("additionalProperties")
    if isinstance(extra, dict):
        for name in value:
            if name not in node.get("properties", {}) and isinstance(value[name], dict):
                _fill(value[name], extra, rules)


def _check_targets(config: Config) -> None:
    for task in config["targets"]:
        if task not in config["tasks"]:
            raise UserError(f"config: targets: no task {task!r}; {suggest(task, config['tasks'])}")


def _check_learnt(name: str, model: Config, config: Config) -> None:
    """Every model learns every task."""
    for task in config["tasks"]:
        kind = target_of(config, task)
        for folder, part in [("models", model["model"]), *(("balancing", one) for one in model["balancing"])]:
            if kind not in attribute(folder, part, "targets_learnt"):
                raise UserError(
                    f"config: models.{name}: {part} learns classes only, and targets.{task} is {kind}; leave it out, "
                    "or study that task in a config of its own"
                )


def _check_references(config: Config, asked: Config) -> None:
    """Names that point at plugins, models or modalities, and the options of the plugins."""
    if taken := sorted(OF_MANIFESTS & set(config["tasks"])):
        raise UserError(f"config: tasks: {taken[0]!r} is no label: every manifest has a column of this name")
    dataset = dict(config["dataset"])
    _check_plugin("dataset", "datasets", dataset.pop("name"), dataset)
    for measure, given in config["relevance"]["measures"].items():
        _check_plugin(f"relevance.measures.{measure}", "measures", measure, given)
        if (needs := attribute("measures", measure, "needs")) not in NEEDS:
            path = registry.get("measures", measure).path
            raise UserError(f"plugins: {path}: {measure}.needs: expected one of {', '.join(NEEDS)}, got {needs!r}")
        if needs == "input":
            _check_kept(f"relevance.measures.{measure}", config)
    for name, model in config["models"].items():
        _check_plugin(f"models.{name}", "models", model["model"], model["options"])
        _check_fusions(f"models.{name}", model)
        _check_balancing(f"models.{name}.balancing", model)
        _check_learnt(name, model, config)
        _check_encoders(f"models.{name}", model, config)
        _check_missing(f"models.{name}.missing", model["missing"], config)
        for where in ("search.space", f"models.{name}.search"):
            _check_space(where, config["search"]["space"] if where == "search.space" else model["search"], name, model)
        if model["teachers"] and not attribute("models", model["model"], "takes_teachers", False):
            raise UserError(f"config: models.{name}.teachers: {model['model']} takes no teachers")
        if not model["teachers"] and attribute("models", model["model"], "needs_teachers", False):
            raise UserError(
                f"config: models.{name}: {model['model']} learns from teachers, names of other models of this study: "
                "teachers: [...]"
            )
        for teacher in model["teachers"]:
            if teacher == name or teacher not in config["models"]:
                others = sorted(set(config["models"]) - {name})
                raise UserError(f"config: models.{name}.teachers: no model {teacher!r}; {suggest(teacher, others)}")
            if config["models"][teacher]["teachers"]:
                raise UserError(f"config: models.{name}.teachers: {teacher!r} has teachers itself")
    _check_asked(config)
    if config["search"]["budget"] and (both := set(config["seeds"]) & set(config["search"]["seeds"])):
        raise UserError(f"config: search.seeds: {min(both)} is one of the study's seeds; the search needs others")
    splits = config["splits"]
    if abs(splits["train"] + splits["validation"] + splits["test"] - 1) > 1e-6:
        raise UserError("config: splits: train, validation and test must add up to 1")
    # A default leads only where the study has it; a name that the user wrote is there or is refused.
    fallbacks = {"model": list(config["models"]), "replacement": list(config["evaluate"]["replacements"])}
    for key, known in fallbacks.items():
        if (name := config["report"][key]) not in known:
            if key in asked:
                raise UserError(f"config: report.{key}: no {key} {name!r} in this study; {suggest(name, known)}")
            config["report"][key] = next((one for one in known if one != "logistic"), known[0])


def _check_plugin(where: str, kind: str, name: str, given: Config) -> None:
    """A name that is there, and options that its constructor takes."""
    registry.get(kind, name, f"config: {where}")
    options.validate(introspection.options(kind, name), given, f"config: {where}")


def _check_kept(where: str, config: Config) -> None:
    """That what was decoded is still there once the features are made."""
    forms = modalities.forms(config)
    for name in config["modalities"]:
        if not forms[modalities.form_of(config, name)]["keep"]:
            raise UserError(f"config: {where} reads what was decoded: expected modalities.{name}.keep: true, got false")


def _check_fusions(where: str, model: Config) -> None:
    for option, name in fusions(model).items():
        _check_plugin(f"{where}.{option}", "fusions", name, {})
        known = [
            other for other in registry.names("fusions") if FUSIONS[option] in attribute("fusions", other, "stages")
        ]
        if name not in known:
            raise UserError(f"config: {where}.{option}: expected one of {', '.join(known)}, got {name!r}")
        if option == "fusion":
            _check_plugin(f"{where}.fusion_options", "fusions", name, model["options"].get("fusion_options") or {})


def _check_balancing(where: str, model: Config) -> None:
    for name, given in model["balancing"].items():
        _check_plugin(where, "balancing", name, given)
        if len(model["modalities"]) < 2:
            only = model["modalities"][0]
            raise UserError(f"config: {where}: the model looks at {only} alone: nothing to balance")


def _check_encoders(where: str, model: Config, config: Config) -> None:
    """Of modalities of the study, whose decoded form is kept, and that nothing reads as features."""
    training = model["training"]
    known = config["modalities"]
    for key in ("encoders", "augment"):
        for name in training[key]:
            if name not in known:
                raise UserError(f"config: {where}.training.{key}: no modality {name!r}; {suggest(name, known)}")
    forms = modalities.forms(config)
    for name in modalities.learnt(model):
        at = f"config: {where}.training.encoders.{name}"
        if not forms[modalities.form_of(config, name)]["keep"]:
            raise UserError(f"{at} reads what was decoded: expected modalities.{name}.keep: true, got false")
        if model["missing"]["shares"].get(name) and model["missing"]["replacement"] == "mean@input":
            raise UserError(
                f"{at}: what clips are decoded to has no mean: expected missing.replacement: blank@input, "
                "gaussian@input or shuffle@input, got mean@input"
            )


def _check_asked(config: Config) -> None:
    """Measures that ask models are of those that read cached features; others take no part."""
    through = {name for name, model in config["models"].items() if modalities.learnt(model)}
    for measure, given in config["relevance"]["measures"].items():
        if through and attribute("measures", measure, "needs") in ASKING:
            where, reason = f"config: relevance.measures.{measure}", "asks models of cached features"
            if named := [name for name in given.get("models") or [] if name in through]:
                raise UserError(f"{where}.models: {measure} {reason}, and {named[0]!r} learns through an encoder")
            if through == set(config["models"]):
                raise UserError(f"{where} {reason}, and every model here learns through an encoder; leave it out")


def _check_missing(where: str, missing: Config, config: Config) -> None:
    """Shares of modalities of the study; a model is not given all of them."""
    for name in missing["shares"]:
        if name not in config["modalities"]:
            raise UserError(f"config: {where}.shares: no modality {name!r}; {suggest(name, config['modalities'])}")
    if (total := sum(missing["shares"].values())) > 1 + 1e-9:
        raise UserError(f"config: {where}.shares: expected 1 at most together, as no clip lacks two, got {total:g}")


def _check_space(where: str, space: Config, name: str, model: Config) -> None:
    """Ranges of options that the model has, from low to high."""
    known = {
        "training": [one for one in schema()["$defs"]["training"]["properties"] if one != "encoders"],
        "options": list(introspection.options("models", model["model"])),
        "balancing": [option for one in model["balancing"] for option in introspection.options("balancing", one)],
    }
    for key, values in space.items():
        part, option, *_ = key.split(".")
        if option not in known[part]:
            raise UserError(f"config: {where}: {name} has no {key!r}; {suggest(option, known[part])}")
        if isinstance(values, dict) and (values["low"] >= values["high"] or (values["log"] and values["low"] <= 0)):
            raise UserError(f"config: {where}.{key}: low must be less than high, and above 0 where log is true")
