import pandas as pd
import pytest
from synthetic import predictions

from modalens.stages import relevance
from modalens.tracking import records
from modalens.utils import cli
from modalens.utils.errors import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "evaluate" / "seen").mkdir(parents=True)
    for name, accuracies in {
        "audio_only": {"": 0.3, "audio": 0.4},
        "late_fusion": {"": 0.3, "audio": 0.4, "video": 0.9, "audio,video": 0.9},
    }.items():
        predictions(accuracies, ["NA", "1"]).to_parquet(tmp_path / "evaluate" / "seen" / f"{name}.parquet")
    return tmp_path


def run(folder, *extra):
    files = sorted(folder.glob("evaluate/*/*.parquet"))
    command = ["--predictions", *files, *extra, "--output", folder / "out.csv", "--record", folder / "out.json"]
    cli.call(relevance, [str(part) for part in command])


@pytest.mark.parametrize("measure", ["leave_one_out", "shapley"])
def test_stage_writes_a_tidy_table_and_a_record_per_model(folder, measure):
    run(folder, "--measure", measure, "--options", '{"bootstrap": 50}')
    table = pd.read_csv(folder / "out.csv")
    assert set(table["task"]) == {"seen"}
    assert set(table["model"]) == {"audio_only", "late_fusion"}
    stage, runs = records.read(folder / "out.json")
    assert stage == "relevance"
    assert [run.key for run in runs] == [
        {"task": "seen", "measure": measure, "model": model} for model in ("audio_only", "late_fusion")
    ]
    assert all(run.params["bootstrap"] == 50 and run.params["confidence"] == 0.95 and run.metrics for run in runs)


def test_unknown_measure_unknown_option_and_two_tasks_are_the_users_mistakes(folder):
    with pytest.raises(UserError, match="did you mean 'shapley'"):
        run(folder, "--measure", "shaply")
    with pytest.raises(
        UserError,
        match=r"relevance.measures.shapley: unknown option 'value_funktions'; did you mean 'value_functions'\?",
    ):
        run(folder, "--measure", "shapley", "--options", '{"value_funktions": []}')
    (folder / "evaluate" / "heard").mkdir()
    (folder / "evaluate" / "seen" / "audio_only.parquet").rename(folder / "evaluate" / "heard" / "audio_only.parquet")
    with pytest.raises(UserError, match="expected predictions of one task"):
        run(folder, "--measure", "shapley")
    assert not (folder / "out.csv").exists()
