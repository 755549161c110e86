"""Records in MLflow's terms: no database is needed to see them."""

from pathlib import Path

import pytest

from modalens.tracking import mlflow_entry, mlflow_runs, records
from modalens.tracking.records import Run
from modalens.utils.errors import UserError


def trained(seed: int, **metrics: float) -> Run:
    history = [{"epoch": epoch, "train_loss": 1 / (epoch + 1)} for epoch in range(3)]
    return Run({"task": "seen", "model": "late_fusion", "seed": seed}, {"epochs": 3}, metrics, history)


def test_shards_of_a_stage_are_one_run_with_counts_added() -> None:
    shards = [
        mlflow_entry.entry("clips", Run({"shard": shard}, {"workers": 2, "host": shard}, metrics), Path("R"), 0)
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
        "features · log_mel": 3,
        "features · resnet50": 3,
    }


def study(folder: Path, metric: str = "accuracy") -> dict[str, mlflow_entry.Entry]:
    """Records of one task with two models of two seeds -> runs by name."""
    task = {"task": "seen"}
    records.write(
        folder / "report.json",
        "report",
        [Run({}, {"replacement": "mean@fusion"}), Run(task, {"verdict": "v", "metric": metric})],
    )
    told = {"name": "demo, seen", "digest": "d", "source": "splits/seen", "profile": {"clips_test": 4}}
    records.write(folder / "splits.json", "splits", [Run(task, {"seed": 0}, {"clips_test": 4}, dataset=told)])
    for model in ("late_fusion", "audio_only"):
        keys = [{**task, "model": model, "seed": seed} for seed in (0, 1)]
        made = [Run(key, {"epochs": 3, "rate": index}, {"seconds": 2}) for index, key in enumerate(keys)]
        records.write(folder / f"train-{model}.json", "train", made)
        told_by = [Run(key, {"conditions": "mean@fusion blank@input"}, {"accuracy": 0.5, "seconds": 1}) for key in keys]
        records.write(folder / f"evaluate-{model}.json", "evaluate", told_by)
        records.write(
            folder / f"board-{model}.json", "leaderboard", [Run({**task, "model": model}, {}, {"accuracy": 0.6})]
        )
        drops = {"drop/audio/of accuracy/mean@fusion": 0.25, "drop/audio/low/of accuracy/mean@fusion": 0.125}
        drops |= {"drop/audio/of accuracy/blank@input": 0.5, "drop/audio/of balanced_accuracy/mean@fusion": 0.0625}
        key = {**task, "measure": "leave_one_out", "model": model}
        records.write(folder / f"measure-{model}.json", "relevance", [Run(key, {"seed": 9}, drops)])
    records.write(folder / "features.json", "features", [Run({"modality": "audio", "shard": "0"})])
    found = mlflow_runs.entries(folder, sorted(folder.iterdir()))
    return {one.name: one for one in found.values()}


def test_the_study_its_tasks_their_models_and_seeds_are_a_tree_with_parents_first(tmp_path: Path) -> None:
    runs = study(tmp_path)
    above = {one.identity: name for name, one in runs.items()}
    assert {name: above.get(one.parent, "") for name, one in runs.items()} == {
        "study": "",
        "seen": "study",
        **{f"{model} · seen": "seen" for model in ("audio_only", "late_fusion")},
        **{f"{model} · seed {n} · seen": f"{model} · seen" for model in ("audio_only", "late_fusion") for n in (0, 1)},
        "features · audio": "study",
    }
    order = list(runs)
    assert all(order.index(above[one.parent]) < order.index(name) for name, one in runs.items() if one.parent)


def test_a_models_run_has_what_its_seeds_share_and_a_seed_its_training_and_test(tmp_path: Path) -> None:
    runs = study(tmp_path)
    model, seed = runs["late_fusion · seen"], runs["late_fusion · seed 1 · seen"]
    assert model.params["epochs"] == "3"
    assert "rate" not in model.params
    assert "seed" not in model.params
    assert seed.params["rate"] == "1"
    assert seed.metrics == {"seconds": 3.0, "accuracy": 0.5}


def test_a_models_run_tells_its_drops_under_the_studys_replacement_by_plain_names(tmp_path: Path) -> None:
    run = study(tmp_path)["late_fusion · seen"]
    assert run.metrics == {"accuracy": 0.6, "drop/audio": 0.25, "drop/audio/low": 0.125, "seconds": 6.0}
    assert run.tags["metric"] == "accuracy"


def test_drops_are_in_the_metric_that_the_task_is_told_in_and_the_tag_names_it(tmp_path: Path) -> None:
    runs = study(tmp_path, "balanced_accuracy")
    assert runs["late_fusion · seen"].metrics == {"accuracy": 0.6, "drop/audio": 0.0625, "seconds": 6.0}
    told = {name for name, run in runs.items() if run.tags.get("metric") == "balanced_accuracy"}
    assert told == {"seen", "late_fusion · seen", "audio_only · seen"}


def test_the_clips_of_a_task_are_those_of_its_models_and_seeds(tmp_path: Path) -> None:
    runs = study(tmp_path)
    told = {name for name, one in runs.items() if one.dataset.get("digest") == "d"}
    assert told == set(runs) - {"study", "features · audio"}


def test_what_two_stages_say_differently_keeps_both(tmp_path: Path) -> None:
    records.write(tmp_path / "a.json", "train", [Run(trained(0).key, {"clips": 7}, {"loss": 1.0})])
    records.write(tmp_path / "b.json", "evaluate", [Run(trained(0).key, {"clips": 3}, {"loss": 2.0})])
    (one,) = mlflow_runs.entries(tmp_path, [tmp_path / "a.json", tmp_path / "b.json"]).values()
    assert (one.params["clips"], one.params["evaluate.clips"]) == ("7", "3")
    assert one.metrics == {"loss": 1.0, "evaluate.loss": 2.0}


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
    clean = mlflow_entry.cleaned(dict.fromkeys(awkward, 1))
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
