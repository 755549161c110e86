"""Against a real SQLite database. Making one takes seconds: it is made once a session, and each test gets a copy."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _study
import pytest

from modalens.stages import track
from modalens.tracking import live, mlflow_database, mlflow_entry, mlflow_pages, mlflow_store, records
from modalens.tracking.records import Run
from modalens.utils.errors import UserError

pytestmark = pytest.mark.slow

mlflow_store.quiet()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "new" / "mlflow.db"
    with mlflow_database.locked(path):
        pass
    return path


class Study:
    """A study's folder with records, its database, and what MLflow holds."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.uri = folder / "demo", f"sqlite:///{folder}/mlflow.db"
        self.arguments = Namespace(
            study=self.folder,
            records=self.folder / "records.txt",
            tracking_uri=self.uri,
            experiment="demo",
            output=self.folder / "track" / "synced.json",
            serve=False,
        )

    def record(self, name: str, stage: str, *runs: Run) -> None:
        records.write(self.folder / f"{name}.json", stage, list(runs))

    def sync(self) -> dict[str, int]:
        self.arguments.records.write_text("\n".join(map(str, sorted(self.folder.glob("*.json")))))
        track.main(self.arguments)
        result = json.loads(self.arguments.output.read_text())
        return {name: result[name] for name in ("new", "replaced", "equal", "removed")}

    @property
    def client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.uri)

    def runs(self) -> dict[str, Any]:
        experiment = self.client.get_experiment_by_name("demo")
        found = self.client.search_runs([experiment.experiment_id])
        named = {run.info.run_name: run for run in found}
        assert len(named) == len(found), "a run is doubled"
        return named


@pytest.fixture
def study(tmp_path: Path, empty_database: Path) -> Study:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Study(tmp_path)


def trained(seed: int, **metrics: float) -> Run:
    history = [{"epoch": epoch, "train_loss": 1 / (epoch + 1)} for epoch in range(3)]
    return Run({"task": "seen", "model": "late_fusion", "seed": seed}, {"epochs": 3}, metrics, history)


def counts(new: int = 0, replaced: int = 0, equal: int = 0, removed: int = 0) -> dict[str, int]:
    return {"new": new, "replaced": replaced, "equal": equal, "removed": removed}


def test_params_metrics_curves_and_files_arrive(study: Study) -> None:
    study.folder.mkdir()
    table = study.folder / "tables" / "attrition.csv"
    table.parent.mkdir()
    table.write_text("split,clips\n")
    run = trained(0, accuracy=0.75, seconds=2.0)
    run.params = {"training": {"epochs": 3, "rates": [1, 2]}, "long": "x" * 10_000}
    run.artifacts = [str(table), str(study.folder / "absent.csv")]
    study.record("train", "train", run)
    study.sync()

    found = study.runs()["late_fusion · seed 0 · seen"]
    expected = {"task": "seen", "model": "late_fusion", "seed": "0", "training.epochs": "3", "training.rates": "[1, 2]"}
    assert found.data.params == {**expected, "long": "x" * 6000}
    assert found.data.metrics["accuracy"] == 0.75
    assert found.data.tags["level"] == "seed"
    assert found.data.tags["seed"] == "0"
    assert found.info.end_time - found.info.start_time == 2000
    assert found.info.status == "FINISHED"
    curve = study.client.get_metric_history(found.info.run_id, "epoch/train_loss")
    assert [(point.step, point.value) for point in curve] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert [file.path for file in study.client.list_artifacts(found.info.run_id, "tables")] == ["tables/attrition.csv"]
    # Beside the database, not wherever the process happened to start.
    assert len(list((study.folder.parent / "mlartifacts").rglob("attrition.csv"))) == 1


def test_a_models_run_lasts_as_long_as_the_trainings_of_its_seeds(study: Study) -> None:
    study.record("train", "train", trained(0, seconds=2.0), trained(1, seconds=3.0))
    study.record("board", "leaderboard", Run({"task": "seen", "model": "late_fusion"}, {}, {"accuracy": 0.7}))
    study.sync()
    found = study.runs()["late_fusion · seen"]
    assert found.info.end_time - found.info.start_time == 5000
    assert found.data.metrics["seconds"] == 5


def test_long_curves_and_many_params_arrive_whole(study: Study) -> None:
    history = [{"epoch": epoch, "train_loss": float(epoch)} for epoch in range(1950)]
    params = {f"p{number}": number for number in range(230)}
    study.record("train", "train", Run({}, params, {"accuracy": 1.0}, history))
    study.sync()
    found = study.runs()["train"]
    assert len(found.data.params) == 230
    curve = study.client.get_metric_history(found.info.run_id, "epoch/train_loss")
    assert [point.value for point in curve] == [float(epoch) for epoch in range(1950)]


