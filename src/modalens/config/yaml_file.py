"""A config file -> its mapping, or one line with file, line and column."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from modalens.utils.errors import UserError

# Numbers to people; YAML 1.1 wants a point before the exponent and a sign in it.
EXPONENT = re.compile(r"([+-]?[0-9][0-9_]*)(\.[0-9_]*)?[eE]([+-]?)([0-9]+)")


def load(path: Path) -> dict[str, Any]:
    """Raises UserError for what is no YAML, for a key that occurs twice, and for numbers that YAML reads as text."""
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError as error:
        raise UserError(f"config: not found: {path}") from error
    except OSError as error:
        raise UserError(f"config: {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"config: {path}: expected UTF-8, got byte {error.object[error.start]:#x}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        said = " ".join(filter(None, (error.context, error.problem)))
        raise UserError(f"config: {place}: {said}") from error
    except yaml.YAMLError as error:
        raise UserError(f"config: {path}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UserError(f"config: {path}: a mapping or list contains itself") from error
    if not isinstance(config, dict):
        raise UserError(f"config: {path}: expected a mapping of keys to values, got {type(config).__name__}")
    return config


def number_hint(text: str) -> str:
    """`1e-3` -> "write 1.0e-3"; "" for what does not look like such a number."""
    match = EXPONENT.fullmatch(text)
    if not match or yaml.safe_load(text) != text:
        return ""
    whole, fraction, sign, power = match.groups()
    return f"write {whole}{fraction or '.0'}e{sign or '+'}{power}"


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Any, int] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, yaml.ScalarNode):
                continue
            name = self.construct_object(key, deep=True)
            if name in seen:
                said = f"the key {name!r} occurs again; it is there in line {seen[name]} already"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            seen[name] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _text(loader: yaml.SafeLoader, node: Any) -> str:
    # A plain scalar has no style; quotes say that a text is meant.
    if node.style is None and (hint := number_hint(node.value)):
        said = f"expected a number, got the text {node.value!r}; {hint}, or put quotes round a text"
        raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:str", _text)
