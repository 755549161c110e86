"""A study's config: defaults filled in, unknown keys and wrong types refused in one line."""

import ast
import json
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from modalens import cli
from modalens.cli import UserError

PACKAGE = Path(__file__).parent
SCHEMA = PACKAGE.parents[1] / "workflow" / "schemas" / "config.schema.yaml"
TYPES = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": list, "dict": dict, "tuple": list}

# Options of models that name a fusion, and the stage at which it is to serve; `fusion_options` are the first one's.
FUSIONS = {"fusion": "intermediate", "rule": "late"}

Config = dict[str, Any]


def schema() -> Config:
    return yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))


def resolve(config: Config) -> Config:
    """Config as the user wrote it -> a whole one. Raises UserError: where, what is wrong, what would be right."""
    rules = schema()
    config = json.loads(json.dumps(config))
    _check(config, rules)
    _fill(config, rules, rules)
    config["training"] = {**rules["properties"]["training"]["default"], **config["training"]}
    config["mlflow"].setdefault("tracking_uri", f"sqlite:///{config['results']}/mlflow.db")
    config["mlflow"].setdefault("experiment", config["study"])
    config["report"].setdefault("title", config["study"])
    for name, model in config["models"].items():
        model.setdefault("class", name)
        model["training"] = {**config["training"], **model.get("training", {})}
    for encoder in config["modalities"].values():
        config["encoders"].setdefault(encoder, {})
    _check_references(config)
    return config


def members(kind: str) -> dict[str, Path]:
    """Public names of a kind without importing any: the Snakefile is read in milliseconds."""
    return {path.stem: path for path in sorted((PACKAGE / kind).glob("[!_]*.py"))}


def attribute(kind: str, name: str, attribute: str) -> Any:
    """A literal class attribute of a plugin, read from its source: e.g. which stage an encoder reads."""
    for statement in _class(kind, name).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
            return ast.literal_eval(statement.value)  # type: ignore[attr-defined]
    raise UserError(f"{kind}/{name}.py states no {attribute}")


def fusions(model: Config) -> dict[str, str]:
    """Option -> fusion of a model of a resolved config, the constructor's default where the config names none."""
    chosen = {option: default for option, _, default in _options("models", model["class"])} | model["options"]
    return {option: chosen[option] for option in FUSIONS if option in chosen}


def _check(config: Config, rules: Config) -> None:
    errors = sorted(jsonschema.Draft202012Validator(rules).iter_errors(config), key=lambda error: len(error.path))
    if errors:
        raise UserError(_line(errors[0]))


def _line(error: Any) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.path).lstrip(".")
    place = f"config: {where}" if where else "config"
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))[0]
        return f"{place}: unknown key {unknown!r}; {_suggest(str(unknown), known)}"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"{place}: the key {missing!r} is missing"
    if error.validator == "type":
        return f"{place}: {_article(error.validator_value)} is wanted, not {json.dumps(error.instance)}"
    if error.validator == "enum":
        return f"{place}: {error.instance!r} is none of {', '.join(map(str, error.validator_value))}"
    return f"{place}: {error.message}"


def _article(kind: str) -> str:
    names = {"object": "a mapping", "array": "a list", "integer": "an integer", "string": "a text"}
    return names.get(kind, f"a {kind}")


