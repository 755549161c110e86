"""`modalens init` and `modalens check`: what is found in a list, the config that is written, every mistake at once."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from modalens.commands import _columns, _survey, check, counts, init
from modalens.config import resolve
from modalens.config.mistakes import mistakes
from modalens.curation import manifest
from modalens.utils import cli
from modalens.utils.errors import UserError

ROWS = 60


def listing(folder: Path, **columns) -> Path:
    """60 rows over files that are there, two moods, ten speakers."""
    for number in range(ROWS):
        (folder / f"{number}.wav").write_bytes(b"RIFF")
    table = {
        "file": [f"{number}.wav" for number in range(ROWS)],
        "mood": ["glad" if number % 2 else "sad" for number in range(ROWS)],
        "speaker": [f"s{number // 6}" for number in range(ROWS)],
    }
    path = folder / "moods.csv"
    pd.DataFrame(table | columns).to_csv(path, index=False)
    return path


def written(csv: Path, *more: str) -> dict:
    output = csv.with_suffix(".yaml")
    cli.call(init, [csv, "--output", output, *more])
    return yaml.safe_load(output.read_text())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_list_becomes_a_config_that_runs_with_its_speakers_as_groups(here, capsys):
    config = written(listing(here))
    assert config["dataset"] == {"name": "folder", "csv": str(here / "moods.csv"), "columns": {"group": "speaker"}}
    assert (config["name"], config["tasks"], config["shards"]) == ("moods", ["mood"], 1)
    assert config["modalities"] == {"audio": "log_mel"}, "a wav holds no picture"
    study = resolve.resolve(config)
    assert manifest.build(study["dataset"], study["tasks"]).manifest()["group"].nunique() == 10
    said = capsys.readouterr().out
    assert "60 clips of 10 groups, 2 classes of 30" in said
    assert "60 files, all there" in said
    assert "only 2 test groups: no test over so few has a p below 0.05, and the intervals will be rough" in said


def test_a_column_of_numbers_is_a_task_of_regression_where_it_is_named(here, capsys):
    csv = listing(here, valence=[number / 7 for number in range(ROWS)])
    config = written(csv, "--tasks", "mood", "valence")
    assert config["targets"] == {"valence": "regression"}
    said = capsys.readouterr().out
    assert "numbers from 0 to 8.42857" in said
    assert "groups; no drop can be shown with p < 0.05: that takes 6 groups" in said
    column = (
        pd.DataFrame({"clip_id": range(900), "group": range(900), "valence": range(900)}).astype(str).assign(split="")
    )
    told = " ".join(_survey.of_task(column, "valence", SPLITS, kind="regression").told)
    assert re.search(r"; a drop of R² from 0\.\d\d to 0 is shown in at least four studies of five", told)
    assert "targets" not in written(csv, "--overwrite")
    assert (
        "# And these, of numbers, with targets: {NAME: regression}: [valence]" in csv.with_suffix(".yaml").read_text()
    )


def test_a_config_that_is_there_stays_unless_one_says_so(here):
    csv = listing(here)
    written(csv)
    (here / "moods.yaml").write_text("mine")
    with pytest.raises(UserError, match=r"is there already.*--overwrite"):
        written(csv)
    assert (here / "moods.yaml").read_text() == "mine"
    written(csv, "--overwrite")
    assert (here / "moods.yaml").read_text() != "mine"


def test_folders_of_classes_become_a_list_beside_the_config(here):
    for label in ("glad", "sad"):
        (here / "clips" / label).mkdir(parents=True)
        for number in range(9):
            (here / "clips" / label / f"{number}.mp4").write_bytes(b"ftyp")
    (here / "clips" / "notes.txt").write_text("no clip")
    cli.call(init, ["clips"])
    config = yaml.safe_load((here / "clips.yaml").read_text())
    assert config["dataset"] == {"name": "folder", "csv": "clips.csv", "media": "clips"}
    assert config["modalities"] == {"audio": "log_mel", "video": "resnet50"}
    clips = manifest.build(config["dataset"], config["tasks"]).manifest()
    assert clips["label"].value_counts().to_dict() == {"glad": 9, "sad": 9}
    assert all(Path(source).is_file() for source in clips["source"])


@pytest.mark.parametrize(
    ("inside", "lists", "said"),
    [
        ("", [], "got 3 files, in no folder of it; lay them in folders called as their class, or write a CSV with the"),
        ("clips/", [], "got 3 files, all of them in clips/; lay them in folders"),
        ("clips/", ["a.csv", "labels.csv"], "modalens init 'my clips/labels.csv' reads the list that lies in it"),
    ],
)
def test_a_folder_without_folders_of_classes_is_told_of_and_of_the_list_in_it(here, capsys, inside, lists, said):
    folder = here / "my clips"
    (folder / inside).mkdir(parents=True)
    for number in range(3):
        (folder / inside / f"{number}.wav").write_bytes(b"RIFF")
    for name in lists:
        (folder / name).write_text("file,label\n")
    with pytest.raises(UserError) as caught:
        cli.call(init, ["my clips"])
    assert str(caught.value).startswith("my clips: expected a folder for each class, got 3 files, ")
    assert said in str(caught.value)
    assert "1 different" not in capsys.readouterr().out
    assert not list(here.glob("*.csv")) + list(here.glob("*.yaml"))
    # A task that is asked for is written, and what is wrong with it is said.
    cli.call(init, ["my clips", "--tasks", "label"])
    assert ("one class only" if inside else "to mend: task label: no label") in capsys.readouterr().out


def test_a_list_that_lies_among_folders_of_classes_is_said_not_to_be_read(here, capsys):
    for label in ("glad", "sad"):
        (here / "clips" / label).mkdir(parents=True)
        for number in range(9):
            (here / "clips" / label / f"{number}.wav").write_bytes(b"RIFF")
    (here / "clips/labels.csv").write_text("file,mood\n")
    cli.call(init, ["clips"])
    assert "look at: clips/labels.csv is not read: modalens init clips/labels.csv reads it" in capsys.readouterr().out


def test_files_that_are_not_there_and_labels_that_are_alike_are_told(here, capsys):
    csv = listing(here, mood=["Glad"] + ["glad", "sad"] * 29 + [""])
    (here / "3.wav").unlink()
    written(csv)
    said = capsys.readouterr().out
    assert "1 of 60 files is not there, first" in said
    assert "2 labels differ only in spelling" in said
    assert "1 clip without a label" in said
    assert "to mend: task mood: class 'Glad' has no clip in" in said


@pytest.mark.parametrize("name", ["x: [1, 2]", "a'\"b", "# ü\x1b[2J", "&a *b"])
def test_whatever_a_column_is_called_the_config_is_yaml_and_means_that_column(here, name):
    csv = listing(here)
    table = pd.read_csv(csv).rename(columns={"mood": name})
    table.to_csv(csv, index=False)
    config = written(csv)
    (task,) = config["tasks"]
    assert config["dataset"]["columns"].get(task, task) == name
    study = resolve.resolve(config)
    assert set(manifest.build(study["dataset"], [task]).manifest()[task]) == {"glad", "sad"}


def test_a_column_with_a_line_break_in_its_name_writes_no_line_of_its_own(here):
    csv = listing(here, **{"x\nplugins: [evil.py]": ["p", "q"] * 30})
    assert "plugins" not in written(csv)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("file,mood\n", "no rows"),
        ("a,b\n1,2\n3,4\n", "no column that can be a label"),
        ("mood\nglad\nsad\n" * 9, "no column names files"),
        ("file,mood\n\0", "no text file"),
    ],
)
def test_a_list_that_is_none_is_one_clear_line_and_writes_nothing(here, text, said):
    (here / "bad.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        cli.call(init, ["bad.csv"])
    assert [path.name for path in here.iterdir()] == ["bad.csv"]


def test_what_columns_hold(here):
    table = pd.DataFrame(
        {
            "clip": ["https://x.org/a.mp4?t=1"] * 50,
            "digit": [str(number % 10) for number in range(50)],
            "price": [f"{number}.5" for number in range(50)],
            "said": [f"the word {number} was said" for number in range(50)],
            "code": [f"c{number}" for number in range(50)],
            "nothing": "",
            "start": "0",
        },
        dtype="str",
    )
    roles = {column.name: column.role for column in _columns.look(table, here)}
    assert list(roles.values()) == ["file", "label", "number", "text", "id", "empty", "field"]


def clips(split="", groups=60, **columns):
    table = {
        "clip_id": [str(number) for number in range(ROWS)],
        "source": "https://x.org/a.mp4",
        "group": [str(number % groups) for number in range(ROWS)],
        "split": split,
        "mood": ["glad" if number % 2 else "sad" for number in range(ROWS)],
    }
    return pd.DataFrame(table | columns)


SPLITS = {"train": 0.7, "validation": 0.1, "test": 0.2, "seed": 0, "allow_overlap": False}


def test_a_published_split_that_cuts_groups_is_to_mend_unless_that_is_accepted():
    table = clips(["train", "test"] * 30, groups=15)
    assert any(
        "15 groups are in more than one split" in line for line in _survey.of_task(table, "mood", SPLITS).mistakes
    )
    found = _survey.of_task(table, "mood", SPLITS | {"allow_overlap": True})
    assert not any("more than one" in line for line in found.mistakes)
    assert any("more than one" in line for line in found.warnings)


def test_a_class_of_one_clip_is_to_mend():
    table = clips(mood=["rare"] + ["glad", "sad"] * 29 + ["sad"])
    (line,) = _survey.of_task(table, "mood", SPLITS).mistakes
    assert "class 'rare' has no clip in" in line


def test_of_many_classes_or_tags_without_test_clips_a_few_are_told_and_the_others_named():
    table = clips(mood=[f"rare{row:02}|glad" if row < 20 else "sad|glad" for row in range(60)])
    lines = _survey.of_task(table, "mood", SPLITS, kind="multilabel").mistakes
    assert len(lines) == 4
    assert all("tag 'rare" in line and "has no clip in" in line for line in lines[:3])
    assert re.fullmatch(r"task mood: so have ('rare\d\d', ){11}'rare\d\d' and 5 more", lines[3])
    classes = clips(mood=[f"rare{row}" if row < 4 else "sad" for row in range(60)])
    lines = _survey.of_task(classes, "mood", SPLITS).mistakes
    assert len(lines) == 4
    assert lines[3] == "task mood: so has class 'rare3'"


def test_of_tags_it_is_said_which_drop_the_test_clips_cannot_show():
    column = pd.DataFrame({"clip_id": range(900), "group": range(900)}).astype(str)
    told = " ".join(
        _survey.of_task(column.assign(split="", mood=["glad|sad", "sad"] * 450), "mood", SPLITS, kind="multilabel").told
    )
    assert "180 test clips of 180 groups; no drop of F1 or tag accuracy below 1.1 points is shown" in told


WRONG = {
    "name": "a/b",
    "dataset": {"name": "known_answer", "clipss": 3},
    "tasks": ["seen", "heard"],
    "seeds": [0, "x"],
    "modalities": {
        "audio": "log_mell",
        "video": {"encoder": "resnet50", "options": {"weight": "x"}, "decode": {"count": 0}},
    },
    "models": {
        "audio_only": {},
        "late_fusion": {"options": {"fusion": "concatt", "hiden": 3}},
        "distillation": {"teachers": ["audio_only", "nobody"]},
    },
    "relevance": {"measures": {"shapely": {}}},
    "trainig": {},
}


def test_every_mistake_of_a_config_is_told_once_and_none_that_follows_from_another():
    lines, _ = mistakes(WRONG)
    words = ["'trainig'", "'a/b'", "seeds[1]", "'log_mell'", "'weight'", "count and crop"]
    words += ["'clipss'", "'shapely'", "'hiden'", "'concatt'", "'nobody'"]
    for word in words:
        assert sum(word in line for line in lines) == 1, (word, lines)
    assert len(lines) == len(words), lines


def test_a_mistake_that_names_no_place_is_told_beside_others():
    """That a model learns through an encoder whose decoded clips are not kept."""
    learns = {"model": "late_fusion", "training": {"encoders": {"video": {"last_layers": 2}}}}
    video = {"encoder": "resnet50", "options": {"weights": "nofile.pt"}}
    config = {"name": "m", "dataset": {"name": "known_answer"}, "tasks": ["seen"], "report": {"mdel": "late_fusion"}}
    config |= {"modalities": {"audio": "log_mel", "video": video}, "models": {"late_fusion": learns}}
    lines, _ = mistakes(config)
    for word in ("'mdel'", "not found: nofile.pt", "expected modalities.video.keep: true"):
        assert sum(word in line for line in lines) == 1, (word, lines)


@pytest.mark.parametrize("wrong", [0, float("inf")])
@pytest.mark.parametrize(
    ("kind", "encoder", "option"),
    [
        ("series", "raw_series", "steps"),
        ("series", "raw_series", "channels"),
        ("audio", "log_mel", "seconds"),
        ("video", "frame_network", "count"),
        ("depth", "depth_network", "scale"),
    ],
)
def test_an_option_that_cannot_be_is_one_line_and_none_says_that_it_is_missing(kind, encoder, option, wrong):
    needed = {"channels": 3, "steps": 10} if kind == "series" else {}
    entry = {"kind": kind, "encoder": encoder, "decode": needed | {option: wrong}}
    config = {"name": "a", "dataset": {"name": "known_answer"}, "tasks": ["seen"], "modalities": {"one": entry}}
    (line,) = mistakes(config)[0]
    assert line.startswith("config: modalities.one.decode")
    assert "missing" not in line


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"modalities": {"video": {"encoder": "pixels", "decode": {"resize": 64, "crop": "x"}}}}, "video.decode.crop"),
        ({"models": {"mine": {"model": "x"}}}, "models.mine: no model 'x'"),
        ({"models": {"mine": {"model": 0}}}, "models.mine.model: expected a text"),
        ({"models": {"mine": {"model": "guidance", "options": 0}}}, "models.mine.options: expected a mapping"),
        (
            {"models": {"audio_only": {"options": 0}, "distillation": {"teachers": ["audio_only"]}}},
            "audio_only.options",
        ),
    ],
)
def test_a_default_that_does_not_fit_where_a_mistake_was_is_no_mistake_more(part, said):
    (line,) = mistakes({"name": "a", "dataset": {"name": "known_answer"}, "tasks": ["seen"]} | part)[0]
    assert said in line


def test_an_option_that_is_missing_is_told_beside_one_that_cannot_be():
    entry = {"kind": "series", "encoder": "raw_series", "decode": {"steps": 0.5}}
    lines, _ = mistakes({
        "name": "a", "dataset": {"name": "known_answer"}, "tasks": ["seen"], "modalities": {"one": entry}
    })  # fmt: skip
    assert [line.removeprefix("config: modalities.one.decode") for line in lines] == [
        ".steps: expected int, got 0.5",
        ": the option 'channels' is missing",
    ]


def test_a_sound_config_has_no_mistake_and_is_resolved_as_it_is():
    config = {"name": "a", "dataset": {"name": "known_answer"}, "tasks": ["seen"]}
    lines, study = mistakes(config)
    assert lines == []
    assert study == resolve.resolve(config)


@pytest.mark.parametrize("config", [{}, {"name": 3}, {"tasks": [], "dataset": []}, {"models": {}}, {"modalities": {}}])
def test_a_config_of_nothing_ends_with_lines(config):
    lines, _ = mistakes(config)
    assert lines
    assert all(line.startswith("config") for line in lines)


def test_check_says_what_is_wrong_in_the_config_and_in_the_list(here, capsys):
    csv = listing(here)
    config = {
        "name": "m",
        "dataset": {"name": "folder", "csv": str(csv)},
        "tasks": ["mood", "mod", "age"],
        "seeds": ["x"],
    }
    (here / "m.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="to mend"):
        cli.call(check, ["m.yaml"])
    said = capsys.readouterr().out
    assert "seeds[0]: expected an integer" in said
    assert "has no column 'mod'; did you mean 'mood'?" in said
    assert "has no column 'age'" in said
    assert "task mood: 60 clips of 60 groups" in said


def test_check_and_counts_know_what_modalities_read_of_a_list_without_media(here, capsys):
    csv = listing(here)
    table = pd.read_csv(csv).rename(columns={"file": "recording"}).assign(clip_id=[f"c{row}" for row in range(ROWS)])
    table.loc[0, "recording"] = "none.wav"
    table.assign(words="some words").to_csv(csv, index=False)
    config = {
        "name": "m",
        "dataset": {"name": "folder", "csv": str(csv)},
        "tasks": ["mood"],
        "modalities": {
            "sensor": {
                "kind": "series",
                "column": "recording",
                "encoder": "raw_series",
                "decode": {"channels": 1, "steps": 8},
            },
            "words": {"kind": "text", "encoder": "term_counts"},
        },
    }
    (here / "m.yaml").write_text(yaml.safe_dump(config))
    cli.call(check, ["m.yaml"])
    said = capsys.readouterr().out
    assert "look at: 1 of 60 files is not there, first " in said
    assert "task mood: 60 clips of 60 groups" in said
    cli.call(counts, ["--configfile", "m.yaml"])
    assert "mood: 60 clips of 60 sources" in capsys.readouterr().out


def test_check_counts_the_clips_that_are_used_and_says_what_numbers_are_and_tries_the_plugins(here, capsys):
    csv = listing(here)
    table = pd.read_csv(csv).rename(columns={"file": "recording"}).assign(clip_id=[f"c{row}" for row in range(ROWS)])
    table["words"] = ["" if row < 10 else "some words" for row in range(ROWS)]
    table["price"] = [row / 4 for row in range(ROWS)]
    table.to_csv(csv, index=False)
    config = {
        "name": "m",
        "dataset": {"name": "folder", "csv": str(csv)},
        "tasks": ["mood", "price"],
        "modalities": {"words": {"kind": "text", "encoder": "term_counts"}},
        "relevance": {"measures": {"mm_shap": {"permutations": 3}}},
    }
    (here / "m.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="2 to mend"):
        cli.call(check, ["m.yaml"])
    said = capsys.readouterr().out
    assert "look at: 10 of 60 clips lack words (10) and are left out\n" in said
    assert "task mood: 50 clips of 50 groups" in said
    assert "to mend: task price: 50 different numbers; write `targets: {price: regression}`, or class names" in said
    assert "mm_shap: permutations: expected an even number" in said


def test_check_names_weights_that_are_fetched_but_none_of_a_modality_that_is_wrong(here, capsys):
    network = {"kind": "video", "encoder": "frame_network"}
    config = {
        "name": "m",
        "dataset": {"name": "known_answer"},
        "tasks": ["seen"],
        "modalities": {"video": network, "face": network | {"options": {"weights": "none/vggface2.pth"}}},
    }
    (here / "m.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="1 to mend"):
        cli.call(check, ["m.yaml"])
    said = capsys.readouterr().out
    assert "modalities.video: weights `pretrained` of " in said
    assert "modalities.face: weights" not in said
    assert f"not found: none/vggface2.pth (paths count from {here}; a set of the library's own, or `untrained`" in said


def test_check_of_the_demo_finds_nothing_to_mend(capsys):
    cli.call(check, [Path(__file__).parents[1] / "config/config.yaml"])
    said = capsys.readouterr().out
    assert "500 clips that the data set makes when the study runs" in said
    assert "to mend" not in said


def test_check_of_what_init_wrote_finds_nothing_to_mend(here, capsys):
    written(listing(here, speaker=[f"s{number // 2}" for number in range(ROWS)]))
    cli.call(check, ["moods.yaml"])
    said = capsys.readouterr().out
    assert "to mend" not in said
    assert "next: snakemake" in said


def test_without_a_decoder_the_names_of_files_tell(monkeypatch, here):
    monkeypatch.setitem(sys.modules, "modalens.media.probe", None)
    assert init.probed([here / "a.mp4"]) is None


def products(folder: Path, **columns) -> Path:
    """A list without files: texts, words, numbers, and a name in each row."""
    table = {
        "id": [str(1000 + number) for number in range(ROWS)],
        "title": [f"a thing called {number}" for number in range(ROWS)],
        "kind": ["bath", "home"] * (ROWS // 2),
        "brand": [f"b{number // 2}" if number else "NA" for number in range(ROWS)],
        "price": [str(number / 7) if number else "none" for number in range(ROWS)],
    }
    path = folder / "products.csv"
    pd.DataFrame(table | columns).to_csv(path, index=False)
    return path


def suggested(config: Path, name: str) -> dict:
    """What a comment says to write under `modalities`."""
    (line,) = [line for line in config.read_text().splitlines() if line.startswith(f"  # {name}:")]
    return yaml.safe_load(line.replace("# ", "", 1))


def test_the_table_that_is_suggested_reads_words_as_categories_and_decodes_as_it_is_written(here, capsys):
    config = written(products(here))
    more = suggested(here / "products.yaml", "table")
    assert more == {"table": {"encoder": "fields", "columns": ["brand", "price"], "decode": {"categories": ["brand"]}}}
    config["modalities"] |= more
    (here / "products.yaml").write_text(yaml.safe_dump(config))
    cli.call(check, ["products.yaml"])
    assert "cannot be read" not in capsys.readouterr().out


def test_of_several_columns_of_texts_and_files_the_first_is_written_and_the_others_are_comments(here):
    for number in range(ROWS):
        (here / f"{number}.jpg").write_bytes(b"JFIF")
    pictures = [f"{number}.jpg" for number in range(ROWS)]
    texts = [f"made of {number} parts or more" for number in range(ROWS)]
    config = written(products(here, front=pictures, back=pictures, **{"2nd Text": texts}))
    assert {name: config["modalities"][name]["column"] for name in config["modalities"]} == {
        "image": "front",
        "text": "title",
    }
    back, second = (suggested(here / "products.yaml", name) for name in ("back", "more_2nd_text"))
    assert back["back"]["kind"] == "image"
    assert second["more_2nd_text"] == {"encoder": "term_counts", "kind": "text", "column": "2nd Text"}
    config["modalities"] |= back | second
    assert mistakes(config)[0] == []


def test_a_task_is_no_text_that_a_model_reads(here):
    texts = [f"it is number {number}" for number in range(ROWS)]
    assert written(products(here, words=texts), "--tasks", "title")["modalities"]["text"]["column"] == "words"


def test_a_task_or_a_group_is_no_column_of_the_table_that_is_suggested(here):
    written(products(here, price=[row / 7 for row in range(ROWS)]), "--tasks", "price", "--group", "brand")
    assert "table:" not in (here / "products.yaml").read_text()


def test_a_column_that_differs_in_each_row_names_the_clips_where_no_file_does(here):
    assert written(products(here))["dataset"]["columns"] == {"clip_id": "id"}
    table = pd.read_csv(here / "products.csv").rename(columns={"id": "product"})
    table.assign(product=[f"p{row}" for row in range(ROWS)]).to_csv(here / "products.csv", index=False)
    assert written(here / "products.csv", "--overwrite")["dataset"]["columns"] == {"clip_id": "product"}
    table.assign(product="p").to_csv(here / "products.csv", index=False)
    with pytest.raises(UserError, match="no column names each clip: add a column clip_id"):
        written(here / "products.csv", "--overwrite")


def test_a_study_is_called_as_its_config_and_the_comment_on_weights_is_a_line_to_write(here):
    for number in range(ROWS):
        (here / f"{number}.mp4").write_bytes(b"ftyp")
    csv = listing(here, file=[f"{number}.mp4" for number in range(ROWS)])
    cli.call(init, [csv, "--output", "my study.yaml"])
    assert yaml.safe_load((here / "my study.yaml").read_text())["name"] == "my_study"
    assert suggested(here / "my study.yaml", "video") == {
        "video": {"encoder": "resnet50", "options": {"weights": "untrained"}}
    }


def test_a_list_whose_files_are_all_missing_is_not_said_to_run(here, capsys):
    csv = listing(here)
    for path in here.glob("*.wav"):
        path.unlink()
    written(csv)
    said = capsys.readouterr().out
    assert "to mend: 60 of 60 files are not there" in said
    assert "next: mend what is said above, then modalens check" in said
    assert "snakemake" not in said


def test_files_of_no_byte_are_not_all_there_and_a_folder_of_frames_is(tmp_path):
    (tmp_path / "full").write_bytes(b"RIFF")
    (tmp_path / "empty").touch()
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/0.png").touch()

    def found(*names: str) -> _survey.Survey:
        return _survey.of_files([pd.Series([str(tmp_path / name) for name in names])])

    assert found("full", "empty").warnings == [f"1 of 2 files is empty, first {tmp_path}/empty"]
    assert found("full", "empty", "none").warnings == [
        f"1 of 3 files is not there, first {tmp_path}/none",
        f"1 of 3 files is empty, first {tmp_path}/empty",
    ]
    assert found("empty").mistakes == [f"1 of 1 file is empty, first {tmp_path}/empty"]
    frames = [pd.Series([str(tmp_path / "frames")])]
    assert _survey.of_files([pd.Series([str(tmp_path / "full")])], frames).told == ["2 files, all there"]
    assert found("full", "frames").warnings == [f"1 of 2 files is not there, first {tmp_path}/frames"], "no clip's own"


def test_an_empty_group_is_refused_with_a_remedy(here):
    csv = listing(here, speaker=["", *(f"s{number // 6}" for number in range(1, ROWS))])
    with pytest.raises(UserError, match=r"line 2: the group is empty.*give it a group of its own"):
        written(csv)


def test_all_ends_of_files_are_named_or_said_to_be_more():
    assert str(_columns.Column("file", "file", 9, 9, (".a", ".b", ".c", ".d"))) == "names files (.a, .b, .c, .d)"
    many = tuple(f".{number}" for number in range(12))
    assert str(_columns.Column("file", "file", 99, 99, many)).endswith(", .7, ...)")


def checked(folder: Path, csv: Path, modalities: dict, **config) -> None:
    study = {"name": "m", "dataset": {"name": "folder", "csv": str(csv), "columns": {"clip_id": "id"}}}
    study |= {"tasks": ["kind"], "modalities": modalities} | config
    (folder / "m.yaml").write_text(yaml.safe_dump(study))
    cli.call(check, ["m.yaml"])


def test_check_decodes_the_first_rows_of_a_table(here, capsys):
    table = {"encoder": "fields", "columns": ["brand", "price"]}
    with pytest.raises(UserError, match="1 to mend"):
        checked(here, products(here, brand=["Suave"] * ROWS), {"table": table})
    said = capsys.readouterr().out
    assert (
        "to mend: modalities.table: 60 of the first 60 rows cannot be read: brand: expected a number, got 'Suave'"
        in said
    )
    checked(here, products(here, brand=["7", "x", ""] * 20), {"table": table})
    said = capsys.readouterr().out
    assert (
        "look at: modalities.table: 20 of the first 60 rows cannot be read: brand: expected a number, got 'x'" in said
    )


def test_check_counts_a_clip_that_lacks_all_modalities_as_left_out(here, capsys):
    csv = products(here, title=[""] * 4 + ["a word or two"] * 56, said=[""] * 3 + ["a word or two"] * 57)
    texts = {name: {"kind": "text", "encoder": "term_counts"} for name in ("title", "said")}
    checked(here, csv, texts, splits={"incomplete": "keep"})
    said = capsys.readouterr().out
    assert "4 of 60 clips lack said (3) or title (4) and stay, by splits.incomplete, but for 3 without any" in said
    assert "task kind: 57 clips" in said
    checked(here, csv, texts)
    said = capsys.readouterr().out
    assert "and are left out; splits.incomplete: keep uses those that have one" in said
    assert "task kind: 56 clips" in said