def test_a_rerun_doubles_nothing_a_change_replaces_and_a_removed_record_takes_its_run(study: Study) -> None:
    study.record("train", "train", trained(0, accuracy=0.5), trained(1, accuracy=0.6))
    study.record("report", "report", Run({}))
    assert study.sync() == counts(new=3)
    before = study.runs()
    assert study.sync() == counts(equal=3)
    study.record("train", "train", trained(0, accuracy=0.5), trained(1, accuracy=0.9))
    (study.folder / "report.json").unlink()
    assert study.sync() == counts(replaced=1, equal=1, removed=1)

    after = study.runs()
    kept, changed = (f"late_fusion · seed {seed} · seen" for seed in (0, 1))
    assert sorted(after) == [kept, changed]
    assert after[kept].info.run_id == before[kept].info.run_id
    assert after[changed].info.run_id != before[changed].info.run_id
    assert after[changed].data.metrics["accuracy"] == 0.9


def test_a_changed_file_replaces_its_run(study: Study) -> None:
    study.folder.mkdir()
    page = study.folder / "index.html"
    study.record("report", "report", Run({}, artifacts=[str(page)]))
    page.write_text("old")
    study.sync()
    page.write_text("new")
    assert study.sync() == counts(replaced=1)


def test_runs_of_the_users_own_and_of_another_study_stay(study: Study) -> None:
    study.record("train", "train", trained(0))
    study.sync()
    experiment = study.client.get_experiment_by_name("demo").experiment_id
    study.client.create_run(experiment, run_name="mine", tags={"stage": "train"})
    study.client.create_run(experiment, run_name="other", tags={mlflow_store.STUDY: "other study"})
    (study.folder / "train.json").unlink()
    assert study.sync() == counts(removed=1)
    assert sorted(study.runs()) == ["mine", "other"]


