"""Counts of a study from its lists: they add up, agree with the stage `splits`, and fetch nothing."""

import io
from pathlib import Path

import pandas as pd
import pytest
import yaml

from modalens.commands import counts
from modalens.curation import splitting
from modalens.utils import cli

FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}


def clips(split: str = "") -> pd.DataFrame:
    rows = [
        {
            "clip_id": f"{number}",
            "group": f"video-{number // 2}",
            "split": split,
            "mood": "sad" if number % 3 else "gay",
        }
        for number in range(60)
    ]
    return pd.DataFrame(rows)


def test_counts_are_those_of_the_splits_stage_and_add_up():
    table = clips()
    found, origin = counts.counts(table, "mood", FRACTIONS, 0)
    assert origin == "split by group"
    split = splitting.assign(table[["clip_id", "group", "split"]].assign(label=table["mood"]), FRACTIONS, 0)
    by_label = found.set_index("label")
    for name in splitting.NAMES:
        assert by_label.loc["all", name] == (split == name).sum() == by_label.drop("all")[name].sum()
        assert by_label.loc["sad", name] == ((split == name) & (table["mood"] == "sad")).sum()
    assert by_label["all"].to_dict() == {"gay": 20, "sad": 40, "all": 60}


def test_clips_without_a_label_are_not_counted():
    table = clips()
    table.loc[table["mood"] == "gay", "mood"] = ""
    table.loc[0, "mood"] = "gay"
    found, _ = counts.counts(table, "mood", FRACTIONS, 0)
    assert found.set_index("label")["all"].to_dict() == {"gay": 1, "sad": 40, "all": 41}


def test_one_split_alone_is_counted_as_it_is():
    found, origin = counts.counts(clips("test"), "mood", FRACTIONS, 0)
    assert origin == "split official, test only"
    assert found.set_index("label").loc["all"].tolist() == ["mood", 0, 0, 60, 60]


def test_a_source_in_two_splits_is_said():
    table = clips("train")
    table.loc[[1, 3], "split"] = "test"
    table.loc[5, "split"] = "validation"
    _, origin = counts.counts(table, "mood", FRACTIONS, 0)
    assert origin == "split official; 3 sources are in more than one split"


@pytest.fixture
def study() -> dict:
    return {"name": "x", "dataset": {"name": "known_answer", "clips": 30}, "tasks": ["seen", "heard"]}


def test_the_command_prints_every_task_of_any_data_set(tmp_path, study, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(yaml.safe_dump(study))
    cli.call(counts, ["--configfile", "study.yaml"])
    assert "seen: 30 clips of 30 sources, split by group" in capsys.readouterr().out
    cli.call(counts, ["--configfile", "study.yaml", "--csv"])
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert table[table["label"] == "all"].set_index("task")["all"].to_dict() == {"seen": 30, "heard": 30}
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"], "counting must leave nothing behind"


def test_a_wrong_list_is_one_line_and_no_table(tmp_path, study, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    study["dataset"] = {"name": "vggsound", "csv": "not_there.csv"}
    study["tasks"] = ["sound"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    with pytest.raises(SystemExit, match=r"^modalens: not_there\.csv cannot be read") as ended:
        cli.run(counts, ["--configfile", "study.yaml"])
    assert "\n" not in str(ended.value)
    assert capsys.readouterr().out == ""
