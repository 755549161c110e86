"""Which source a stage depends on, as a digest: Snakemake does not see imported Python.

Only the standard library is imported, so that reading the Snakefile stays quick.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

from modalens.plugins import registry
from modalens.plugins.registry import PACKAGE


@cache
def code_digest(*modules: str) -> str:
    """Digest over the syntax trees of modules (`stages/frames`, `models/late_fusion`) and all that they import from
    modalens, and over the bytes of what is no Python (`reporting/templates/report.html.j2`).

    Snakemake does not see imported Python. As a rule's parameter this makes an edit of a helper rerun exactly the
    stages that import it; comments and layout are not part of a syntax tree, docstrings are left out here.
    """
    digest = hashlib.sha256()
    for path in sorted(_closure(modules)):
        digest.update((path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name).encode())
        digest.update(_tree_digest(path))
    return digest.hexdigest()[:16]


def files(folder: str) -> list[str]:
    """What lies in a folder of the package, as `code_digest` takes it."""
    return sorted(path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / folder).iterdir() if path.is_file())


def _closure(modules: tuple[str, ...]) -> set[Path]:
    waiting = [_file(module) for module in modules]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path is None or path in found:
            continue
        found.add(path)
        waiting += [_file(name) for name in _imports(path)]
    return found


def _file(module: str) -> Path | None:
    paths = [PACKAGE / f"{module}.py", PACKAGE / module, PACKAGE / module / "__init__.py"]
    kind, _, name = module.partition("/")
    if kind in registry.KINDS and name in registry.members(kind):
        paths.append(registry.members(kind)[name].path)
    return next((path for path in paths if path.is_file()), None)


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Modules of modalens that a file imports, as `folder/name`."""
    if path.suffix != ".py":
        return ()
    names = []
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "modalens":
            parent = node.module.split(".")[1:]
            names += ["/".join(parent)] + ["/".join([*parent, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Import):
            names += ["/".join(alias.name.split(".")[1:]) for alias in node.names if alias.name.startswith("modalens.")]
    return tuple(name for name in names if name)


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _tree_digest(path: Path) -> bytes:
    if path.suffix != ".py":
        return hashlib.sha256(path.read_bytes()).digest()
    tree = _parse(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            body.pop(0)  # type: ignore[union-attr]
    return hashlib.sha256(ast.dump(tree).encode()).digest()
