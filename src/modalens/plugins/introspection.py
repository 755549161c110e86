"""What can be known of a plugin without importing it: the Snakefile and the config are read in milliseconds."""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from modalens.plugins import registry
from modalens.plugins.options import Option
from modalens.plugins.registry import PACKAGE
from modalens.utils.errors import UserError

_MISSING = object()


def attribute(kind: str, name: str, attribute: str, default: Any = _MISSING) -> Any:
    """A literal class attribute of a plugin or of a base class beside it: e.g. the form that an encoder reads.

    Raises UserError where no class states it and no default is given.
    """
    for node in _lineage(kind, name):
        for statement in node.body:
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            value = getattr(statement, "value", None)
            if value is not None and any(isinstance(one, ast.Name) and one.id == attribute for one in targets):
                return ast.literal_eval(value)
    if default is not _MISSING:
        return default
    raise UserError(f"{registry.get(kind, name).path} states no {attribute}")


def docstring(kind: str, name: str) -> str:
    """What the file of a plugin says of itself, "" where it says nothing."""
    return ast.get_docstring(registry.parse(registry.get(kind, name).path)) or ""


def options(kind: str, name: str) -> dict[str, Option]:
    """Options of a plugin's constructor, and with `**options` those of the class that it extends; the default is
    None where it is no literal."""
    found: dict[str, Option] = {}
    for node in _lineage(kind, name):
        for function in node.body:
            if isinstance(function, ast.FunctionDef) and function.name == "__init__":
                found = {option.name: option for option in _of_arguments(function.args)} | found
                if function.args.kwarg is None:
                    return found
    return found


def _of_arguments(arguments: ast.arguments) -> Iterator[Option]:
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        annotation, nullable = argument.annotation, False
        if isinstance(annotation, ast.BinOp) and ast.unparse(annotation.right) == "None":
            annotation, nullable = annotation.left, True
        outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
        default = value.value if isinstance(value, ast.Constant) else None
        kind = outer.id if isinstance(outer, ast.Name) else ""
        yield Option(argument.arg, kind, default, required=value is None, nullable=nullable)


def _lineage(kind: str, name: str) -> Iterator[ast.ClassDef]:
    """The class of a plugin and the classes that it extends, in the order in which Python looks into them, as far as
    they stand in files of the same kind."""
    plugin = registry.get(kind, name)
    paths = [plugin.path, *(path for path in sorted((PACKAGE / kind).glob("*.py")) if path != plugin.path)]
    classes: dict[str, ast.ClassDef] = {}
    for path in paths:
        for statement in registry.parse(path).body:
            if isinstance(statement, ast.ClassDef):
                classes.setdefault(statement.name, statement)
    found = list(_extended(_class(plugin), classes))
    # What several extend comes behind the last of them.
    return (node for place, node in enumerate(found) if node not in found[place + 1 :])


def _extended(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    yield node
    for base in node.bases:
        extended = classes.get(ast.unparse(base).rpartition(".")[2])
        if extended is not None and extended is not node:
            yield from _extended(extended, classes)


def _class(plugin: registry.Plugin) -> ast.ClassDef:
    for statement in registry.parse(plugin.path).body:
        if isinstance(statement, ast.ClassDef) and statement.name == plugin.class_name:
            return statement
    raise UserError(f"{plugin.path} has no class {plugin.class_name}")
