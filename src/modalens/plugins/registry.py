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
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from modalens.plugins import files
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


@dataclass(frozen=True)
class Plugin:
    """Where a plugin is. module: dotted name."""

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


def use(plugin_files: Iterable[str | Path]) -> None:
    """Make the plugins of these files known in this process and in those that it starts."""
    paths = [Path(file).resolve() for file in plugin_files]
    for path in paths:
        if path.suffix != ".py" or not path.is_file():
            raise UserError(f"config: plugins: not found: {path}")
        if [other.stem for other in paths].count(path.stem) > 1:
            raise UserError(f"config: plugins: two files are called {path.name}; give each a name of its own")
    known, asked = files.paths(), _states(paths)
    files.use(paths)
    # Reading all sources anew takes a third of a second.
    if known != paths or asked != _read:
        _read[:] = asked
        members.cache_clear()
        parse.cache_clear()


_read: list[tuple[int, int]] = []  # states of the plugin files as they were when they were last read


def _states(paths: list[Path]) -> list[tuple[int, int]]:
    found = [path.stat() for path in paths]
    return [(state.st_mtime_ns, state.st_size) for state in found]


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
    try:
        return getattr(importlib.import_module(plugin.module), plugin.class_name)
    except Exception as error:
        if plugin.path.is_relative_to(PACKAGE):
            raise
        raise UserError(f"plugins: {plugin.path} cannot be imported: {type(error).__name__}: {error}") from error


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
    for path in files.paths():
        own: dict[str, str] = {}  # a class may derive from another one of the same file
        for statement in parse(path).body:
            if isinstance(statement, ast.ClassDef):
                bases = [ast.unparse(base).rpartition(".")[2] for base in statement.bases]
                kinds = [PLUGIN_BASES.get(base) or own.get(base) or _kind_of_class(base) for base in bases]
                own[statement.name] = next(filter(None, kinds), "")
                if own[statement.name] == kind and not statement.name.startswith("_"):
                    found.append(
                        Plugin(kind, public_name(statement.name), statement.name, path, f"{files.__name__}.{path.stem}")
                    )
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
