"""What can be known of a plugin without importing it: the Snakefile and the config are read in milliseconds."""

import ast
import json
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from modalens.utils.errors import UserError

PACKAGE = Path(__file__).parents[1]
TYPES = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": list, "dict": dict, "tuple": list}


def members(kind: str) -> dict[str, Path]:
    """Public names of a kind, and their files."""
    return {path.stem: path for path in sorted((PACKAGE / kind).glob("[!_]*.py"))}


def attribute(kind: str, name: str, attribute: str, *default: Any) -> Any:
    """A literal class attribute of a plugin, read from its source: e.g. which stage an encoder reads. default: if its
    class does not state it; without one, raises UserError."""
    for statement in _class(kind, name).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
            return ast.literal_eval(statement.value)  # type: ignore[attr-defined]
    if default:
        return default[0]
    raise UserError(f"{kind}/{name}.py states no {attribute}")


def check(where: str, kind: str, name: str, given: dict[str, Any]) -> None:
    known = members(kind)
    if name not in known:
        raise UserError(f"config: {where}: no {kind.removesuffix('s')} {name!r}; {suggest(name, list(known))}")
    accepted = {option: outer for option, outer, _ in options(kind, name)}
    for option, value in given.items():
        if option not in accepted:
            raise UserError(f"config: {where}: unknown option {option!r}; {suggest(option, sorted(accepted))}")
        wanted = TYPES.get(accepted[option])
        if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool)):  # type: ignore[arg-type]
            raise UserError(f"config: {where}.{option}: {accepted[option]} is wanted, not {json.dumps(value)}")


def options(kind: str, name: str) -> Iterator[tuple[str, str, Any]]:
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


def suggest(word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
