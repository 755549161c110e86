"""What is frozen says all of a study, is the same each time, and runs again as a data set that tells what was lost."""

import json
from argparse import Namespace

import pandas as pd
import pytest
import yaml

from modalens.commands import freeze
from modalens.config import resolve
from modalens.curation import frozen_diff, splitting
from modalens.datasets import Reads
from modalens.datasets.frozen import Frozen
from modalens.media.sources import DownloadOptions
from modalens.stages import manifest, splits
from modalens.tracking import records
from modalens.utils import cli
from modalens.utils.errors import UserError

WORD = {"frames_sketch": "f0" * 24, "waveforms_sketch": "0f" * 16}


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def write_results(root, clips: pd.DataFrame, failed: dict[str, str], files: dict[str, str] | None = None) -> None:
    """Statuses and fingerprints of one shard. failed: clip -> cause. files: clip -> digest, its own id by default."""
    status = pd.DataFrame({"clip_id": clips["clip_id"]})
    status["cause"] = status["clip_id"].map(failed).fillna("")
    status["status"] = (status["cause"] == "").map({True: "ok", False: "failed"})
    status["sha256"] = status["clip_id"].map(lambda name: (files or {}).get(name, name))
    for stage in ("clips", "frames", "waveforms", "fingerprints"):
        (root / stage).mkdir(parents=True, exist_ok=True)
    status.to_csv(root / "clips" / "0.csv", index=False)
    for stage in ("frames", "waveforms"):
        status.drop(columns="sha256").to_csv(root / stage / "0.csv", index=False)
    good = status[status["status"] == "ok"][["clip_id"]].assign(**WORD)
    good.to_csv(root / "fingerprints" / "0.csv", index=False)


def split(root, task: str) -> tuple[pd.DataFrame, records.Run]:
    out = root / "splits" / task
    command = ["--labels", root / "manifest" / "labels" / f"{task}.csv", "--study", root, "--output", out]
    command += ["--record", out / "record.json", "--stages", "clips", "frames", "waveforms"]
    cli.call(splits, [str(part) for part in command])
    return read(out / "clips.csv"), records.read(out / "record.json")[1][0]


