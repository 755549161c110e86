"""What the Snakefile knows before it has a graph: how it was called, the manifest, and the files that no rule makes.

A call that runs no job (`snakemake -n`, `--lint`, `--summary` ...) writes nothing into a study: what it would write
goes to a draft in the system's temporary folder, and the plan is made from that. A call that runs jobs holds the lock
of the study first. The processes of its jobs take what it has written.
"""

import atexit
import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from modalens.config import modalities
from modalens.config.code_version import code_digest
from modalens.plugins.registry import PACKAGE
from modalens.utils.errors import UserError
from modalens.utils.files import digest, write_if_changed

# Options of Snakemake that tell of a study or tidy up, and run no job.
NO_JOBS = (
    "archive", "cleanup_metadata", "conda_cleanup_envs", "conda_create_envs_only", "containerize", "d3dag", "dag",
    "delete_all_output", "delete_temp_output", "detailed_summary", "dryrun", "filegraph", "generate_unit_tests", "lint",
    "list_changes", "list_conda_envs", "list_input_changes", "list_params_changes", "list_rules", "list_target_rules",
    "list_untracked", "print_compilation", "rulegraph", "summary", "unlock",
)  # fmt: skip

# Parts of a config that `rehearse` tries.
REHEARSED = ("modalities", "models", "search", "relevance", "download", "mlflow")

_held: dict[Path, IO[str]] = {}


@dataclass(frozen=True)
class Call:
    """runs: whether it runs jobs. locks: whether Snakemake is to lock what it works on."""

    runs: bool
    locks: bool


def read_call(words: Sequence[str]) -> Call:
    """Arguments of Snakemake, by its own parser: a profile may say `dry-run` too.

    What that cannot read is the call of a program that uses Snakemake's API, which is there to run jobs.
    """
    from snakemake import cli

    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            _, given = cli.parse_args(list(words))
    except (SystemExit, Exception):
        return Call(runs=True, locks=True)
    reports = (given.report or given.reporter) and not getattr(given, "report_after_run", False)
    return Call(not (reports or any(getattr(given, name, None) for name in NO_JOBS)), not given.nolock)


def lock(study: Path, snakemakes: Path = Path(".snakemake/locks")) -> None:
    """Hold a study's folder until this process ends, however it ends. Raises UserError if somebody else works on it.

    Snakemake locks only after it has read the Snakefile and planned. Its own lock is asked too: it stays when Snakemake
    is killed, and jobs of that call may still be at work.
    """
    if study.resolve() in _held:
        return
    try:
        study.mkdir(parents=True, exist_ok=True)
        file = (study / ".lock").open("a")
    except OSError as error:
        raise UserError(f"config: results: {study} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another snakemake call is at work on {study}; nothing was changed") from None
    except OSError:
        pass  # a file system without locks: Snakemake's own is left
    _held[study.resolve()] = file
    for path in sorted(snakemakes.glob("*.lock")):
        with path.open(encoding="utf-8") as locked:
            if any(line.startswith(f"{study}/") for line in locked):
                raise UserError(
                    f"{study} is locked by another snakemake call, or by one that was killed; if none is at work: "
                    "`snakemake --unlock` with the same config, then call again; nothing was changed"
                )


class StudyFiles:
    """Files of a study that are there before any rule runs: manifest/..., config.yaml, records.txt."""

    def __init__(self, study: Path, *, write: bool, draft: bool) -> None:
        """write: into the study; draft: into a temporary folder. A job's process does neither."""
        self._study, self._write = study, write
        self._draft = Path(tempfile.mkdtemp(prefix="modalens-plan-")) if draft else None
        if self._draft:
            atexit.register(shutil.rmtree, self._draft, ignore_errors=True)

    def manifest(self, config: dict[str, Any]) -> None:
        if self._write:
            ensure_manifest(config, self._study / "manifest")
        elif self._draft and not _is_current(config, self._study / "manifest"):
            ensure_manifest(config, self._draft / "manifest")

    def put(self, name: str, text: str) -> None:
        if self._write:
            write_if_changed(self._study / name, text)
        elif self._draft:
            there = self._study / name
            if not (there.is_file() and there.read_text(encoding="utf-8") == text):
                write_if_changed(self._draft / name, text)

    def planned(self, name: str) -> Path:
        """Where a file stands as this call has it: in the draft, else in the study."""
        folder, _, _ = name.partition("/")
        drafted = self._draft is not None and (self._draft / folder).exists()
        return (self._draft if drafted and self._draft else self._study) / name

    def path(self, name: str) -> str:
        """What rules call it: by its place in the study, so that a dry run and a run name the same inputs. Only a file
        that is not there yet is named in the draft, since a graph needs its inputs."""
        there = self._study / name
        return str(there if there.exists() else self.planned(name))

    def digest(self, name: str) -> str:
        """Of its planned content: as a rule's parameter it makes a dry run plan what a changed file would rerun."""
        return _content_digest(self.planned(name))


