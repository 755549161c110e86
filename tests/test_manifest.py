"""Shards move as little as they can, and only files that changed are written."""

import argparse
import csv
import io
import json
from types import SimpleNamespace

import pandas as pd
import pytest

from modalens.commands.check import of_lists
from modalens.config import workflow
from modalens.config.resolve import resolve
from modalens.curation import manifest
from modalens.stages import manifest as stage
from modalens.tracking import records
from modalens.utils import cli, csv_chunks
from modalens.utils.errors import UserError


def arguments(folder, tasks=("seen", "heard"), shards=4, **options) -> argparse.Namespace:
    dataset = json.dumps({"name": "known_answer", "clips": 40} | options)
    command = ["--dataset", dataset, "--tasks", *tasks, "--shards", str(shards), "--output", str(folder)]
    return cli.parse(stage, [*command, "--record", str(folder / "record.json")])


def contents(folder) -> dict[str, tuple[str, int]]:
    """Every file's text and time of change."""
    return {
        path.relative_to(folder).as_posix(): (path.read_text(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def rows(**columns) -> pd.DataFrame:
    count = len(columns["clip_id"])
    blank = dict.fromkeys(manifest.COLUMNS, [""] * count) | {"group": columns["clip_id"]}
    return pd.DataFrame(blank | columns)


def test_shards_hold_every_clip_once_and_no_label(tmp_path):
    stage.main(arguments(tmp_path))
    shards = [read(path) for path in tmp_path.glob("shards/*.csv")]
    assert (
        sorted(clip for shard in shards for clip in shard["clip_id"])
        == read(tmp_path / "manifest.csv")["clip_id"].tolist()
    )
    assert {tuple(shard.columns) for shard in shards} == {("clip_id", "source", "start_s", "end_s")}
    labels = read(tmp_path / "labels" / "seen.csv")
    assert list(labels.columns) == ["clip_id", "shard", "group", "split", "label"]
    assert all(
        (shard == manifest.shard_of(clip, 4)) for clip, shard in zip(labels["clip_id"], labels["shard"], strict=True)
    )
    assert set(json.loads((tmp_path / "answers.json").read_text())) == {"seen", "heard"}
    assert json.loads((tmp_path / "inputs.json").read_text()) == []


def test_the_shard_of_an_id_never_changes():
    assert [manifest.shard_of(f"ka-{clip:05d}", 7) for clip in range(6)] == ["3", "3", "6", "6", "5", "0"]


@pytest.mark.parametrize("part", [1, 2, 50_000])
def test_cells_are_quoted_as_the_standard_library_does_and_come_back(part, monkeypatch):
    monkeypatch.setattr(csv_chunks, "PART", part)
    cells = ["plain", "a,b", 'say "x"', "two\nlines", "", " blank ", "ünï, cödé", "'", ",", '"', "#"]
    table = pd.DataFrame({"one": cells, "two": cells[::-1], "three": ["", *cells[1:]]})
    text = "".join(csv_chunks.lines(table))
    wanted = io.StringIO()
    csv.writer(wanted, lineterminator="\n").writerows([table.columns, *table.itertuples(index=False)])
    assert text == wanted.getvalue()
    assert read(io.StringIO(text)).equals(table)


def test_a_reading_that_was_stopped_is_made_whole_by_the_next(tmp_path, monkeypatch):
    stage.main(arguments(tmp_path / "whole", shards=8, clips=50))
    stage.main(arguments(tmp_path / "stopped", shards=8))

    def stopped(*given):
        for number, found in enumerate(tables(*given)):
            if number == 6:
                raise KeyboardInterrupt
            yield found

    tables = manifest.tables
    monkeypatch.setattr(manifest, "tables", stopped)
    with pytest.raises(KeyboardInterrupt):
        stage.main(arguments(tmp_path / "stopped", shards=8, clips=50))
    monkeypatch.undo()
    assert not list((tmp_path / "stopped").glob(".*")), "drafts are cleared away"
    stage.main(arguments(tmp_path / "stopped", shards=8, clips=50))
    made, wanted = (contents(tmp_path / name) for name in ("stopped", "whole"))
    assert {name: text for name, (text, _) in made.items()} == {
        name: text.replace("/whole/", "/stopped/") for name, (text, _) in wanted.items()
    }


def test_a_reading_that_was_stopped_is_never_taken_for_whole(tmp_path, monkeypatch):
    study = {"dataset": {"name": "known_answer", "clips": 9}, "tasks": ["seen"], "shards": 1}
    workflow.ensure_manifest(study, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(workflow.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
        with pytest.raises(SystemExit):
            workflow.ensure_manifest(study | {"shards": 2}, tmp_path)
    called = []

    def run(*_, **__):
        called.append(1)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(workflow.subprocess, "run", run)
    workflow.ensure_manifest(study, tmp_path)
    assert called, "the study as it was before the one that was stopped is read again"


def test_a_list_that_is_refused_leaves_no_folder(tmp_path):
    with pytest.raises(UserError, match="one class only"):
        stage.main(arguments(tmp_path / "out", clips=1))
    assert not (tmp_path / "out").exists()


def test_a_record_that_is_behind_its_tables_is_written_again(tmp_path):
    stage.main(arguments(tmp_path))
    path = tmp_path / "record.json"
    behind = path.read_text().replace("40.0", "39.0")
    path.write_text(behind)
    stage.main(arguments(tmp_path))
    assert path.read_text() != behind


def test_running_again_touches_nothing(tmp_path):
    stage.main(arguments(tmp_path))
    before = contents(tmp_path)
    stage.main(arguments(tmp_path))
    assert contents(tmp_path) == before


def test_a_new_clip_touches_one_shard(tmp_path):
    stage.main(arguments(tmp_path, shards=8))
    before = contents(tmp_path)
    stage.main(arguments(tmp_path, shards=8, clips=41))
    changed = {name for name, content in contents(tmp_path).items() if before.get(name) != content}
    shard = manifest.shard_of("ka-00040", 8)
    assert changed == {"manifest.csv", f"shards/{shard}.csv", "labels/seen.csv", "labels/heard.csv", "record.json"}


def test_tables_that_are_no_more_are_deleted(tmp_path):
    stage.main(arguments(tmp_path, shards=8))
    (tmp_path / "shards" / "notes.txt").write_text("a user's own file")
    stage.main(arguments(tmp_path, tasks=["heard"], shards=2))
    assert {path.name for path in tmp_path.glob("shards/*")} == {"0.csv", "1.csv", "notes.txt"}
    assert {path.name for path in tmp_path.glob("labels/*")} == {"seen.csv", "heard.csv"}, "see the next test"


def test_a_task_that_left_and_comes_back_with_the_same_labels_touches_no_table_of_labels(tmp_path):
    stage.main(arguments(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("labels/*")}
    stage.main(arguments(tmp_path, tasks=["heard"]))
    stage.main(arguments(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("labels/*")} == before
    assert len(before) == 2


def test_answers_of_another_data_set_do_not_stay(tmp_path):
    stage.main(arguments(tmp_path / "out"))
    (tmp_path / "clips.csv").write_text("file,label\na.mp4,cat\nb.mp4,dog\n")
    given = arguments(tmp_path / "out", tasks=["label"])
    given.dataset = {"name": "folder", "csv": str(tmp_path / "clips.csv")}
    stage.main(given)
    assert not (tmp_path / "out" / "answers.json").exists()
    assert json.loads((tmp_path / "out" / "inputs.json").read_text()) == [str(tmp_path / "clips.csv")]


def test_the_record_tells_what_was_made(tmp_path):
    stage.main(arguments(tmp_path))
    name, (run,) = records.read(tmp_path / "record.json")
    assert name == "manifest"
    assert run.metrics == {"clips": 40, "clips_seen": 40, "clips_heard": 40}


def test_a_clip_without_a_label_is_in_no_list_of_that_task():
    table = rows(clip_id=["c", "a", "b"], one=["x", "", "y"], two=["u", "v", ""])
    found = dict(manifest.tables(table, ["one", "two"], 1))
    assert found["labels/one.csv"]["clip_id"].tolist() == ["b", "c"]
    assert found["labels/two.csv"]["clip_id"].tolist() == ["a", "c"]
    assert found["shards/0.csv"]["clip_id"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("table", "tasks", "message"),
    [
        (rows(clip_id=[], one=[]), ["one"], "no clip"),
        (rows(clip_id=["a", "a"], one=["x", "y"]), ["one"], "1 clip id occurs again, first 'a'"),
        (rows(clip_id=["a", "b"], one=["", ""]), ["one"], "'one' has no label"),
        (rows(clip_id=["a", "b"], one=["x", ""]), ["one"], "one class only, 'x'"),
        (rows(clip_id=["a\n", "c"], one=["x", "y"]), ["one"], "control characters"),
        (rows(clip_id=["", "c"], one=["x", "y"]), ["one"], "is empty"),
        (rows(clip_id=["a", "c"]), ["group"], "a name of its own"),
        (rows(clip_id=["a", "c"]), ["../x"], "a name of its own"),
    ],
)
def test_what_no_later_stage_could_repair_stops_at_once(table, tasks, message):
    with pytest.raises(UserError, match=message):
        dict(manifest.tables(table, tasks, 2))


def test_hostile_ids_are_ids_like_others():
    ids = ["-abc", "../x", "a/b", "long" * 100, "ünïcode"]
    found = dict(manifest.tables(rows(clip_id=ids, one=["x", "y", "x", "y", "x"]), ["one"], 1))
    assert found["shards/0.csv"]["clip_id"].tolist() == sorted(ids)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({}, "has no name"),
        ({"name": "known_anser"}, "did you mean 'known_answer'"),
        ({"name": "known_answer", "clip": 3}, "did you mean 'clips'"),
        ({"name": "folder"}, "the option 'csv' is missing"),
    ],
)
def test_a_wrong_data_set_is_explained(dataset, message):
    with pytest.raises(UserError, match=message):
        manifest.build(dataset, ["seen"])


@pytest.mark.parametrize(
    "text",
    [
        "clip_id,note\nka-00002,a\nka-00001,b\nnone,c\n",
        "note,clip_id\na,ka-00002\nb,ka-00001\nc,none\n",
        "ka-00002\nka-00001\nnone\n",
        "\ufeffid\r\nka-00002\r\n\r\nka-00001\r\nka-00001\r\nnone\r\n",
    ],
)
def test_a_study_is_limited_to_the_ids_of_a_list_with_or_without_heading(tmp_path, caplog, text):
    caplog.set_level("INFO", "modalens")
    (tmp_path / "ids.csv").write_bytes(text.encode())
    given = arguments(tmp_path / "out", tasks=["seen"])
    given.clip_ids = tmp_path / "ids.csv"
    stage.main(given)
    assert read(tmp_path / "out" / "manifest.csv")["clip_id"].tolist() == ["ka-00001", "ka-00002"]
    assert "clip_ids: 2 of the data set's 40 clips" in caplog.text
    assert "it has not 1 of the 3 listed: none" in caplog.text
    assert json.loads((tmp_path / "out" / "inputs.json").read_text()) == [str(tmp_path / "ids.csv")]


@pytest.mark.parametrize(
    ("text", "message"), [("id\nx\n", "names no clip of the data set, first 'x'"), ("", "no clip")]
)
def test_a_list_that_leaves_nothing_is_one_line(tmp_path, text, message):
    (tmp_path / "ids.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        manifest.restrict_to(rows(clip_id=["a"]), tmp_path / "ids.csv")
    with pytest.raises(UserError, match=r"none\.csv cannot be read"):
        manifest.restrict_to(rows(clip_id=["a"]), tmp_path / "none.csv")


def test_official_splits_may_differ_between_tasks():
    table = rows(clip_id=["a", "b"], one=["x", "y"], two=["x", "y"], split=["train", "test"])
    table["split:two"] = ["test", "train"]
    found = dict(manifest.tables(table, ["one", "two"], 1))
    assert found["labels/one.csv"]["split"].tolist() == ["train", "test"]
    assert found["labels/two.csv"]["split"].tolist() == ["test", "train"]


def test_check_looks_at_the_clips_that_the_study_names_and_knows_no_class_of_others(tmp_path):
    rows = [f"c{at},g{at},{'cat' if at % 2 else 'dog'},some words" for at in range(40)]
    (tmp_path / "list.csv").write_text("\n".join(["clip_id,group,mood,text", *rows, "c40,g40,cow,some words"]))
    (tmp_path / "ids.csv").write_text("\n".join(["clip_id", *(f"c{at}" for at in range(40))]))
    config = {"name": "s", "dataset": {"name": "folder", "csv": str(tmp_path / "list.csv")}, "tasks": ["mood"]}
    config["modalities"] = {"text": {"kind": "text", "encoder": "term_counts"}}
    study = resolve(config | {"clip_ids": str(tmp_path / "ids.csv")})
    found = of_lists(study, ["mood"])
    assert found.classes == {"mood": ["cat", "dog"]}
    assert not found.mistakes
