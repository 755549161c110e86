"""A copy of the project in which real studies run."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PARTS = ["Snakefile", "workflow", "profiles", "src", "config", "envs"]


@dataclass
class Checkout:
    """A copy of the project with a config of its own; everything runs inside it."""

    root: Path
    config: dict[str, Any]

    @property
    def results(self) -> Path:
        return self.root / "results" / self.config["name"]

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self._command(*arguments), cwd=self.root, env=self._environment(), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1400)  # fmt: skip
        if check:
            assert done.returncode == 0, done.stdout[-8000:]
        return done

    def plan(self, **changes: Any) -> dict[str, int]:
        """Jobs by rule that a dry run would do; changes: top-level keys of the config."""
        text = self._with(changes).snakemake("-n", "--quiet", "rules").stdout
        table = re.findall(r"^(\w+) +(\d+)$", text, flags=re.M)
        return {rule: int(count) for rule, count in table if rule not in ("total", "all")}

    def kill(self, module: str, *arguments: str, after: Path) -> None:
        """SIGKILL a stage as soon as a path that it writes while at work appears, then let Snakemake end."""
        process = subprocess.Popen(self._command(*arguments), cwd=self.root, env=self._environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        victim = None
        while process.poll() is None:
            found = subprocess.run(["pgrep", "-f", process_of(module, self.config["name"])], capture_output=True)
            pids = [int(pid) for pid in found.stdout.split()]
            if pids and list(after.parent.glob(after.name)):
                victim = min(pids)
                os.kill(victim, signal.SIGKILL)
                break
            time.sleep(0.02)
        assert victim, f"{module} ended before it could be killed"
        assert process.wait(timeout=300) != 0, "a killed stage must fail its job"

    def _with(self, changes: dict[str, Any]) -> "Checkout":
        return Checkout(self.root, {**self.config, **changes})

    def _command(self, *arguments: str) -> list[str]:
        path = self.root / "study.yaml"
        path.write_text(yaml.safe_dump(self.config))
        return [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", "--configfile", str(path)]

    def _environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {**clean, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def process_of(module: str, study: str) -> str:
    """Pattern for `pgrep -f`: a stage of a study itself, not the shell that started it."""
    return f"^[^ ]*python[^ ]* -m {module} .*{study}"


def copied(factory: pytest.TempPathFactory, config: dict[str, Any]) -> Path:
    """A new folder named after the study, with a copy of the project in it."""
    root = factory.mktemp(config["name"])
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, root / part)
    return root