@cache
def _content_digest(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    return ""


def _manifest_key(config: dict[str, Any]) -> str:
    reads = _reads(config)
    code = code_digest("stages/manifest", f"datasets/{config['dataset']['name']}")
    dataset = json.dumps(config["dataset"], sort_keys=True)
    tasks = [config["tasks"], config.get("targets")]
    return digest(dataset, tasks, config["shards"], config.get("clip_ids"), reads, code)


def _reads(config: dict[str, Any]) -> list[str]:
    """What the manifest is told of what the study's modalities read."""
    if "modalities" not in config:
        return []
    columns, file_columns = modalities.columns(config), modalities.file_columns(config)
    told = ["--columns", *columns] if columns else []
    told += ["--file-columns", *file_columns] if file_columns else []
    return [*told, "--media", modalities.media(config)]


def _is_current(config: dict[str, Any], folder: Path) -> bool:
    stamp = folder / "stamp.json"
    if not stamp.exists():
        return False
    old = json.loads(stamp.read_text(encoding="utf-8"))
    same = all(_state(Path(name)) == state for name, state in old["inputs"].items())
    return same and old["key"] == _manifest_key(config)


def ensure_manifest(config: dict[str, Any], folder: Path) -> None:
    """Write the manifest and the shard lists if the data set, its files or its code changed since.

    This comes before the graph is built, not as a rule: a rule that writes all shard lists would rerun every shard
    when one clip is added, and a checkpoint would hide the graph from a dry run.
    """
    if _is_current(config, folder):
        return
    # A reading that is stopped leaves tables of two studies: without its stamp none of them is taken for whole.
    stamp = folder / "stamp.json"
    stamp.unlink(missing_ok=True)
    dataset = json.dumps(config["dataset"], sort_keys=True)
    command = [sys.executable, "-m", "modalens", "manifest", "--dataset", dataset, "--tasks", *config["tasks"]]
    command += ["--shards", str(config["shards"]), "--output", str(folder), "--record", str(folder / "record.json")]
    command += _reads(config)
    command += ["--targets", json.dumps(config["targets"])] if config.get("targets") else []
    command += ["--clip-ids", config["clip_ids"]] if config.get("clip_ids") else []
    environment = {**os.environ, "PYTHONPATH": python_path()}
    if subprocess.run(command, stdin=subprocess.DEVNULL, env=environment).returncode:
        raise SystemExit(1)  # the stage has said what is wrong
    inputs = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
    states = {name: _state(Path(name)) for name in inputs}
    write_if_changed(stamp, json.dumps({"key": _manifest_key(config), "inputs": states}, indent=1))


def rehearse(config: dict[str, Any], study: Path) -> None:
    """Try what the config makes of its plugins, in a process that may take seconds, unless that was done before.

    Raises SystemExit once that process has said what is wrong.
    """
    code = code_digest("search/rehearsal", *(f"{kind}/{name}" for kind, name in _plugins(config)))
    manifest = study / "manifest"
    labels = [_state(manifest / "labels" / f"{task}.csv") for task in config["tasks"]]
    key = digest(*(config[part] for part in REHEARSED), labels, code)
    stamp = study / "rehearsed.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == key:
        return
    command = [sys.executable, "-m", "modalens.search.rehearsal", str(manifest)]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    if subprocess.run(command, input=json.dumps(config), text=True, env=environment).returncode:
        raise SystemExit(1)
    write_if_changed(stamp, key)


def _plugins(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from sorted({("encoders", entry["encoder"]) for entry in config["modalities"].values()})
    yield from sorted({("models", model["model"]) for model in config["models"].values()})
    yield from sorted({("balancing", name) for model in config["models"].values() for name in model["balancing"]})
    yield from (("measures", name) for name in sorted(config["relevance"]["measures"]))


def python_path() -> str:
    """This checkout first, then what the user's environment has: clusters' modules set PYTHONPATH."""
    return os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]))


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


def live_tracking(study: dict[str, Any]) -> str:
    """Of a study that is tracked on a server: where its trainings may send their curves, JSON; else ""."""
    address = study["mlflow"]["tracking_uri"]
    if address.startswith("sqlite"):
        return ""
    return json.dumps({"tracking_uri": address, "experiment": study["mlflow"]["experiment"], "study": study["name"]})
