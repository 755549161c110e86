"""Records in MLflow's terms: no database is needed to see them."""

from pathlib import Path

import pytest

from modalens.tracking import mlflow_runs, records
from modalens.tracking.records import Run
from modalens.utils.errors import UserError


def trained(seed: int, **metrics: float) -> Run:
    history = [{"epoch": epoch, "train_loss": 1 / (epoch + 1)} for epoch in range(3)]
    return Run({"task": "seen", "model": "late_fusion", "seed": seed}, {"epochs": 3}, metrics, history)


def test_shards_of_a_stage_are_one_run_with_counts_added() -> None:
    shards = [
        mlflow_runs.entry("clips", Run({"shard": shard}, {"workers": 2, "host": shard}, metrics), Path("R"), 0)
        for shard, metrics in {
            "0": {"clips": 3.0, "seconds": 1.5, "clips_per_second": 2.0},
            "1": {"clips": 4.0, "seconds": 2.5, "failed": 1.0},
        }.items()
    ]
    one = mlflow_runs.summed(shards)
    assert one.name == "clips"
    assert one.params == {"workers": "2", "shards": "2"}
    assert one.metrics == {"clips": 7.0, "seconds": 4.0, "failed": 1.0}


def test_sharded_stages_stay_apart_by_the_rest_of_their_key(tmp_path: Path) -> None:
    for encoder in ("resnet50", "log_mel"):
        for shard in range(3):
            key = {"encoder": encoder, "shard": shard}
            records.write(tmp_path / f"{encoder}{shard}.json", "features", [Run(key, metrics={"clips": 1})])
    found = mlflow_runs.entries(tmp_path, sorted(tmp_path.iterdir()))
    assert {one.name: one.metrics["clips"] for one in found.values()} == {
        "log_mel · features": 3,
        "resnet50 · features": 3,
    }


def test_test_results_carry_the_settings_of_their_training(tmp_path: Path) -> None:
    records.write(tmp_path / "train.json", "train", [trained(0)])
    records.write(tmp_path / "evaluate.json", "evaluate", [Run(trained(0).key, {"replacements": 2})])
    found = mlflow_runs.entries(tmp_path, [tmp_path / "evaluate.json", tmp_path / "train.json"])
    by_stage = {one.stage: one.params for one in found.values()}
    assert by_stage["evaluate"]["epochs"] == "3"
    assert "replacements" not in by_stage["train"]


def test_not_a_number_is_left_out(tmp_path: Path) -> None:
    run = trained(0, accuracy=float("nan"), loss=float("inf"), clips=3)
    run.history = [{"epoch": 0, "train_loss": float("nan")}, {"epoch": 1, "train_loss": 0.5}]
    records.write(tmp_path / "train.json", "train", [run])
    (one,) = mlflow_runs.entries(tmp_path, [tmp_path / "train.json"]).values()
    assert one.metrics == {"clips": 3}
    assert one.history == [(1, "epoch/train_loss", 0.5)]


def test_names_become_ones_that_mlflow_takes_and_stay_distinct() -> None:
    from mlflow.utils.validation import _validate_metric_name

    awkward = [
        "a=b",
        "a-b",
        "accuracy/audio=blank,video=blank",
        "../up",
        "/root",
        "a//b",
        "a/./b",
        "..",
        "",
        "x" * 400,
    ]
    clean = mlflow_runs.cleaned(dict.fromkeys(awkward, 1))
    assert len(clean) == len(awkward)
    assert "accuracy/audio-blank-video-blank" in clean
    for name in clean:
        _validate_metric_name(name)
        assert len(name) <= 250


def test_two_records_of_one_run_are_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        records.write(tmp_path / f"{name}.json", "train", [trained(0)])
    with pytest.raises(UserError, match=r"b\.json records .*late_fusion"):
        mlflow_runs.entries(tmp_path, [tmp_path / "a.json", tmp_path / "b.json"])
