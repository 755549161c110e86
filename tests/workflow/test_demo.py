"""The demo study, made small, run by Snakemake; then what each change would rerun, read from the dry run."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from modalens.models import load_model
from modalens.utils import hdf5

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1800)]
MODELS = 5
MEASURES = ["leave_one_out", "coalition_values", "interaction", "shapley"]
TASKS = ["seen", "both"]
SHARDS = 3


@pytest.fixture(scope="module")
def study(checkout):
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config |= {"name": "tiny", "tasks": TASKS, "shards": SHARDS, "seeds": [0, 1]}
    config["dataset"] |= {"clips": 90}
    config["training"] = {"epochs": 2}
    config["relevance"] = {"bootstrap": 100}
    config["modalities"]["video"]["keep"] = True
    made = checkout(config)
    made.snakemake()
    return made


def test_every_stage_leaves_its_results_and_the_page_is_whole(study):
    page = (study.results / "report" / "index.html").read_text()
    assert all(task in page for task in TASKS)
    assert "http://" not in page.replace("http://www.w3.org", ""), "the page must ask for nothing from outside"
    assert not list(study.results.rglob("*.part"))
    synced = json.loads((study.results / "track" / "synced.json").read_text())
    assert synced


def test_predictions_hold_every_test_clip_once_per_seed_and_condition(study):
    test = pd.read_csv(study.results / "splits" / "both" / "test.csv")
    rows = pd.read_parquet(study.results / "evaluate" / "both" / "late_fusion.parquet")
    counts = rows.groupby(["seed", "condition", "replacement"]).clip_id.agg(["size", "nunique"])
    assert (counts == len(test)).all(axis=None)
    assert set(rows.clip_id) == set(test.clip_id)


def test_nothing_changed_means_nothing_to_do(study):
    assert study.plan() == {}


def test_a_changed_training_option_of_one_model_trains_that_model_and_what_follows(study):
    models = {"audio_only": {}, "video_only": {}, "late_fusion": {"training": {"epochs": 3}}}
    models["distillation"] = {"teachers": ["audio_only", "video_only"]}
    plan = study.plan(models=models)
    assert plan == {"train": 2, "evaluate": 2, "leaderboard": 2, "relevance": 4, "report": 1, "track": 1}


def test_a_changed_measure_and_one_more_are_computed_alone(study):
    """Of all tasks in one job each."""
    measures = study.config["relevance"] | {"measures": {name: {} for name in MEASURES}}
    changed = measures | {"measures": measures["measures"] | {"shapley": {"seed": 1}}}
    assert study.plan(relevance=changed) == {"relevance": 1, "report": 1, "track": 1}
    more = measures | {"measures": measures["measures"] | {"sample_relevance": {}}}
    assert study.plan(relevance=more) == {"relevance": 1, "report": 1, "track": 1}


def test_a_table_of_a_measure_or_the_answer_that_was_deleted_is_made_again(study):
    for name, again in (
        ("relevance/seen/shapley.csv", {"relevance": 1, "report": 1, "track": 1}),
        ("report/answer.txt", {"report": 1, "track": 1}),
    ):
        aside = (study.results / name).rename(study.root / "aside")
        plan = study.plan()
        aside.rename(study.results / name)
        assert plan == again
    assert study.plan() == {}


def test_a_changed_teacher_retrains_its_student(study):
    models = {"audio_only": {"training": {"epochs": 3}}, "video_only": {}, "late_fusion": {}}
    models["distillation"] = {"teachers": ["audio_only", "video_only"]}
    assert study.plan(models=models)["train"] == 2 * len(TASKS)


def test_new_clips_touch_only_their_shards(study):
    plan = study.plan(dataset={**study.config["dataset"], "clips": 91})
    assert (plan["clips"], plan["frames"], plan["waveforms"], plan["features"], plan["feature_list"]) == (1, 1, 1, 2, 2)
    assert plan["train"] == MODELS * len(TASKS)


def test_a_changed_label_column_needs_no_media_work(study):
    path = study.results / "manifest" / "labels" / "seen.csv"
    before, stamp = path.read_text(), path.stat().st_mtime_ns
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    rows.loc[0, "label"] = next(label for label in rows.label if label != rows.label[0])
    rows.to_csv(path, index=False)
    plan = study.plan()
    path.write_text(before)
    assert path.stat().st_mtime_ns != stamp
    expected = {"splits": 1, "duplicates": 1, "train": MODELS, "evaluate": 1, "leaderboard": 1, "relevance": 4}
    assert plan == {**expected, "report": 1, "track": 1}
    assert study.plan() == {}, "put back as it was, it is as if nothing had happened"


def test_one_task_less_trains_nothing(study):
    assert study.plan(tasks=["seen"]) == {"duplicates": 1, "report": 1, "track": 1}


@pytest.mark.parametrize(
    ("source", "reruns"),
    [
        (
            "stages/evaluate.py",
            {"evaluate": len(TASKS), "leaderboard": 2, "relevance": 4, "report": 1, "track": 1},
        ),
        ("measures/shapley.py", {"relevance": 1, "report": 1, "track": 1}),
        ("stages/report.py", {"report": 1, "track": 1}),
    ],
)
def test_changed_source_of_one_stage_reruns_from_that_stage_on(study, source, reruns):
    path = study.root / "src" / "modalens" / source
    text = path.read_text()
    path.write_text(text + "\n# a comment is no change\n")
    assert study.plan() == {}
    path.write_text(text + "\nADDED = 1\n")
    plan = study.plan()
    path.write_text(text)
    assert plan == reruns


def content(path):
    """What a result file says, whatever its bytes."""
    if path.suffix == ".h5":
        return {name: row.tobytes() for name, row in zip(hdf5.ids(path), hdf5.read(path), strict=True)}
    return {name: values.numpy().tobytes() for name, values in load_model(path).model.state_dict().items()}


@pytest.mark.parametrize(
    ("module", "target", "sign"),
    [
        ("modalens decode", "frames/0.h5", "frames/.0.h5.*.part"),
        ("modalens features", "features/video/0.h5", "features/video/.0.h5.*.part"),
        ("modalens train", "train/both/late_fusion/1/model.pt", "train/both/late_fusion/0/model.pt"),
    ],
)
def test_a_stage_killed_in_the_middle_is_made_whole_by_the_next_run(study, module, target, sign):
    path = study.results / target
    before = content(path)
    path.unlink()
    (study.results / sign).unlink(missing_ok=True)
    target = str(path.relative_to(study.root))
    study.kill(module, "--force", target, after=study.results / sign)
    assert not path.exists(), "a killed stage must leave no file under its final name"
    study.snakemake(target)
    assert content(path) == before
    assert not list(study.results.rglob("*.part"))


def test_a_mistake_in_the_config_is_one_line(study):
    done = study._with({"trainig": {}}).snakemake("-n", check=False)
    assert done.returncode != 0
    assert "unknown key 'trainig'; did you mean 'training'?" in done.stdout
    assert "Traceback" not in done.stdout


def test_snakemakes_own_report_can_be_written(study):
    study.snakemake("--report", "snakemake.html")
    assert (study.root / "snakemake.html").stat().st_size > 10_000
