"""What a call of Snakemake may write before its jobs run: nothing if it runs none, and nothing without the lock."""

import subprocess
import sys
from pathlib import Path

import pytest

from modalens.config import workflow
from modalens.config.workflow import StudyFiles, read_call
from modalens.utils.errors import UserError

HOLD = "import sys, fcntl; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); "
HOLD += "sys.stdin.read()"


@pytest.mark.parametrize(
    "words",
    [
        ["--cores", "2"],
        ["-c", "2", "--configfile", "x.yaml", "--forcerun", "clips"],
        ["--touch", "-c1"],
        ["-c2", "--", "results/x/report/index.html"],
        ["-c1", "--report", "x.html", "--report-after-run"],
    ],
)
def test_a_call_that_runs_jobs_is_known(words):
    assert read_call(words).runs


@pytest.mark.parametrize(
    "words",
    [
        ["-n"], ["-np"], ["--dry-run", "--cores", "2"], ["--dryrun"], ["--lint"], ["--summary"], ["-D"], ["--dag"],
        ["--rulegraph"], ["--list-rules"], ["--unlock"], ["--report", "x.html"], ["--delete-all-output", "-c1"],
        ["--list-params-changes"], ["--conda-create-envs-only", "-c1"],
    ],
)  # fmt: skip
def test_a_call_that_runs_no_job_is_known(words):
    assert not read_call(words).runs


def test_a_profile_that_says_dry_run_is_one(tmp_path):
    (tmp_path / "config.yaml").write_text("dry-run: true\ncores: 1\n")
    assert not read_call(["--profile", str(tmp_path)]).runs


def test_a_program_that_uses_snakemakes_api_runs_jobs():
    assert read_call(["--an-option-of-its-own"]).runs


def test_the_lock_is_asked_for_unless_snakemakes_is_not_wanted():
    assert read_call(["-c1"]).locks
    assert not read_call(["-c1", "--nolock"]).locks


@pytest.fixture
def held(monkeypatch):
    """Locks of a test end with it."""
    files = {}
    monkeypatch.setattr(workflow, "_held", files)
    yield files
    for file in files.values():
        file.close()


@pytest.mark.usefixtures("held")
def test_a_study_that_another_call_works_on_is_refused_and_free_as_soon_as_that_is_killed(tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, study / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match="another snakemake call is at work on "):
        workflow.lock(study, tmp_path / "none")
    other.kill()
    other.communicate()
    workflow.lock(study, tmp_path / "none")


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(("line", "refused"), [("results/a/clips/0.csv", True), ("results/ab/clips/0.csv", False)])
def test_snakemakes_own_lock_counts_for_the_study_whose_files_it_names(tmp_path, monkeypatch, line, refused):
    monkeypatch.chdir(tmp_path)
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text(f"{line}\n")
    if refused:
        with pytest.raises(UserError, match="snakemake --unlock"):
            workflow.lock(Path("results/a"))
    else:
        workflow.lock(Path("results/a"))


@pytest.mark.usefixtures("held")
def test_results_that_are_a_file_are_said_in_a_line(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match="study cannot be written: Not a directory"):
        workflow.lock(tmp_path / "results" / "study", tmp_path / "none")


def tree(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def config(clips=20, shards=2):
    return {"dataset": {"name": "known_answer", "clips": clips}, "tasks": ["seen"], "shards": shards}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A study of 20 clips as a call that runs jobs leaves it."""
    study = tmp_path_factory.mktemp("results") / "study"
    files = StudyFiles(study, write=True, draft=False)
    files.manifest(config())
    files.put("config.yaml", "name: a\n")
    return study


def test_a_plan_of_a_new_study_leaves_no_folder_and_knows_its_shards(tmp_path):
    files = StudyFiles(tmp_path / "study", write=False, draft=True)
    files.manifest(config())
    files.put("config.yaml", "name: a\n")
    assert not (tmp_path / "study").exists()
    assert workflow.shards(files.planned("manifest")) == ["0", "1"]
    assert Path(files.path("config.yaml")).read_text() == "name: a\n"
    assert files.digest("manifest/shards/0.csv")


def test_a_plan_of_what_is_there_uses_it(written):
    files = StudyFiles(written, write=False, draft=True)
    files.manifest(config())
    files.put("config.yaml", "name: a\n")
    for name in ("manifest/shards/0.csv", "config.yaml"):
        assert files.planned(name) == written / name
        assert files.path(name) == str(written / name)


def test_a_plan_of_a_clip_more_changes_the_digest_of_its_shard_alone_and_no_file(written):
    before = tree(written)
    old = StudyFiles(written, write=False, draft=True)
    old.manifest(config())
    new = StudyFiles(written, write=False, draft=True)
    new.manifest(config(clips=21))
    new.put("config.yaml", "name: b\n")
    names = [f"manifest/shards/{shard}.csv" for shard in "01"]
    assert sum(old.digest(name) != new.digest(name) for name in names) == 1
    assert old.digest("config.yaml") != new.digest("config.yaml")
    assert [new.path(name) for name in names] == [old.path(name) for name in names], "the inputs keep their names"
    assert tree(written) == before


def test_the_process_of_a_job_takes_what_is_there_whatever_the_config_says(written):
    before = tree(written)
    files = StudyFiles(written, write=False, draft=False)
    files.manifest(config(clips=90))
    files.put("config.yaml", "name: b\n")
    assert tree(written) == before
    assert workflow.shards(files.planned("manifest")) == ["0", "1"]


def test_a_job_finds_this_checkout_first_and_then_what_the_users_environment_has(monkeypatch):
    own = str(workflow.PACKAGE.parent)
    for given, found in (("/a:/b", f"{own}:/a:/b"), ("", own)):
        monkeypatch.setenv("PYTHONPATH", given)
        assert workflow.python_path() == found
