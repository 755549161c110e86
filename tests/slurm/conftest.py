"""A SLURM of its own on this machine, and a checkout whose studies run through it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from _checkout import Checkout, copied, process_of

START = Path(__file__).with_name("start.sh")
PROFILE = "workflow/profiles/slurm"


def pytest_collection_modifyitems(config, items):
    """Daemons are started as root, and /etc/slurm is written: only where someone asked for that."""
    reason = ""
    if "slurm" not in config.option.markexpr:
        reason = "starts daemons as root: `make test-slurm`"
    elif not shutil.which("slurmctld"):
        reason = "no slurmctld: apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge"
    elif os.getuid():
        reason = "SLURM's daemons need root"
    for item in items:
        if reason and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason=reason))


@dataclass
class Job:
    """A line of squeue. memory in MB, minutes the limit of time."""

    number: int
    state: str
    rule: str
    memory: int
    minutes: int


@dataclass
class Cluster:
    folder: Path

    def start(self) -> None:
        subprocess.run([START, "start", self.folder], check=True)

    def stop(self) -> None:
        subprocess.run([START, "stop", self.folder], check=True)

    def kill_controller(self) -> None:
        os.kill(int((self.folder / "slurmctld.pid").read_text()), signal.SIGKILL)

    def jobs(self, rule: str = "", since: int = 0) -> list[Job]:
        """All that SLURM remembers, in the order of submission; of one rule, after the job of that number."""
        form = "%i|%T|%k|%m|%l"
        said = subprocess.run(["squeue", "--noheader", "--states=all", "--sort=i", f"--format={form}"],
                              check=True, capture_output=True, text=True).stdout  # fmt: skip
        jobs = [_job(line) for line in said.splitlines()]
        return [job for job in jobs if job.number > since and rule in ("", job.rule)]

    def last(self) -> int:
        return max((job.number for job in self.jobs()), default=0)


def _job(line: str) -> Job:
    number, state, comment, memory, limit = line.split("|")
    rule = comment.removeprefix("rule_").partition("_wildcards_")[0]
    minutes = sum(int(part) * of for part, of in zip(reversed(limit.split(":")[:-1]), (1, 60), strict=False))
    return Job(int(number), state, rule, int(memory.removesuffix("M")), minutes)


@dataclass
class SlurmCheckout(Checkout):
    """A checkout whose jobs go to SLURM; what Snakemake says goes to a file. first: SLURM's last job before it."""

    cluster: Cluster
    first: int

    @property
    def said(self) -> str:
        return (self.root / "said.txt").read_text()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.root / "said.txt").open("w") as log:
            return subprocess.Popen(self._command("--workflow-profile", PROFILE, *arguments), cwd=self.root,
                                    env=self._environment(), stdout=log, stderr=subprocess.STDOUT)  # fmt: skip

    def run(self, *arguments: str) -> None:
        process = self.start(*arguments)
        try:
            assert process.wait(timeout=5000) == 0, self.said[-8000:]
        finally:
            process.kill()  # of a test that was interrupted: it would ask the next test's SLURM for its jobs

    def working(self, module: str) -> int:
        """Process id of a stage of this checkout, as soon as it has begun to write its log."""
        pattern = process_of(module, self.config["name"])

        def found() -> int:
            pids = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True).stdout.split()
            return int(pids[0]) if pids else 0

        return wait(found, f"{module} to run", 120)


def wait(for_it: Callable[[], Any], what: str, seconds: float) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := for_it():
            return value
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def checkout(cluster, tmp_path_factory):
    def make(config: dict[str, Any]) -> SlurmCheckout:
        return SlurmCheckout(copied(tmp_path_factory, config), config, cluster, cluster.last())

    return make
