"""What the Snakefile knows before it has a graph: the manifest, the shards, and which source a stage depends on.

Only the standard library is imported, so that reading the Snakefile stays quick.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from modalens.config import modalities
from modalens.config.code_version import code_digest
from modalens.plugins.registry import PACKAGE
from modalens.utils.errors import UserError
from modalens.utils.files import digest, write_if_changed


def ensure_manifest(config: dict[str, Any], folder: Path) -> None:
    """Write the manifest and the shard lists if the data set, its files or its code changed since.

    This comes before the graph is built, not as a rule: a rule that writes all shard lists would rerun every shard
    when one clip is added, and a checkpoint would hide the graph from a dry run.
    """
    dataset = json.dumps(config["dataset"], sort_keys=True)
    columns = modalities.columns(config) if "modalities" in config else []
    code = code_digest("stages/manifest", f"datasets/{config['dataset']['name']}")
    key = digest(dataset, config["tasks"], config["shards"], config.get("clip_ids"), columns, code)
    stamp = folder / "stamp.json"
    if stamp.exists():
        old = json.loads(stamp.read_text(encoding="utf-8"))
        if old["key"] == key and all(_state(Path(name)) == state for name, state in old["inputs"].items()):
            return
    # A reading that is stopped leaves tables of two studies: without its stamp none of them is taken for whole.
    stamp.unlink(missing_ok=True)
    command = [sys.executable, "-m", "modalens", "manifest", "--dataset", dataset, "--tasks", *config["tasks"]]
    command += ["--shards", str(config["shards"]), "--output", str(folder), "--record", str(folder / "record.json")]
    command += ["--columns", *columns] if columns else []
    command += ["--clip-ids", config["clip_ids"]] if config.get("clip_ids") else []
    # Before what is there, not in its place: the module systems of clusters set it.
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
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
