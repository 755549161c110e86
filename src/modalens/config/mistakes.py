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
WHERE = re.compile(r"config(?:: ([^\s:]+))?: ")
# Stand in for what is wrong and must be there, so that the rest is looked at.
REQUIRED: Config = {"name": "name", "dataset": {"name": "known_answer"}, "tasks": ["seen"]}


def mistakes(config: Config) -> tuple[list[str], Config | None]:
    """(a line for each mistake, what is left, resolved, or None where it cannot be). config: as the user wrote it."""
    given, config = config, json.loads(json.dumps(config))
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
            elsewhere = any(f"no {kind} {name!r}" in line for name in removed for kind in ("model", "modality"))
            if not elsewhere and not _follows(line, given, config):
                lines.append(line.removesuffix("; known: none"))
            if not _take_out(config, line, removed):
                break
    return list(dict.fromkeys(lines)), None


def _take_out(config: Config, line: str, removed: set[str]) -> bool:
    """The narrowest part that a line `config: models.a.options: unknown option 'b'` is about. Whether there was one."""
    match = WHERE.match(line)
    if not match:
        return False
    path, node = _walk(config, match[1] or "")
    name = next(iter(re.findall(r"'([^']*)'", line[match.end() :])), "")
    path += _place_of(name, node) or []
    if path:
        removed |= {name, *map(str, _delete(config, path))}
    missing = [key for key in REQUIRED if not config.get(key)]
    config.update(json.loads(json.dumps({key: REQUIRED[key] for key in missing})))
    return bool(path or missing)


def _walk(config: Config, where: str) -> tuple[list[Any], Any]:
    """As far as a place `models.a.options` or `a[0].b` is in a config: its path, and what is there."""
    path: list[Any] = []
    node: Any = config
    for part in re.findall(r"[^.\[\]]+", where):
        place = int(part) if isinstance(node, list) else part
        if place not in (range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ()):
            break
        path.append(place)
        node = node[place]
    return path, node


def _follows(line: str, given: Config, left: Config) -> bool:
    """Whether a line is about what stands in the place of something that was taken out: a default that does not fit the
    rest, or that a key is missing which the user did write."""
    match = WHERE.match(line)
    if not match:
        return False
    path, wrote = _walk(given, match[1] or "")
    there, stays = _walk(left, match[1] or "")
    if missing := re.search(r"the (?:key|option) '([^']*)' is missing", line):
        whole = isinstance(wrote, dict) and isinstance(wrote.get("options", {}), dict)
        return not whole or _place_of(missing[1], wrote) is not None
    # A line that names no place is about the whole, which nearly always differs.
    if not match[1] or (there == path and stays == wrote) or not isinstance(wrote, dict):
        return False
    return _place_of(next(iter(re.findall(r"'([^']*)'", line)), ""), wrote) is None


def _place_of(name: str, node: Any) -> list[Any] | None:
    """Where a key, an element or a value of this name is in a part of a config."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        if name and name in (key, value):
            return [key]
        if (deeper := _place_of(name, value)) is not None:
            return [key, *deeper]
    return None


def _delete(config: Config, path: list[Any]) -> list[Any]:
    """And what is empty then: a mapping without a key may be a mistake of its own. Returns the last places of both."""
    *parents, last = path
    node: Any = config
    for place in parents:
        node = node[place]
    del node[last]
    return [last, *(_delete(config, parents) if not node and parents else ())]
