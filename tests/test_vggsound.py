"""VGGSound: the owners' list in its two forms, the official split, and damaged copies."""

import pytest

from modalens.datasets.vggsound import Vggsound
from modalens.utils.errors import UserError

WHOLE = """---g-f_I2yQ,1,people marching,test
--0PQM4-hqg,30,waterfall burbling,train
--56QUhyDQM,185,playing tennis,train
--5OkAjCI7g,40,"dog barking, growling",train
"""
HEADER = "youtube_id,start,label,split\n"
OLDER = '---g-f_I2yQ_000001.mp4,people marching\n--5OkAjCI7g_000040.mp4,"dog barking, growling"\n'


def of(folder, content: str, **options) -> Vggsound:
    (folder / "list.csv").write_text(content)
    return Vggsound(["sound"], **({"csv": str(folder / "list.csv"), "partial": True} | options))


def line_of(dataset: Vggsound) -> str:
    with pytest.raises(UserError) as caught:
        dataset.manifest()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_official_test_list_has_309_sounds(shared):
    table = Vggsound(["sound"], csv={"test": str(shared / "manifests/vggsound/test.csv")}).manifest()
    assert len(table) == 15_446
    assert table["sound"].nunique() == 309
    assert set(table["split"]) == {"test"}
    assert table["group"].nunique() == 14_851  # several clips of one video


@pytest.mark.parametrize(
    "content", [WHOLE, HEADER + WHOLE, "# YouTube ID, start seconds, label, train/test split.\n" + WHOLE]
)
def test_the_list_is_read_with_and_without_a_header(tmp_path, content):
    table = of(tmp_path, content).manifest()
    assert table["sound"].tolist()[-1] == "dog barking, growling"
    assert table["split"].tolist() == ["test", "train", "train", "train"]
    assert table.iloc[1][["clip_id", "start_s", "end_s"]].tolist() == ["--0PQM4-hqg_30", "30", "40"]


def test_the_older_lists_name_the_same_clips(tmp_path):
    older = of(tmp_path, OLDER, csv={"test": str(tmp_path / "list.csv")}).manifest()
    assert older["clip_id"].tolist() == ["---g-f_I2yQ_1", "--5OkAjCI7g_40"]
    assert older["sound"].tolist() == ["people marching", "dog barking, growling"]
    assert "tells no split" in line_of(of(tmp_path, OLDER))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("--0PQM4-hqg", "#NAME?", "line 2: '#NAME?' stands where the id was"),
        ("--0PQM4-hqg,30", "--0PQM4-hqg,0:30", "line 2: start '0:30' is no number of seconds"),
        ('"dog barking, growling"', "dog barking, growling", "line 4: 5 cells where 4 are wanted"),
        ('growling",train\n', "grow", "line 4: a quote is not closed; the file is cut off there"),
        (',train\n--56', ",trial\n--56", "line 2: 'trial' is no split"),
        ("--56QUhyDQM,185", "--0PQM4-hqg,30", "line 3: clip --0PQM4-hqg_30 is there already"),
        ("waterfall burbling", "", "line 2: label is empty"),
    ],
)  # fmt: skip
def test_damage_is_one_line_that_says_row_and_what(tmp_path, old, new, line):
    assert WHOLE.count(old) == 1
    assert line in line_of(of(tmp_path, WHOLE.replace(old, new)))


def test_a_class_cut_off_at_the_end_is_refused(tmp_path):
    cut = OLDER[: OLDER.index("marching") + 5]
    line = line_of(of(tmp_path, cut, csv={"test": str(tmp_path / "list.csv")}))
    assert "line 1: the file ends within a line" in line


def test_a_cut_list_is_refused_unless_a_part_is_meant(tmp_path):
    assert "test: 1 row, the published list has 15,446" in line_of(of(tmp_path, WHOLE, partial=False))


def test_some_of_the_classes_can_be_kept(tmp_path):
    table = of(tmp_path, WHOLE, classes=["playing tennis", "people marching"]).manifest()
    assert table["sound"].tolist() == ["people marching", "playing tennis"]
    assert "no clip of class 'playing tenis'" in line_of(of(tmp_path, WHOLE, classes=["playing tenis"]))


def test_a_typo_in_the_list_is_a_class_too_many(tmp_path, shared):
    content = (shared / "manifests/vggsound/test.csv").read_text()
    (tmp_path / "list.csv").write_text(content.replace("playing tennis", "playing tenis", 1))
    said = line_of(Vggsound(["sound"], csv={"test": str(tmp_path / "list.csv")}))
    assert "expected the owner's 309 classes, got 310; the rarest: 'playing tenis' (1)" in said
    table = Vggsound(["sound"], csv={"test": str(tmp_path / "list.csv")}, partial=True).manifest()
    assert table["sound"].nunique() == 310


@pytest.mark.parametrize("header", ["", HEADER])
def test_starts_in_milliseconds_are_refused(tmp_path, header):
    rows = "".join(f"--0PQM4-hq{letter},{1000 * number},cat,train\n" for number, letter in enumerate("abcdefg"))
    assert "expected starts in seconds, got whole thousands only" in line_of(of(tmp_path, header + rows))
    assert len(of(tmp_path, header + rows + "--0PQM4-hqz,30,cat,train\n").manifest()) == 8


def test_starts_in_milliseconds_of_the_older_list_are_refused(tmp_path):
    rows = "".join(f"--0PQM4-hq{letter}_{1000 * number:06},cat\n" for number, letter in enumerate("abcdefg"))
    assert "milliseconds?" in line_of(of(tmp_path, rows, csv={"test": str(tmp_path / "list.csv")}))