def _suggest(word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"


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


def _check_references(config: Config) -> None:
    """Names that point at plugins, models or modalities, and the options of the plugins."""
    dataset = dict(config["dataset"])
    _check_plugin("dataset", "datasets", dataset.pop("name"), dataset)
    for modality, encoder in config["modalities"].items():
        _check_plugin(f"modalities.{modality}", "encoders", encoder, {})
    for encoder, options in config["encoders"].items():
        _check_plugin(f"encoders.{encoder}", "encoders", encoder, options)
    for measure, options in config["relevance"]["measures"].items():
        _check_plugin(f"relevance.measures.{measure}", "measures", measure, options)
    for name, model in config["models"].items():
        _check_plugin(f"models.{name}", "models", model["class"], model["options"])
        _check_fusions(f"models.{name}", model)
        for teacher in model["teachers"]:
            if teacher == name or teacher not in config["models"]:
                others = sorted(set(config["models"]) - {name})
                raise UserError(f"config: models.{name}.teachers: no model {teacher!r}; {_suggest(teacher, others)}")
            if config["models"][teacher]["teachers"]:
                raise UserError(f"config: models.{name}.teachers: {teacher!r} has teachers itself")
    splits = config["splits"]
    if abs(splits["train"] + splits["validation"] + splits["test"] - 1) > 1e-6:
        raise UserError("config: splits: train, validation and test must add up to 1")
    if config["frames"]["crop"] > config["frames"]["resize"]:
        raise UserError("config: frames: crop must not be larger than resize")
    if config["report"]["model"] not in config["models"]:
        # The default leads only where the study has it.
        config["report"]["model"] = list(config["models"])[-1]
    if config["report"]["replacement"] not in config["evaluate"]["replacements"]:
        config["report"]["replacement"] = config["evaluate"]["replacements"][0]


def _check_fusions(where: str, model: Config) -> None:
    for option, name in fusions(model).items():
        _check_plugin(f"{where}.{option}", "fusions", name, {})
        known = [other for other in members("fusions") if FUSIONS[option] in attribute("fusions", other, "stages")]
        if name not in known:
            raise UserError(f"config: {where}.{option}: {name!r} is none of {', '.join(known)}")
        if option == "fusion":
            _check_plugin(f"{where}.fusion_options", "fusions", name, model["options"].get("fusion_options") or {})


def _check_plugin(where: str, kind: str, name: str, options: Config) -> None:
    known = members(kind)
    if name not in known:
        raise UserError(f"config: {where}: no {kind.removesuffix('s')} {name!r}; {_suggest(name, list(known))}")
    accepted = {option: outer for option, outer, _ in _options(kind, name)}
    for option, value in options.items():
        if option not in accepted:
            raise UserError(f"config: {where}: unknown option {option!r}; {_suggest(option, sorted(accepted))}")
        wanted = TYPES.get(accepted[option])
        if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool)):  # type: ignore[arg-type]
            raise UserError(f"config: {where}.{option}: {accepted[option]} is wanted, not {json.dumps(value)}")


def _options(kind: str, name: str) -> Iterator[tuple[str, str, Any]]:
    """Keyword options of a plugin's constructor with the outer name of their annotation and their default, None where
    it is no literal."""
    node: ast.ClassDef | None = _class(kind, name)
    while node is not None:
        for function in node.body:
            if isinstance(function, ast.FunctionDef) and function.name == "__init__":
                arguments = function.args
                defaults = len(arguments.defaults)
                with_default = (arguments.args[-defaults:] if defaults else []) + arguments.kwonlyargs
                values = [*arguments.defaults, *arguments.kw_defaults]
                for argument, value in zip(with_default, values, strict=True):
                    annotation = argument.annotation
                    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
                    default = value.value if isinstance(value, ast.Constant) else None
                    yield argument.arg, outer.id if isinstance(outer, ast.Name) else "", default
                return
        node = _parent(kind, node)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _class(kind: str, name: str) -> ast.ClassDef:
    wanted = "".join(part.capitalize() for part in name.split("_"))
    for statement in _tree(members(kind)[name]).body:
        if isinstance(statement, ast.ClassDef) and statement.name == wanted:
            return statement
    raise UserError(f"{kind}/{name}.py has no class {wanted}")


def _parent(kind: str, node: ast.ClassDef) -> ast.ClassDef | None:
    """The base class when it stands in another module of the same kind: AudioOnly takes the options of LateFusion."""
    names = {base.id for base in node.bases if isinstance(base, ast.Name)}
    for path in sorted((PACKAGE / kind).glob("*.py")):
        for statement in _tree(path).body:
            if isinstance(statement, ast.ClassDef) and statement.name in names:
                return statement
    return None


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--configfile", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--print", choices=["config", "report", "tracking_uri", "experiment"], default="config")

    def show(arguments: Any) -> None:
        config = resolve(load(arguments.configfile))
        values = {
            "config": yaml.safe_dump(config, sort_keys=False),
            "report": f"{config['results']}/{config['study']}/report/index.html",
            "tracking_uri": config["mlflow"]["tracking_uri"],
            "experiment": config["mlflow"]["experiment"],
        }
        print(values[arguments.print])

    cli.run(show, parser)


def load(path: Path) -> Config:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"config: {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise UserError(f"config: {path} must hold a mapping of keys to values")
    return config


if __name__ == "__main__":
    main()
