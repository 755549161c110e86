"""What a call of Snakemake may do to a study before its jobs run, and names that a shell would stumble over."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from _checkout import ROOT

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1800)]


def tree(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def study(checkout):
    """Two shards of clips with status tables, of one task; the name of its results is a hard one."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config |= {"name": "safe", "results": "my $(touch X) results", "tasks": ["seen"], "seeds": [0]}
    config |= {"models": {"late_fusion": {}}}
    config["dataset"] |= {"clips": 24}
    return checkout(config)


def results(study):
    return study.root / study.config["results"] / "safe"


def shard_files(study, pattern):
    return [str(results(study).relative_to(study.root) / pattern.format(shard)) for shard in range(2)]


def test_a_dry_run_of_a_new_study_shows_the_whole_plan_and_leaves_no_folder(study):
    plan = study.plan()
    once = {"splits": 1, "duplicates": 1, "leaderboard": 1, "report": 1, "track": 1, "train": 1, "evaluate": 1}
    shards = {"clips": 2, "frames": 2, "waveforms": 2, "features": 4, "fingerprints": 2}
    assert plan == {**once, **shards, "feature_list": 2, "replacements": 2, "relevance": 7, "relevance_of_models": 2}
    assert not results(study).parent.exists()
    study.snakemake("--lint")
    assert not results(study).parent.exists()


def test_a_study_runs_under_a_name_with_a_space_and_a_command_which_no_shell_runs(study):
    """Without the environment activated: PATH has another Python, or none."""
    environment = {"HOME": os.environ.get("HOME", "/"), "PATH": "/usr/bin:/bin", "PYTHONPATH": "/of/a/module"}
    command = [Path(sys.executable).parent / "snakemake", *study._command()[3:]]
    targets = [*shard_files(study, "features/audio/{}.h5"), *shard_files(study, "fingerprints/{}.csv")]
    done = subprocess.run(
        [*command[:1], *targets, *command[1:]], cwd=study.root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert all((study.root / target).exists() for target in targets)
    assert {path.name for path in study.root.iterdir()} & {"X", "my", "results"} == set()


def test_a_dry_run_plans_another_config_of_the_same_name_and_changes_nothing(study):
    before = tree(results(study))
    assert study.plan()["features"] == 2, "those of video are left to make"
    plan = study.plan(dataset={**study.config["dataset"], "clips": 25}, report={"title": "Another"})
    assert (plan["clips"], plan["waveforms"]) == (1, 1), "of one shard"
    assert tree(results(study)) == before
    assert "clips" not in study.plan()


@pytest.mark.parametrize("held_by", ["another call", "a call that was killed"])
def test_a_call_that_the_lock_refuses_changes_nothing(study, held_by):
    before = tree(results(study))
    other = study._with({"dataset": {**study.config["dataset"], "clips": 30}, "report": {"title": "Another"}})
    left = study.root / ".snakemake" / "locks" / "0.output.lock"
    with (results(study) / ".lock").open("a") as lock:
        if held_by == "another call":
            fcntl.flock(lock, fcntl.LOCK_EX)
        else:
            left.write_text(f"{results(study).relative_to(study.root)}/clips/0.csv\n")
        done = other.snakemake(check=False)
    left.unlink(missing_ok=True)
    assert done.returncode
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("modalens: ")]
    assert "nothing was changed" in line
    assert "Traceback" not in done.stdout
    assert tree(results(study)) == before


OF_NUMBERS = """
from modalens.measures import Measure
class OfNumbers(Measure):
    targets_measured = ("regression",)
    def __call__(self, predictions):
        raise NotImplementedError
"""


def test_tasks_whose_names_joined_are_another_s_or_a_rule_s_have_measures_of_their_own(checkout, tmp_path):
    """Some measures are of a and b, and one is of a_b; some are of at_input, and one is at the input."""
    names = ["a", "b", "a_b", "at_input"]
    table = {"clip_id": [f"c{at}" for at in range(40)], "text": [f"word {at}" for at in range(40)]}
    for name in names:
        table[name] = [at % 4 for at in range(40)]
    pd.DataFrame(table).to_csv(tmp_path / "list.csv", index=False)
    (tmp_path / "of_numbers.py").write_text(OF_NUMBERS)
    config = {
        "name": "names",
        "plugins": [str(tmp_path / "of_numbers.py")],
        "dataset": {"name": "folder", "csv": str(tmp_path / "list.csv")},
        "tasks": ["a", "b", "a_b"],
        "targets": {"a_b": "regression"},
        "modalities": {"text": {"kind": "text", "encoder": "term_counts", "keep": True}},
        "models": {"late_fusion": {}},
        "relevance": {"measures": {"leave_one_out": {}, "pid": {}, "of_numbers": {}, "mm_shap_input": {}}},
        "shards": 1,
    }
    study = checkout(config)
    measured = {name: jobs for name, jobs in study.plan().items() if name.startswith("relevance")}
    assert measured == {"relevance": 1, "relevance_1": 1, "relevance_2": 1, "relevance_at_input": 2}
    plan = study.plan(tasks=["a_b", "at_input"])
    measured = {name: jobs for name, jobs in plan.items() if name.startswith("relevance")}
    assert measured == {"relevance": 1, "relevance_1": 1, "relevance_2": 1, "relevance_at_input": 1}
