"""Every stage of a real study is killed, and finds its disk full: nothing is left half-written, nothing lost."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml
from _checkout import ROOT
from _moments import calls, kill_at

from modalens.utils import hdf5

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(600)]
# In the flow's order: the file that is about to get its name when the run is killed.
MOMENTS = {
    "clips, one is there": r"clips/media/.*\.json$",
    "clips, all are there": r"clips/0\.csv$",
    "frames": r"frames/0\.h5$",
    "frames, without their table": r"frames/0\.csv$",
    "features": r"features/video/0\.h5$",
    "features, without their record": r"features/video/0\.json$",
    "splits": r"splits/seen/test\.csv$",
    "train, second seed": r"train/seen/late_fusion/1/model\.pt$",
    "train, without its record": r"train/seen/late_fusion/record\.json$",
    "evaluate": r"evaluate/seen/late_fusion\.parquet$",
    "relevance": r"relevance/.*\.csv$",
    "leaderboard": r"leaderboard/.*\.csv$",
    "report": r"report/index\.html$",
    "track": r"track/synced\.json$",
}


@pytest.fixture(scope="module")
def studies(checkout, tmp_path_factory):
    """{name: the same study in a checkout of its own}; "undisturbed" has run, and knows its stages' command lines."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config |= {"name": "kills", "tasks": ["seen"], "seeds": [0, 1], "shards": 1}
    config |= {"models": {"late_fusion": {}}, "training": {"epochs": 3}, "relevance": {"bootstrap": 100}}
    config["dataset"] |= {"clips": 40}
    for entry in config["modalities"].values():
        entry["keep"] = True
    made = {name: checkout(config) for name in ("undisturbed", "killed")}
    one = made["undisturbed"]
    one.calls = calls(one._command(), one.root, one._environment(), tmp_path_factory.mktemp("hook"))
    return made


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_as_a_whole_leaves_no_half_file_and_the_next_goes_on(studies, moment, tmp_path):
    study = studies["killed"]
    # Several jobs run at a time: what comes later in this list may be there already.
    for made in study.results.rglob("*.*") if study.results.exists() else ():
        if re.search(MOMENTS[moment], made.relative_to(study.root).as_posix()):
            made.unlink()
    path = kill_at(study._command(), study.root, study._environment(), MOMENTS[moment], tmp_path / "hook")
    assert not (study.root / path).exists()
    for whole in study.results.rglob("*.h5"):
        hdf5.read(whole)
    for whole in study.results.rglob("*.parquet"):
        pd.read_parquet(whole)
    if moment == "splits":
        refused = study.snakemake(check=False)
        (line,) = [line for line in refused.stdout.splitlines() if line.startswith("modalens: ")]
        assert "--unlock" in line
        study.snakemake("--unlock")
    for lock in (study.root / ".snakemake").glob("locks/*"):  # as --unlock, which takes seconds
        lock.unlink()


def test_after_all_these_kills_the_numbers_are_those_of_an_undisturbed_run(studies):
    studies["killed"].snakemake()
    found = {name: numbers(study.results) for name, study in studies.items()}
    assert found["killed"].keys() == found["undisturbed"].keys()
    differ = [path for path, content in found["undisturbed"].items() if content != found["killed"][path]]
    assert differ == []
    assert len(found["killed"]) > 20
    assert not list(studies["killed"].results.rglob("*.part"))


def numbers(results):
    """{path: content} of every table, feature and prediction, without the seconds that things took."""
    found = {}
    for path in sorted(results.rglob("*.*")):
        name = str(path.relative_to(results))
        if name.startswith(("logs", "benchmarks", "track", "mlflow", ".")):
            continue
        if path.suffix == ".h5":
            found[name] = {clip: row.tobytes() for clip, row in zip(hdf5.ids(path), hdf5.read(path), strict=True)}
        elif path.suffix == ".csv":
            found[name] = (
                pd.read_csv(path, dtype=str).drop(columns=["seconds", "median_seconds"], errors="ignore").to_csv()
            )
        elif path.suffix == ".parquet":
            found[name] = path.read_bytes()
    return found


