"""What the Snakefile knows before it has a graph: the manifest, the shards, and which source a stage depends on.

Only the standard library is imported, so that reading the Snakefile stays quick.
"""

import ast
import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from modalens.utils.cli import UserError, digest, write_if_changed

PACKAGE = Path(__file__).parent


@cache
def code_digest(*modules: str) -> str:
    """Digest over the syntax trees of modules (`frames`, `models/late_fusion`) and all that they import from modalens,
    and over the bytes of what is no Python (`templates/report.html.j2`).

    Snakemake does not see imported Python. As a rule's parameter this makes an edit of a helper rerun exactly the
    stages that import it; comments and layout are not part of a syntax tree, docstrings are left out here.
    """
    digest = hashlib.sha256()
    for path in sorted(_closure(modules)):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(_tree_digest(path))
    return digest.hexdigest()[:16]


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
    paths = [PACKAGE / f"{module}.py", PACKAGE / module]
    return next((path for path in paths if path.is_file()), None)


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Modules of modalens that a file imports, as `stage` or `kind/name`."""
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


def ensure_manifest(config: dict[str, Any], folder: Path) -> None:
    """Write the manifest and the shard lists if the data set, its files or its code changed since.

    This comes before the graph is built, not as a rule: a rule that writes all shard lists would rerun every shard
    when one clip is added, and a checkpoint would hide the graph from a dry run.
    """
    dataset = json.dumps(config["dataset"], sort_keys=True)
    code = code_digest("manifest", f"datasets/{config['dataset']['name']}")
    key = digest(dataset, config["tasks"], config["shards"], config.get("only"), code)
    stamp = folder / "stamp.json"
    if stamp.exists():
        old = json.loads(stamp.read_text(encoding="utf-8"))
        if old["key"] == key and all(_state(Path(name)) == state for name, state in old["inputs"].items()):
            return
    # A reading that is stopped leaves tables of two studies: without its stamp none of them is taken for whole.
    stamp.unlink(missing_ok=True)
    command = [sys.executable, "-m", "modalens.manifest", "--dataset", dataset, "--tasks", *config["tasks"]]
    command += ["--shards", str(config["shards"]), "--output", str(folder), "--record", str(folder / "record.json")]
    command += ["--only", config["only"]] if config.get("only") else []
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    if subprocess.run(command, stdin=subprocess.DEVNULL, env=environment).returncode:
        raise SystemExit(1)  # the stage has said what is wrong
    inputs = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
    write_if_changed(stamp, json.dumps({"key": key, "inputs": {name: _state(Path(name)) for name in inputs}}, indent=1))


def _state(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else []


def shards(folder: Path) -> list[str]:
    """Names of the shards that hold clips, in order."""
    names = [path.stem for path in (folder / "shards").glob("*.csv")]
    if not names:
        raise UserError(f"{folder} lists no clip")
    return sorted(names, key=int)


@cache
def clips_in(path: Path) -> int:
    """Clips that a shard's CSV lists, for what a job asks for: a line each, hardly ever more."""
    return max(path.read_bytes().count(b"\n") - 1, 1) if path.exists() else 1
