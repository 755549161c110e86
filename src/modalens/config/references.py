"""What no schema can tell: names of a config that point at plugins, models or modalities, and the plugins' options."""

from typing import Any

from modalens.config import modalities
from modalens.config.grid import FUSIONS
from modalens.config.resolved import ASKING, fusions, target_of
from modalens.config.rules import schema
from modalens.plugins import introspection, options, registry
from modalens.plugins.introspection import attribute
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

Config = dict[str, Any]

NEEDS = ("predictions", "history", *ASKING)  # of measures
OF_MANIFESTS = {"clip_id", "source", "start_s", "end_s", "group", "split", "text"}


def check_targets(config: Config) -> None:
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


def check_references(config: Config, asked: Config) -> None:
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
