"""The whole demo, as `make demo` runs it, through a real SLURM: its transcript is what README and notes quote."""

import os
import time
from pathlib import Path

import pytest
import yaml
from _checkout import ROOT

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(5400)]


@pytest.fixture(scope="module")
def demo(checkout):
    return checkout(yaml.safe_load((ROOT / "config" / "config.yaml").read_text()))


def test_the_whole_demo_goes_through_slurm_to_its_report(demo, cluster):
    began = time.monotonic()
    demo.run()
    took = time.monotonic() - began
    jobs = cluster.jobs(since=demo.first)
    transcript = [f"{took / 60:.1f} min", *(str(job) for job in jobs), "", demo.said]
    if kept := os.environ.get("MODALENS_TRANSCRIPT"):
        Path(kept).write_text("\n".join(transcript))
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert (demo.results / "report" / "index.html").exists()
    assert (demo.results / "track" / "synced.json").exists()
    tasks, models = 5, 4
    count = {rule: sum(job.rule == rule for job in jobs) for rule in {job.rule for job in jobs}}
    assert (count["train"], count["evaluate"]) == (tasks * models, tasks)
    assert count["leaderboard_leaderboard"] == 1, "small jobs share one"
    checkpoints = list(demo.results.glob("train/*/*/*/model.pt"))
    assert len(checkpoints) == 5 * tasks * models, "a hundred models"


def test_the_finished_demo_has_nothing_to_do(demo):
    assert "Nothing to be done" in demo.snakemake("-n").stdout