def test_a_sync_cut_short_heals(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    study.record("train", "train", trained(0, accuracy=0.5))
    study.sync()
    study.record("train", "train", trained(0, accuracy=0.6), trained(1, accuracy=0.7))
    log_batch: Callable[..., None] = MlflowClient.log_batch

    def cut(*arguments: Any, **options: Any) -> None:
        log_batch(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", cut)
        with pytest.raises(KeyboardInterrupt):
            study.sync()
    old_and_half = study.client.search_runs([study.client.get_experiment_by_name("demo").experiment_id])
    assert 0.5 in [run.data.metrics.get("accuracy") for run in old_and_half], (
        "the old run went before the new was whole"
    )
    assert len(old_and_half) == 2
    assert study.sync() == counts(new=1, replaced=1)
    assert [run.data.metrics["accuracy"] for _, run in sorted(study.runs().items())] == [0.6, 0.7]


def test_a_kill_between_new_and_old_leaves_one(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    study.record("train", "train", trained(0, accuracy=0.5))
    study.sync()
    study.record("train", "train", trained(0, accuracy=0.6))

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "delete_run", cut)
        with pytest.raises(KeyboardInterrupt):
            study.sync()
    assert study.sync() == counts(equal=1)
    assert [run.data.metrics["accuracy"] for run in study.runs().values()] == [0.6]


def test_a_killed_process_heals(study: Study) -> None:
    study.record("train", "train", *(trained(seed) for seed in range(60)))
    study.arguments.records.write_text(str(study.folder / "train.json"))
    command = [sys.executable, "-m", "modalens", "track", f"--study={study.folder}", f"--tracking-uri={study.uri}"]
    command += [f"--records={study.arguments.records}", "--experiment=demo", f"--output={study.arguments.output}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(mlflow_store.__file__).parents[2])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        experiment = study.client.get_experiment_by_name("demo")
        if experiment and len(study.client.search_runs([experiment.experiment_id])) >= 3:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    whole = sum(run.info.status == "FINISHED" for run in study.runs().values())
    assert 0 < whole < 60
    result = study.sync()
    assert result["equal"] == whole
    assert len(study.runs()) == 60
    assert study.sync() == counts(equal=60)


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns"])
def test_a_folder_of_runs_is_refused_with_what_to_use_instead(study: Study, uri: str) -> None:
    study.record("train", "train", trained(0))
    study.arguments.tracking_uri = uri
    with pytest.raises(UserError, match=r"sqlite:///results/mlflow\.db"):
        study.sync()


def test_a_server_that_is_away_is_one_line_without_its_password(study: Study) -> None:
    study.record("train", "train", trained(0))
    study.arguments.tracking_uri = "http://me:secret@127.0.0.1:9"
    start = time.monotonic()
    with pytest.raises(UserError, match="does not answer; the records are kept") as caught:
        study.sync()
    assert time.monotonic() - start < 30
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_artifacts_follow_a_moved_results_folder_and_nothing_is_lost(study: Study, tmp_path: Path) -> None:
    study.folder.mkdir()
    page = study.folder / "report" / "index.html"
    page.parent.mkdir()
    page.write_text("a page")
    study.record("report", "report", Run({}, artifacts=[str(page)]))
    study.sync()
    mine = study.client.create_run(study.client.get_experiment_by_name("demo").experiment_id, run_name="mine")
    study.client.log_text(mine.info.run_id, "my note", "note.txt")
    moved = tmp_path / "moved it here"
    moved.mkdir()
    for name in ("mlflow.db", "mlartifacts", "demo"):
        shutil.move(tmp_path / name, moved / name)
    there = Study(moved)
    there.sync()
    assert sorted(there.runs()) == ["mine", "study"]
    for name, file in {"study": "report/index.html", "mine": "note.txt"}.items():
        path = Path(there.client.download_artifacts(there.runs()[name].info.run_id, file))
        assert path.read_text() in ("a page", "my note")


def test_a_database_that_was_moved_without_its_files_says_where_they_are_wanted(study: Study, tmp_path: Path) -> None:
    study.folder.mkdir()
    (study.folder / "a.txt").write_text("a")
    study.record("report", "report", Run({}, artifacts=[str(study.folder / "a.txt")]))
    study.sync()
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(tmp_path / "mlflow.db", moved)
    study.arguments.tracking_uri = f"sqlite:///{moved}/mlflow.db"
    with pytest.raises(UserError, match=r"were not: expected them in .*moved/mlartifacts/demo, move them there from"):
        study.sync()


def test_children_stay_under_a_parent_that_was_replaced(study: Study) -> None:
    study.record("board", "leaderboard", Run({"task": "seen", "model": "late_fusion"}, {}, {"accuracy": 0.5}))
    study.record("train", "train", trained(0))
    study.sync()
    study.record("board", "leaderboard", Run({"task": "seen", "model": "late_fusion"}, {}, {"accuracy": 0.75}))
    assert study.sync() == counts(replaced=1, equal=1)
    runs = study.runs()
    assert runs["late_fusion · seed 0 · seen"].data.tags["mlflow.parentRunId"] == runs["late_fusion · seen"].info.run_id


def test_the_clips_are_logged_with_their_digest(study: Study) -> None:
    told = {"name": "demo, seen", "digest": "abc", "source": "splits/seen", "profile": {"clips_test": 4}}
    study.record("splits", "splits", Run({"task": "seen"}, dataset=told))
    study.sync()
    (used,) = study.runs()["seen"].inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("demo, seen", "abc")
    assert json.loads(used.dataset.profile) == {"clips_test": 4}


FRESH = """
import json, sys
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/" + sys.argv[2])
told = pd.read_parquet(sys.argv[3])
told = told[(told["seed"] == 0) & (told["condition"] == "full")].reset_index(drop=True)
by_id = model.predict(pd.DataFrame({"clip_id": told["clip_id"]}))
from modalens.utils import hdf5
from pathlib import Path
rows = {}
for name in ("audio", "video"):
    stored = {}
    for path in Path(sys.argv[4], name).glob("*.h5"):
        stored |= dict(zip(hdf5.ids(path), hdf5.read(path, hdf5.ids(path)).tolist()))
    rows[name] = [stored[clip_id] for clip_id in told["clip_id"]]
by_features = model.predict(pd.DataFrame(rows))
for found in (by_id, by_features):
    pd.testing.assert_frame_equal(found, told[found.columns.tolist()], check_exact=True, check_dtype=False)
assert model.metadata.signature is not None and len(model.input_example)
print("equal", len(told))
"""


def test_a_logged_network_predicts_in_a_fresh_process_what_evaluate_told_to_the_last_digit(
    study: Study, tmp_path: Path
) -> None:
    root = _study.make(tmp_path / "made")
    key = json.dumps({"task": "t", "model": "late_fusion"})
    _study.evaluated(root, _study.trained(root), (0,), "--key", key)
    predictions = root / "out" / "late_fusion.parquet"
    study.folder.mkdir()
    shutil.copy(root / "out" / "late_fusion.json", study.folder / "evaluate.json")
    study.sync()
    (run,) = study.runs().values()
    model = run.data.tags[mlflow_store.MODEL]
    environment = {**os.environ, "PYTHONPATH": str(Path(mlflow_store.__file__).parents[2])}
    line = [sys.executable, "-c", FRESH, study.uri, model, str(predictions), str(root / "features")]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("equal"), done.stderr[-2000:]
    (logged,) = (study.folder.parent / "mlartifacts").rglob("model.pt")
    (trained,) = (root / "train").rglob("model.pt")
    assert logged.samefile(trained), "there are two copies of the network"
    # With its run the network goes.
    (study.folder / "evaluate.json").unlink()
    study.sync()
    with pytest.raises(Exception, match="not found"):
        study.client.get_logged_model(model)


def test_curves_of_a_training_reach_a_server_while_it_goes_on_and_give_way_to_the_whole_run(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = mlflow_pages.free_port(5600)
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    command += [f"--backend-store-uri={study.uri}", f"--artifacts-destination={tmp_path}/files"]
    address = f"http://127.0.0.1:{port}"
    told = {"tracking_uri": "env:MY_SERVER", "experiment": "demo", "study": "demo"}
    monkeypatch.setenv("MY_SERVER", address)
    monkeypatch.setenv(live.ENVIRONMENT, json.dumps(told))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError), mlflow_pages.socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.2)
            curves = live.Live({"task": "seen", "model": "late_fusion"})
            for epoch in range(3):
                curves.epoch(0, {"epoch": epoch, "train_loss": 1 / (epoch + 1)})
            (run,) = study.runs().values()
            assert run.info.status == "RUNNING"
            points = study.client.get_metric_history(run.info.run_id, "epoch/train_loss")
            assert [(point.step, point.value) for point in points] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
            study.record("train", "train", trained(0))
            study.arguments.tracking_uri = "env:MY_SERVER"
            assert study.sync() == counts(replaced=1)
            assert list(study.runs()) == ["late_fusion · seed 0 · seen"]
        finally:
            server.kill()


def test_a_server_that_is_away_costs_the_live_curves_and_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = {"tracking_uri": "http://me:secret@127.0.0.1:9", "experiment": "demo", "study": "demo"}
    monkeypatch.setenv(live.ENVIRONMENT, json.dumps(told))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    curves = live.Live({"task": "seen", "model": "late_fusion"})
    curves.epoch(0, {"epoch": 0, "train_loss": 1.0})
    curves.epoch(0, {"epoch": 1, "train_loss": 1.0})
    (line,) = [record.getMessage() for record in caplog.records if "live curves" in record.getMessage()]
    assert "secret" not in line


def test_an_experiment_in_the_trash_is_said(study: Study) -> None:
    study.record("train", "train", trained(0))
    study.sync()
    study.client.delete_experiment(study.client.get_experiment_by_name("demo").experiment_id)
    with pytest.raises(UserError, match="mlflow experiments restore"):
        study.sync()


def test_serving_begins_at_the_table_of_the_models_on_a_free_port(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study.record("train", "train", trained(0))
    study.sync()
    commands: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: commands.append(command))
    with mlflow_pages.socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        mlflow_pages.serve(study.uri, port, "demo")
    assert "--host=127.0.0.1" in commands[0]
    assert f"--port={port}" not in commands[0]
    said = capsys.readouterr().out
    assert "/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=modalens" in said
    assert f":{port}/" not in said


def test_serving_before_the_first_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the study first"):
        mlflow_pages.serve(f"sqlite:///{tmp_path}/mlflow.db", 5000, None)


def _whole_database(path):
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE x (a)")
        file.executemany("INSERT INTO x VALUES (?)", [("y" * 500,)] * 200)
        file.execute("CREATE INDEX y ON x (a)")
        file.commit()


@pytest.mark.parametrize("kind", ["no database", "cut", "garbage in the middle", "zeros in the middle"])
def test_a_damaged_database_is_one_line(tmp_path, kind):
    path = tmp_path / "mlflow.db"
    _whole_database(path)
    content = path.read_bytes()
    changed = {
        "no database": b"hello, no database" * 100,
        "cut": content[: len(content) // 2],
        "garbage in the middle": content[:4096] + b"\xa7" * 20_000 + content[24_096:],
        "zeros in the middle": content[:8192] + bytes(20_000) + content[28_192:],
    }
    path.write_bytes(changed[kind])
    with pytest.raises(UserError, match=r"mlflow\.db is damaged \(.*\); move it away and run again") as caught:
        mlflow_database.check_database(path)
    assert "\n" not in str(caught.value)


def test_a_locked_database_is_one_line_and_a_free_one_none(tmp_path):
    path = tmp_path / "mlflow.db"
    mlflow_database.check_database(path)
    _whole_database(path)
    mlflow_database.check_database(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"was locked by another program .* the records are kept"):
            mlflow_database.check_database(path, 0.1)


def test_a_folder_in_the_place_of_the_database_is_one_line(tmp_path):
    with pytest.raises(UserError, match="expected an SQLite database, got the folder"):
        mlflow_database.check_database(tmp_path)


def test_a_final_number_has_as_many_digits_as_a_reader_sees() -> None:
    run = Run({"task": "seen", "model": "a"}, {}, {"accuracy": 0.1 + 0.2, "low": 1 / 3, "steps": 123456.0})
    shown = mlflow_entry.entry("leaderboard", run, Path(), 0).metrics
    assert shown == {"accuracy": 0.3, "low": 0.33333333, "steps": 123456.0}
