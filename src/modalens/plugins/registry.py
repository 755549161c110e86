"""One registry of all plugins: those of this package, of installed packages and of files that a config names.

A plugin is a class. Its public name is the class name in snake case: `late_fusion` is LateFusion, in the package's
models/late_fusion.py. Outside plugins derive from the base class of their kind, which tells the kind:

- a file that the config lists under `plugins:` (every class in it that derives from a base class of PLUGIN_BASES);
- an entry point of another installed package, group `modalens.<kind>`, value `module:Class`.

Nothing is imported to find a name: sources are read, so that a config is checked in milliseconds.
"""

import ast
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

PACKAGE = Path(__file__).parents[1]
PLUGIN_BASES = {
    "Dataset": "datasets",
    "Modality": "modalities",
    "Encoder": "encoders",
    "Model": "models",
    "Fusion": "fusions",
    "Balancing": "balancing",
    "Measure": "measures",
}
KINDS = tuple(PLUGIN_BASES.values())
# Plugin files by path, for the processes that the workflow starts: the same separator as PATH.
ENVIRONMENT = "MODALENS_PLUGINS"


@dataclass(frozen=True)
class Plugin:
    """Where a plugin is. module: dotted name, or "" for a file that is no installed module."""

    kind: str
    name: str
    class_name: str
    path: Path
    module: str


def singular(kind: str) -> str:
    return {"modalities": "modality", "balancing": "balancing"}.get(kind, kind.removesuffix("s"))


def class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def public_name(class_: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_).lower()


def use(files: Iterable[str | Path]) -> None:
    """Make the plugins of these files known in this process and in those that it starts."""
    paths = [str(Path(file).resolve()) for file in files]
    for path in paths:
        if not Path(path).is_file():
            raise UserError(f"config: plugins: not found: {path}")
    os.environ[ENVIRONMENT] = os.pathsep.join(paths)
    members.cache_clear()


def plugin_files() -> list[Path]:
    return [Path(path) for path in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if path]


@cache
def members(kind: str) -> dict[str, Plugin]:
    """Every plugin of a kind by its public name, sorted. Raises UserError where two have one name."""
    found = {}
    for path in (PACKAGE / kind).glob("[!_]*.py"):
        found[path.stem] = Plugin(kind, path.stem, class_name(path.stem), path, f"modalens.{kind}.{path.stem}")
    for plugin in [*_of_entry_points(kind), *_of_files(kind)]:
        if plugin.name in found:
            raise UserError(
                f"plugins: {plugin.path} defines the {singular(kind)} {plugin.name!r}, which exists already"
            )
        found[plugin.name] = plugin
    return dict(sorted(found.items()))


def names(kind: str) -> list[str]:
    return list(members(kind))


def get(kind: str, name: str, where: str = "") -> Plugin:
    """Raises UserError with the nearest name. where: of the config, to begin the line with."""
    known = members(kind)
    if name not in known:
        raise UserError(f"{where and f'{where}: '}no {singular(kind)} {name!r}; {suggest(name, known)}")
    return known[name]


def load(kind: str, name: str) -> Any:
    """The class of a plugin. Imports its module. Raises UserError: unknown name, module that fails."""
    plugin = get(kind, name)
    module = importlib.import_module(plugin.module) if plugin.module else _import_file(plugin.path)
    return getattr(module, plugin.class_name)


def _of_entry_points(kind: str) -> list[Plugin]:
    found = []
    for point in entry_points(group=f"modalens.{kind}"):
        spec = importlib.util.find_spec(point.module)
        if spec is None or spec.origin is None:
            raise UserError(f"plugins: entry point {point.name!r} names {point.module}, which is not installed")
        found.append(Plugin(kind, public_name(point.attr), point.attr, Path(spec.origin), point.module))
    return found


def _of_files(kind: str) -> list[Plugin]:
    found = []
    for path in plugin_files():
        own: dict[str, str] = {}  # a class may derive from another one of the same file
        for statement in parse(path).body:
            if isinstance(statement, ast.ClassDef):
                bases = [ast.unparse(base).rpartition(".")[2] for base in statement.bases]
                kinds = [PLUGIN_BASES.get(base) or own.get(base) or _kind_of_class(base) for base in bases]
                own[statement.name] = next(filter(None, kinds), "")
                if own[statement.name] == kind and not statement.name.startswith("_"):
                    found.append(Plugin(kind, public_name(statement.name), statement.name, path, ""))
    return found


def _kind_of_class(name: str) -> str:
    return next((kind for kind in KINDS if (PACKAGE / kind / f"{public_name(name)}.py").is_file()), "")


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file. Raises UserError where it is no Python."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        raise UserError(f"plugins: {path} cannot be read as Python: {error}") from error


def _import_file(path: Path) -> Any:
    name = f"modalens_plugin_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise UserError(f"plugins: {path} cannot be imported: {type(error).__name__}: {error}") from error
    return sys.modules[name]
