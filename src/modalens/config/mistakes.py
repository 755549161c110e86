"""Every mistake of a config at once: what is wrong is said and taken out, until the rest is right."""

import json
import re
from typing import Any

import jsonschema

from modalens.config.resolve import resolve
from modalens.config.rules import schema, schema_line
from modalens.utils.errors import UserError

Config = dict[str, Any]
MOST = 50
# Stand in for what is wrong and must be there, so that the rest is looked at.
REQUIRED: Config = {"name": "name", "dataset": {"name": "known_answer"}, "tasks": ["seen"]}


def mistakes(config: Config) -> tuple[list[str], Config | None]:
    """(a line for each mistake, what is left, resolved, or None where it cannot be). config: as the user wrote it."""
    config = json.loads(json.dumps(config))
    lines: list[str] = []
    removed: set[str] = set()
    errors = jsonschema.Draft202012Validator(schema()).iter_errors(config)
    lines += [schema_line(error) for error in sorted(errors, key=lambda error: [str(part) for part in error.path])]
    for _ in range(MOST):
        try:
            return list(dict.fromkeys(lines)), resolve(config)
        except UserError as error:
            line = str(error)
            # What was taken out is missed elsewhere: that is no mistake more.
            if not any(f"no {kind} {name!r}" in line for name in removed for kind in ("model", "modality")):
                lines.append(line.removesuffix("; known: none"))
            if not _take_out(config, line, removed):
                break
    return list(dict.fromkeys(lines)), None


def _take_out(config: Config, line: str, removed: set[str]) -> bool:
    """The narrowest part that a line `config: models.a.options: unknown option 'b'` is about. Whether there was one."""
    match = re.match(r"config(?:: ([^\s:]+))?: ", line)
    if not match:
        return False
    path: list[Any] = []
    node: Any = config
    for part in re.findall(r"[^.\[\]]+", match[1] or ""):
        place = int(part) if isinstance(node, list) else part
        if place not in (range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ()):
            break
        path.append(place)
        node = node[place]
    name = next(iter(re.findall(r"'([^']*)'", line[match.end() :])), "")
    path += _place_of(name, node) or []
    if path:
        removed |= {name, str(path[-1])}
        _delete(config, path)
    missing = [key for key in REQUIRED if not config.get(key)]
    config.update(json.loads(json.dumps({key: REQUIRED[key] for key in missing})))
    return bool(path or missing)


def _place_of(name: str, node: Any) -> list[Any] | None:
    """Where a key, an element or a value of this name is in a part of a config."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        if name and name in (key, value):
            return [key]
        if (deeper := _place_of(name, value)) is not None:
            return [key, *deeper]
    return None


def _delete(config: Config, path: list[Any]) -> None:
    """And what is empty then: a mapping without a key may be a mistake of its own."""
    *parents, last = path
    node: Any = config
    for place in parents:
        node = node[place]
    del node[last]
    if not node and parents:
        _delete(config, parents)
