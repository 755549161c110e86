"""A whole study through a real SLURM without accounting, and jobs that SLURM ends before they are done.

`make test-slurm` runs it, as root, and the whole demo before it: three quarters of an hour. No other test target does.
"""

import os
import signal
import subprocess
import time

import pytest
import yaml
from _checkout import ROOT

from modalens.models import load_model

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]
MODELS = ["audio_only", "video_only", "late_fusion"]
SHARDS = 2
SEEDS = [0, 1]
OUTAGE_S = {"short": 3, "long": 45}


@pytest.fixture(scope="module")
def study(checkout):
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config |= {"name": "queued", "tasks": ["seen"], "shards": SHARDS, "seeds": SEEDS}
    config["dataset"] |= {"clips": 60}
    config["models"] = {name: {} for name in MODELS}
    config["training"] = {"epochs": 2}
    config["relevance"] = {"bootstrap": 100}
    config["media"] = {"threads": 1}
    config["modalities"]["video"] |= {"decode": {"resize": 48, "crop": 48}, "keep": True}
    made = checkout(config)
    made.run()
    return made


@pytest.fixture
def before(study):
    """The last job of earlier tests."""
    return study.cluster.last()


def weights(study, model):
    paths = [study.results / "train" / "seen" / model / str(seed) / "model.pt" for seed in SEEDS]
    states = [load_model(path).model.state_dict() for path in paths]
    return [{name: values.numpy().tobytes() for name, values in state.items()} for state in states]


def trained(study, model):
    return str((study.results / "train" / "seen" / model / "record.json").relative_to(study.root))


def test_a_study_goes_through_slurm_to_its_report(study, cluster):
    jobs = cluster.jobs(since=study.first)
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert (study.results / "report" / "index.html").exists()
    assert (study.results / "track" / "synced.json").exists()
    assert not list(study.results.rglob("*.part"))
    count = {rule: sum(job.rule == rule for job in jobs) for rule in {job.rule for job in jobs}}
    assert count["train"] == len(MODELS)
    for group in ("fingerprints", "replacements", "relevance"):
        assert count[f"{group}_{group}"] == 1, "small jobs share one"
    assert count["report"] == 1
    # 27 and 33 clips of at most 4 s, beside what every job costs; one decoder.
    assert {(job.minutes, job.memory) for job in jobs if job.rule == "frames"} == {(21, 2500), (22, 2500)}


def test_a_job_over_its_memory_is_run_again_with_more(study, cluster, before):
    expected = weights(study, "audio_only")
    study.run("--force", trained(study, "audio_only"), "--set-resources", "train:mem_mb=250 * attempt**3")
    jobs = cluster.jobs("train", since=before)
    assert [(job.state, job.memory) for job in jobs] == [("FAILED", 250), ("COMPLETED", 2000)]
    log = study.root / ".snakemake" / "slurm_logs" / "rule_train" / "seen_audio_only" / f"{jobs[0].number}.log"
    assert "exceeded memory limit" in log.read_text()
    assert weights(study, "audio_only") == expected


def test_a_job_over_its_time_is_run_again_with_more(study, cluster, before):
    target = study.results / "features" / "video" / "0.h5"
    process = study.start("--force", str(target.relative_to(study.root)), "--set-resources", "features:runtime=attempt")
    # It hangs: so it is in the middle of its work when the minute is over, on any machine.
    os.kill(study.working("modalens features"), signal.SIGSTOP)
    assert process.wait(timeout=600) == 0, study.said
    jobs = cluster.jobs("features", since=before)
    assert [(job.state, job.minutes) for job in jobs] == [("TIMEOUT", 1), ("COMPLETED", 2)]
    assert target.exists()
    assert not list(target.parent.glob(".*"))


def test_a_cancelled_job_is_run_again_and_asks_for_more(study, cluster, before):
    expected = weights(study, "late_fusion")
    process = study.start("--force", trained(study, "late_fusion"))
    study.working("modalens train")
    subprocess.run(["scancel", str(cluster.last())], check=True)
    assert process.wait(timeout=600) == 0, study.said
    first, second = cluster.jobs("train", since=before)
    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")
    assert second.memory > first.memory
    assert second.minutes > first.minutes
    assert weights(study, "late_fusion") == expected


@pytest.mark.parametrize("outage", OUTAGE_S)
def test_a_killed_controller_costs_at_most_a_second_call(study, cluster, outage):
    """Without accounting the plugin (2.8) forgets its jobs when no controller answers for ten seconds, and then waits
    for ever: someone has to press Ctrl-C and call again. A restart that is quicker goes unnoticed."""
    expected = weights(study, "late_fusion")
    process = study.start("--force", trained(study, "late_fusion"))
    study.working("modalens train")
    cluster.kill_controller()
    time.sleep(OUTAGE_S[outage])
    cluster.start()
    try:
        assert process.wait(timeout=120) == 0, study.said
    except subprocess.TimeoutExpired:
        assert outage == "long", study.said
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) != 0
        study.run(trained(study, "late_fusion"))
    assert weights(study, "late_fusion") == expected
    assert not list(study.results.rglob("*.part"))


def test_a_gpu_is_asked_for_where_the_config_asks(study, cluster, before):
    target = study.results / "features" / "audio" / "0.h5"
    study.run("--force", str(target.relative_to(study.root)), "--set-resources", "features:gpu=1")
    number = cluster.jobs("features", since=before)[-1].number
    said = subprocess.run(["scontrol", "show", "job", str(number)], check=True, capture_output=True, text=True).stdout
    assert "gres:gpu:1" in said