def make_manifest(root, dataset: dict, tasks: list[str], **more) -> pd.DataFrame:
    given = {
        "dataset": dataset,
        "tasks": tasks,
        "shards": 1,
        "clip_ids": None,
        "targets": {},
        "columns": [],
        "file_columns": [],
        "media": "required",
        "output": root / "manifest",
        "record": None,
    }
    manifest.main(Namespace(**(given | more)))
    return read(root / "manifest" / "manifest.csv")


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A folder study of 40 clips, two tasks, of which two clips failed; run as far as its splits, and frozen."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "media" / "deep").mkdir(parents=True)
    rows = [{"file": f"deep/{index:02d}.mp4", "start": "1", "end": "2.5", "text": "a, b", "mood": "gb"[index % 2],
             "size": "" if index == 5 else "sl"[index // 2 % 2]} for index in range(40)]  # fmt: skip
    pd.DataFrame(rows).to_csv("list.csv", index=False)
    settings = {"name": "s", "tasks": ["mood", "size"], "shards": 1, "clip_ids": "only.csv"}
    settings["dataset"] = {"name": "folder", "csv": "list.csv", "media": "media"}
    (tmp_path / "only.csv").write_text("clip_id\n" + "\n".join(f"{index:02d}_1" for index in range(40)))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(settings))
    root = tmp_path / "results" / "s"
    clips = make_manifest(root, settings["dataset"], settings["tasks"])
    write_results(root, clips, {"03_1": "removed", "08_1": "private"})
    for task in settings["tasks"]:
        split(root, task)
    run_freeze("study.yaml")
    return tmp_path


def run_freeze(configfile: str) -> None:
    cli.call(freeze, ["--configfile", configfile, "--output", "frozen"])


def test_a_frozen_list_has_ids_times_labels_splits_digests_and_causes(study):
    table = read(study / "frozen" / "frozen.csv").set_index("clip_id")
    assert len(table) == 40
    assert table.loc["03_1", ["status", "cause", "split:mood"]].tolist()[:2] == ["failed", "removed"]
    assert table.loc["03_1", "split:mood"] in ("train", "validation", "test")
    wanted = {"source": "03.mp4", "start_s": "1", "end_s": "2.5", "mood": "b", "size": "l", "text": "a, b"}
    assert table.loc["03_1", list(wanted)].to_dict() == wanted
    assert table.loc["05_1", ["size", "split:size"]].tolist() == ["", ""]
    assert table.loc["00_1", ["sha256", "frames_sketch", "waveforms_sketch"]].tolist() == ["00_1", *WORD.values()]


def test_freezing_again_gives_the_same_bytes(study):
    before = {path.name: path.read_bytes() for path in (study / "frozen").iterdir()}
    run_freeze("study.yaml")
    assert {path.name: path.read_bytes() for path in (study / "frozen").iterdir()} == before
    assert set(before) == {"frozen.csv", "config.yaml", "frozen.yaml"}


def test_the_frozen_config_runs_the_same_clips_with_the_same_splits(study):
    settings = resolve.resolve(resolve.load(study / "frozen" / "frozen.yaml"))
    assert settings["name"] == "s-frozen"
    assert "clip_ids" not in settings
    root = study / "again"
    again = make_manifest(root, settings["dataset"], settings["tasks"])
    first = read(study / "results" / "s" / "manifest" / "manifest.csv")
    assert again[first.columns].equals(first)
    write_results(root, again, {"03_1": "removed", "08_1": "private"})
    for task in settings["tasks"]:
        clips, run = split(root, task)
        columns = ["clip_id", "group", "label", "split", "cause"]
        assert clips[columns].equals(read(study / "results" / "s" / "splits" / task / "clips.csv")[columns])
        assert run.params["origin"] == "official"
        assert run.metrics["since/same"] == sum(run.metrics[f"clips_{name}"] for name in splitting.NAMES)


def test_what_was_lost_found_or_changed_since_is_told(study, caplog):
    caplog.set_level("INFO", "modalens")
    settings = resolve.resolve(resolve.load(study / "frozen" / "frozen.yaml"))
    root = study / "again"
    clips = make_manifest(root, settings["dataset"], settings["tasks"])
    write_results(root, clips, {"08_1": "private", "10_1": "removed", "11_1": "removed", "12_1": "region"},
                  {"20_1": "another file", "21_1": "another file"})  # fmt: skip
    words = read(root / "fingerprints" / "0.csv")
    words.loc[words["clip_id"] == "21_1", "waveforms_sketch"] = "f0" * 16
    words.to_csv(root / "fingerprints" / "0.csv", index=False)
    table, run = split(root, "mood")
    told = table.set_index("clip_id")["since"]
    assert told[["10_1", "12_1", "03_1", "08_1", "20_1", "21_1", "00_1"]].tolist() == [
        "lost", "lost", "found", "absent", "recoded", "changed", "same",
    ]  # fmt: skip
    assert (
        "mood: since it was frozen, 3 of 38 clips are lost (1 region, 2 removed), 1 came back, 1 are coded anew, "
        "1 are another content"
    ) in caplog.text
    assert run.metrics["since/lost"] == 3
    assert run.metrics["lost/removed"] == 2


def test_a_study_that_has_not_run_is_one_line(study):
    settings = yaml.safe_load((study / "study.yaml").read_text()) | {"name": "other"}
    (study / "other.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match=r"manifest\.csv is not there; run the study first"):
        run_freeze("other.yaml")


def test_paths_are_told_from_the_folder_that_holds_all_files():
    assert freeze.relative(["a/b/1.mp4", "a/c/2.mp4"]) == ("a", ["b/1.mp4", "c/2.mp4"])
    assert freeze.relative(["/x/1.mp4"]) == ("/x", ["1.mp4"])
    assert freeze.relative(["1.mp4", "d/2.mp4"]) == (".", ["1.mp4", "d/2.mp4"])
    assert freeze.relative([]) == ("", [])


@pytest.fixture
def listed(tmp_path):
    def make(text: str, tasks=("mood",), **options) -> pd.DataFrame:
        (tmp_path / "frozen.csv").write_text(text)
        return Frozen(list(tasks), csv=str(tmp_path / "frozen.csv"), **options).manifest()

    return make


def test_a_list_from_the_web_describes_no_files_of_this_machine(tmp_path, monkeypatch):
    (tmp_path / "frozen.csv").write_text("clip_id,source,mood\na,lrw1000:pictures=%2Fhome&first=1&last=2&sound=x,x\n")
    dataset = Frozen(["mood"], csv="https://example.org/frozen.csv", media="/m")
    monkeypatch.setattr(dataset, "csv", str(tmp_path / "frozen.csv"))  # what the web gave
    with pytest.raises(UserError, match="line 2: lrw1000 reads files of this machine"):
        dataset.manifest()


@pytest.mark.parametrize("content", [b'{"mood": [1', b'[1, 2, "mood"]', b"{\xff}", b'{"mood": "x"}'])
def test_damaged_answers_beside_a_list_are_one_line(tmp_path, content):
    (tmp_path / "frozen.csv").write_text("clip_id,source,mood\na,c.mp4,x\n")
    (tmp_path / "answers.json").write_bytes(content)
    with pytest.raises(UserError, match=r"answers\.json: (no readable JSON|expected \{task: its answer\})") as caught:
        Frozen(["mood"], csv=str(tmp_path / "frozen.csv")).answers()
    assert "\n" not in str(caught.value)


def test_addresses_and_drawings_stay_as_they_are_and_files_count_from_the_media_folder(listed):
    text = "clip_id,source,mood\na,youtube:abcdefghijk,x\nb,known_answer:video=0&audio=1,y\nc,c.mp4,x\n"
    assert listed(text, media="/m")["source"].tolist() == [
        "youtube:abcdefghijk", "known_answer:video=0&audio=1", "/m/c.mp4",
    ]  # fmt: skip
    assert listed(text)["group"].tolist()[0] == "youtube:abcdefghijk"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip_id,source\na,b\n", "no column 'mood'"),
        ("clip_id,source,mood\na,,x\n", "line 2: the source is empty"),
        ("clip_id,source,mood\na,../b.mp4,x\n", "leads out of the media folder"),
        ("clip_id,source,mood,start_s\na,b.mp4,x,soon\n", "line 2: start_s 'soon' is no number"),
        ("clip_id,source,mood,start_s\na,b.mp4,x,nan\n", "start_s 'nan' is no number"),
    ],
)
def test_a_damaged_list_is_one_line(listed, text, message):
    with pytest.raises(UserError, match=message):
        listed(text, media="/m")


def test_files_that_cells_name_move_with_the_list(tmp_path):
    table = pd.DataFrame(
        {
            "source": ["/d/clips/a.mp4", "", "youtube:abcdefghijk"],
            "picture": ["/d/pictures/a.png", "", "/d/pictures/c.png"],
            "depth": ["/d/depth/1.png|/d/depth/2.png", "/d/depth/3.png", ""],
            "title": ["a", "/d/not/a/path", ""],
        }
    )
    assert freeze.move_files(table, ["picture", "depth"]) == "/d"
    assert table["source"].tolist() == ["clips/a.mp4", "", "youtube:abcdefghijk"]
    assert table["picture"].tolist() == ["pictures/a.png", "", "pictures/c.png"]
    assert table["depth"].tolist() == ["depth/1.png|depth/2.png", "depth/3.png", ""]
    assert table["title"][1] == "/d/not/a/path"
    table.assign(clip_id=list("abc"), mood="x").to_csv(tmp_path / "frozen.csv", index=False)
    dataset = Frozen(["mood", "depth", "picture", "title"], csv=str(tmp_path / "frozen.csv"), media="/m")
    dataset.reads = Reads(["depth", "picture", "title"], ["depth", "picture"], "optional")
    found = dataset.manifest()
    assert found["depth"].tolist() == ["/m/depth/1.png|/m/depth/2.png", "/m/depth/3.png", ""]
    assert found["source"].tolist() == ["/m/clips/a.mp4", "", "youtube:abcdefghijk"]
    assert found["group"].tolist() == ["/m/clips/a.mp4", "b", "youtube:abcdefghijk"]
    table.assign(clip_id=list("abc"), mood="x", picture="../a.png").to_csv(tmp_path / "frozen.csv", index=False)
    with pytest.raises(UserError, match=r"column picture: '\.\./a\.png' leads out of the media folder"):
        dataset.manifest()


def test_a_drawing_is_rendered_by_the_data_set_that_it_names(tmp_path):
    from modalens.datasets.known_answer import KnownAnswer

    source = KnownAnswer(["seen"], clips=1, seconds=1).manifest()["source"][0]
    fetched = Frozen.fetch(source, None, None, tmp_path / "clip", DownloadOptions())
    assert fetched.path.stat().st_size > 1000
    (tmp_path / "own.mp4").write_bytes(b"x")
    assert (
        Frozen.fetch(str(tmp_path / "own.mp4"), 1.0, 2.0, tmp_path / "c", DownloadOptions()).path
        == tmp_path / "own.mp4"
    )


def test_known_answers_travel_with_the_list(tmp_path):
    (tmp_path / "frozen.csv").write_text("clip_id,source,mood\na,b,x\n")
    (tmp_path / "answers.json").write_text(json.dumps({"mood": {"share": 1}, "other": {}}))
    assert Frozen(["mood"], csv=str(tmp_path / "frozen.csv")).answers() == {"mood": {"share": 1}}


def test_without_words_another_file_counts_as_changed():
    clips = pd.DataFrame({"clip_id": ["a"], "cause": [""]})
    expected = pd.DataFrame(
        {"clip_id": ["a"], "status": ["ok"], "sha256": ["1"], "frames_sketch": [""], "waveforms_sketch": [""]}
    )
    assert frozen_diff.changes(clips, expected, expected.assign(sha256="2")).tolist() == ["changed"]


def test_without_a_media_file_words_tell_whether_a_clip_is_the_same():
    clips = pd.DataFrame({"clip_id": ["a"], "cause": [""]})
    then = pd.DataFrame({"clip_id": ["a"], "status": ["ok"], "sha256": [""], "images_picture_sketch": ["f0" * 24]})
    for word, told in (("f0" * 24, "same"), ("f0" * 23 + "f1", "recoded"), ("0f" * 24, "changed")):
        assert frozen_diff.changes(clips, then, then.assign(images_picture_sketch=word)).tolist() == [told]


def test_nothing_frozen_holds_a_password_or_a_token(study, caplog):
    path = study / "results" / "s" / "manifest" / "manifest.csv"
    table = read(path)
    table.loc[:1, "source"] = ["https://ann:s3cret@example.org/x.mp4", "https://example.org/x.mp4?token=s3cret&a=1"]
    table.loc[2, "text"] = "from http://ann:s3cret@host"
    table.to_csv(path, index=False)
    settings = yaml.safe_load((study / "study.yaml").read_text())
    settings["report"] = {"title": "of https://example.org/x.csv?sig=s3cret"}
    (study / "study.yaml").write_text(yaml.safe_dump(settings))
    run_freeze("study.yaml")
    for file in (study / "frozen").iterdir():
        assert "s3cret" not in file.read_text(), file.name
    sources = read(study / "frozen" / "frozen.csv")["source"].tolist()
    assert sources[:2] == ["https://***@example.org/x.mp4", "https://example.org/x.mp4?token=***&a=1"]
    assert "2 sources held a password or token" in caplog.text