# What each stage's call makes; of several calls, the first.
OUTPUTS = {
    "manifest": ["manifest"],
    "clips": ["clips"],
    "decode": ["frames", "waveforms"],
    "features": ["features/audio", "features/video"],
    "replacements": ["replacements"],
    "fingerprints": ["fingerprints"],
    "splits": ["splits"],
    "duplicates": ["duplicates"],
    "train": ["train"],
    "evaluate": ["evaluate"],
    "relevance": ["relevance"],
    "leaderboard": ["leaderboard"],
    "report": ["report"],
    "track": ["track", "../mlflow.db", "../mlartifacts"],
}
# Bytes of room that are left: none, enough to begin, enough for the first file or some. Then enough for all.
ROOMS = [0, 16 << 10, 256 << 10, None]
# As root of its own: anybody may mount in a namespace of one's own.
ON_A_SMALL_DISK = """
import json, os, shutil, subprocess, sys
from pathlib import Path

study, disk, outputs, rooms, call = Path(sys.argv[1]), Path(sys.argv[2]), *map(json.loads, sys.argv[3:6])

def files():
    return sorted(str(path.relative_to(study.parent)) for path in study.parent.rglob("*") if path.is_file())

subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "none", disk], check=True)
shutil.copytree(study.parent, disk / "results")
subprocess.run(["mount", "--bind", disk / "results", study.parent], check=True)
for name in outputs:
    path = study / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
told = []
for room in rooms:
    before = files()
    if room is not None:
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        os.truncate(filler, filler.stat().st_size - room)
    done = subprocess.run(call, capture_output=True, text=True)
    if room is not None:
        filler.unlink()
    told.append([room, done.returncode, done.stderr, sorted(set(files()) - set(before))])
    if not done.returncode:
        break
shutil.copytree(study.parent, sys.argv[6])
print(json.dumps(told))
"""


def may_mount():
    trial = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return bool(shutil.which("unshare")) and not subprocess.run(trial, capture_output=True).returncode


@pytest.mark.skipif(not may_mount(), reason="no small disk can be mounted here")
@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_stage_whose_disk_fills_says_so_in_one_line_and_the_next_run_is_whole(studies, stage, tmp_path):
    study = studies["undisturbed"]
    call = next(call for call in study.calls if call[3] == stage)
    (tmp_path / "disk").mkdir()
    given = [study.results, tmp_path / "disk", *map(json.dumps, (OUTPUTS[stage], ROOMS, call)), tmp_path / "after"]
    command = ["unshare", "-rm", sys.executable, "-c", ON_A_SMALL_DISK, *map(str, given)]
    environment = study._environment() | {"PYTHONPATH": str(study.root / "src")}
    done = subprocess.run(command, cwd=study.root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *full, last = json.loads(done.stdout)
    assert full, "it has to fail without any room"
    for _, code, said, added in full:
        assert code == 1, said
        lines = [line for line in said.splitlines() if line.startswith("modalens: ")]
        assert len(lines) == 1, said
        assert "no space left on device" in lines[0] or "disk" in lines[0], said
        assert "Traceback" not in said
        tables = {os.path.splitext(name)[0] for name in added if name.endswith(".csv")}
        assert all(os.path.splitext(name)[0] in tables for name in added if name.endswith(".h5") and stage == "decode")
    assert last[1] == 0, last[2]
    assert not list((tmp_path / "after").rglob("*.part"))
    expected, found = numbers(study.results), numbers(tmp_path / "after" / "kills")
    assert not [name for name, content in found.items() if content != expected[name]]


def test_a_clock_that_was_set_back_ends_no_run_and_reruns_nothing(studies):
    study = studies["undisturbed"]
    tomorrow = time.time() + 24 * 3600
    for path in study.results.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    other = study._with({"relevance": {"bootstrap": 150}})
    done = other.snakemake()
    assert "results bore times to come" in done.stdout
    assert "failed" not in done.stdout
    assert other.plan() == {}
    assert not re.search("^(train|evaluate|features|frames): ", done.stdout, flags=re.M)


@pytest.mark.skipif(not may_mount(), reason="no disk can be mounted here")
def test_results_that_are_read_only_are_one_line_and_stay(studies):
    study = studies["undisturbed"]
    command = study._with({"training": {"epochs": 4}})._command()
    before = numbers(study.results)
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    line = ["unshare", "-rm", "sh", "-c", script, str(study.results.parent), *command]
    done = subprocess.run(line, cwd=study.root, env=study._environment(), capture_output=True, text=True)
    assert done.returncode == 1
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("modalens: ")]
    assert len(said) == 1
    assert "cannot be written: Read-only file system" in said[0]
    assert numbers(study.results) == before
