"""What schema.yaml demands of a config: types, patterns, defaults, and what is said where one does not fit."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from modalens.config.yaml_file import number_hint
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest
from modalens.utils.words import half_letter

Config = dict[str, Any]

SCHEMA = Path(__file__).with_name("schema.yaml")
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


@cache
def schema() -> Config:
    return yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))


def check_values(value: Any, where: str) -> None:
    """YAML's .inf and .nan are numbers to a schema, and no number that anything here can work with; "\\ud800" is a text
    that no file can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"config: {where}: expected a finite number, got {value}")
    for text in (value, *value) if isinstance(value, dict) else (value,):
        if isinstance(text, str) and half_letter(text):
            raise UserError(f"config{where and f': {where}'}: expected text that UTF-8 can hold, got {text!r}")
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        check_values(part, f"{where}[{name}]" if isinstance(value, list) else f"{where}.{name}".lstrip("."))


def check_schema(config: Config, rules: Config) -> None:
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
    if error.validator == "anyOf":
        return f"{place}: expected {' or '.join(map(allowed, error.validator_value))}, got {json.dumps(error.instance)}"
    return f"{place}: {error.message}"


def allowed(node: Config) -> str:
    """One of the forms that a value may have, in words."""
    if "const" in node or "enum" in node:
        return " or ".join(map(str, node.get("enum", [node.get("const")])))
    if "properties" in node:
        return "{" + ", ".join(f"{name}: {allowed(part)}" for name, part in node["properties"].items()) + "}"
    return type_name(node["type"]) + (f" from {node['minimum']}" if "minimum" in node else "")


def type_name(kind: str | list[str]) -> str:
    if isinstance(kind, list):
        return " or ".join(map(type_name, kind))
    names = {"object": "a mapping", "array": "a list", "integer": "an integer", "string": "a text"}
    return names.get(kind, f"a {kind}")


def fill(value: Config, node: Config, rules: Config) -> None:
    """Put in each default that the schema gives, depth first."""
    if "$ref" in node:
        node = rules["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    for name, child in node.get("properties", {}).items():
        if name not in value and "default" in child:
            value[name] = json.loads(json.dumps(child["default"]))
        if isinstance(value.get(name), dict):
            fill(value[name], child, rules)
    extra = node.get("additionalProperties")
    if isinstance(extra, dict):
        for name in value:
            if name not in node.get("properties", {}) and isinstance(value[name], dict):
                fill(value[name], extra, rules)
