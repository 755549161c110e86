"""Kinetics-Sounds: what each class list holds and yields, the three kinds of lists, and damaged ones."""

import json
import re

import pytest

from modalens.datasets.kinetics_sounds import OGM_GE, VARIANTS, KineticsSounds
from modalens.utils.errors import UserError

TRAIN = "--4-0ihtnBU_000058_000068,10,4\n-00nar1nEPc_000033_000043,10,13\n"
TEST = "-3Mwkq-7TV4_2,10,23\n"
KINETICS = """label,youtube_id,time_start,time_end,split,is_cc
singing,0wR5jVB-WPk,417,427,train,0
zumba,3caPS4FHFF8,36,46,train,0
tap dancing,3yaoNwz99xM,62,72,val,1
playing violin,6IbvOJxXnOo,47,57,test,0
"""


def line_of(dataset: KineticsSounds) -> str:
    with pytest.raises(UserError) as caught:
        dataset.manifest()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def of_kinetics(folder, content: str, **options) -> KineticsSounds:
    (folder / "kinetics.csv").write_text(content)
    return KineticsSounds(["action"], **({"csv": str(folder / "kinetics.csv"), "partial": True} | options))


def of_texts(folder, train: str = TRAIN, test: str = TEST, **options) -> KineticsSounds:
    (folder / "train.txt").write_text(train)
    (folder / "test.txt").write_text(test)
    lists = {"train": str(folder / "train.txt"), "test": str(folder / "test.txt")}
    return KineticsSounds(["action"], csv=lists, **({"partial": True} | options))


def test_class_lists_are_those_that_were_published(shared):
    published = json.loads((shared / "manifests/kinetics_sounds/class_list_variants.json").read_text())
    by_number = {name.split("_")[0]: classes for name, classes in published.items()}
    assert len(by_number) == len(VARIANTS)
    for name, classes in VARIANTS.items():
        number = name.rsplit("_", 1)[1]
        assert sorted(classes) == sorted(by_number[number]), name
        assert len(classes) == int(number)
    assert by_number["31"] == OGM_GE, "the order is the meaning of OGM-GE's numbers"


@pytest.mark.parametrize(
    ("variant", "classes", "clips"),
    [
        ("arandjelovic_34", 27, 15_023),
        ("crisscross_32", 31, 17_396),
        ("ogm_ge_31", 31, 17_396),
        ("kinetics700_30", 29, 16_332),
        ("exact_27", 27, 15_023),
    ],
)
def test_what_each_variant_yields_of_the_ogm_ge_lists(shared, variant, classes, clips):
    folder = shared / "manifests/kinetics_sounds"
    lists = {split: str(folder / f"ogm_ge_{split}.txt") for split in ("train", "test")}
    table = KineticsSounds(["action"], csv=lists, classes=variant).manifest()
    assert (table["action"].nunique(), len(table)) == (classes, clips)
    if variant == "ogm_ge_31":
        assert table["split"].value_counts().to_dict() == {"train": 14_799, "test": 2_597}


def test_the_three_kinds_of_lists_agree_where_they_overlap(shared):
    folder = shared / "manifests"
    texts = {split: str(folder / f"kinetics_sounds/ogm_ge_{split}.txt") for split in ("train", "test")}
    text = KineticsSounds(["action"], csv=texts).manifest().set_index("clip_id").sort_index()
    bml = str(folder / "kinetics_sounds/bml_KS_train_val.json")
    both = KineticsSounds(["action"], csv=bml).manifest().set_index("clip_id").sort_index()
    assert both[both["split"] != "validation"].equals(text)
    kinetics = KineticsSounds(["action"], csv=str(folder / "kinetics/kinetics-400_val.csv")).manifest()
    validation = both[both["split"] == "validation"]
    assert kinetics.set_index("clip_id").loc[validation.index].equals(validation)


def test_kinetics_own_lists_tell_their_split_themselves(tmp_path):
    table = of_kinetics(tmp_path, KINETICS).manifest()
    assert table["action"].tolist() == ["singing", "tap dancing", "playing violin"]
    assert table["split"].tolist() == ["train", "validation", "test"]
    assert table.iloc[0][["clip_id", "source", "end_s"]].tolist() == ["0wR5jVB-WPk_417", "youtube:0wR5jVB-WPk", "427"]
    no_header = KINETICS[KINETICS.index("\n") + 1 :]
    assert of_kinetics(tmp_path, no_header).manifest().equals(table)
    shorter = re.sub(r",(is_cc|[01])$", "", KINETICS, flags=re.M)
    assert of_kinetics(tmp_path, shorter).manifest().equals(table)
    assert of_kinetics(tmp_path, KINETICS.replace("tap dancing", "Tap_Dancing")).manifest().equals(table)


def test_text_lists_give_times_and_classes(tmp_path):
    table = of_texts(tmp_path).manifest()
    assert table["action"].tolist() == ["dribbling basketball", "playing harmonica", "shoveling snow"]
    assert table[["start_s", "end_s"]].to_numpy().tolist() == [["58", "68"], ["33", "43"], ["2", "12"]]
    assert table["split"].tolist() == ["train", "train", "test"]


@pytest.mark.parametrize(
    ("train", "line"),
    [
        (TRAIN.replace(",13\n", ",31\n"), "train.txt, line 2: '31' is no class; 0 to 30 are"),
        (TRAIN.replace(",13\n", ",1"), "train.txt, line 2: the file ends within a line"),
        (TRAIN.replace(",13\n", "\n"), "train.txt, line 2: 2 cells where 3 are wanted; the file is cut off"),
        (TRAIN.replace("10,13", "5,13"), "train.txt, line 2: 5 s where 10 are wanted"),
        (
            TRAIN.replace("-00nar1nEPc_", "#NAME?"),
            "train.txt, line 2: '#NAME?000033_000043' is not made of a YouTube id",
        ),
        (TRAIN.replace("000043", "000053"), "train.txt, line 2: the clip lasts 20 s"),
        (TRAIN + TRAIN, "train.txt, line 3: clip --4-0ihtnBU_58 is there already"),
        (TRAIN + TEST, "test.txt, line 1: clip -3Mwkq-7TV4_2 is there already"),
    ],
)
def test_a_damaged_text_list_is_one_line(tmp_path, train, line):
    assert line in line_of(of_texts(tmp_path, train))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("3yaoNwz99xM", "#NAME?", "line 4: '#NAME?' stands where the id was"),
        ("3yaoNwz99xM", "singing", "line 4: 'singing' is no YouTube id"),
        ("62,72", "62000,72000", "line 4: the clip lasts 10000 s"),
        ("62,72", "72,62", "line 4: the clip ends at 62 s, not after its start at 72 s"),
        (",val,1", ",vel,1", "line 4: 'vel' is no split"),
        (",test,0\n", ",te", "line 5: 'te' is no split"),
        (",47,57,test,0\n", ",4", "line 5: 3 cells where 5 are wanted; the file is cut off there"),
        ("tap dancing", "tap, dancing", "line 4: 7 cells where 5 are wanted"),
        ("label,", "name,", "has no column 'label'; there are: name, youtube_id"),
    ],
)
def test_a_damaged_kinetics_list_is_one_line(tmp_path, old, new, line):
    assert line in line_of(of_kinetics(tmp_path, KINETICS.replace(old, new)))


def test_a_cut_list_is_refused_unless_a_part_is_meant(tmp_path, shared):
    assert "kinetics.csv, line 5 ends with 4 classes" in line_of(of_kinetics(tmp_path, KINETICS, partial=False))
    assert "train.txt: 2 rows, the published list has 14,799" in line_of(of_texts(tmp_path, partial=False))
    whole = (shared / "manifests/kinetics_sounds/bml_KS.json").read_text()
    (tmp_path / "bml.json").write_text(whole[:700_000])
    line = line_of(KineticsSounds(["action"], csv=str(tmp_path / "bml.json")))
    assert "bml.json, line 1, column " in line
    assert "no readable JSON" in line


def test_half_a_letter_in_a_json_list_is_one_clear_line(tmp_path):
    (tmp_path / "list.json").write_text('{"\\ud83d\\ude00": {}, "\\ud800": {}}')
    line = line_of(KineticsSounds(["action"], csv=str(tmp_path / "list.json")))
    assert "list.json: '\\ud800' is half a letter" in line


def test_lists_without_a_split_or_with_another_one_are_refused(tmp_path, shared):
    of_texts(tmp_path)
    assert "tells no split" in line_of(KineticsSounds(["action"], csv=str(tmp_path / "train.txt"), partial=True))
    line = line_of(of_kinetics(tmp_path, KINETICS, csv={"train": str(tmp_path / "kinetics.csv")}))
    assert "kinetics.csv, line 4: split 'val' in a list that the config calls train" in line
    unlabelled = str(shared / "manifests/kinetics/kinetics-400_test.csv")
    assert "has no column 'label'" in line_of(KineticsSounds(["action"], csv=unlabelled))


def test_classes_of_ones_own_must_be_there(tmp_path):
    assert len(of_kinetics(tmp_path, KINETICS, classes=["zumba", "singing"]).manifest()) == 2
    line = line_of(of_kinetics(tmp_path, KINETICS, classes=["singin", "zumba"]))
    assert line.endswith("no clip of class 'singin'; did you mean 'singing'?")
    with pytest.raises(UserError, match="no classes are called 'ogm_ge_13'; did you mean 'ogm_ge_31'"):
        KineticsSounds(["action"], csv="x", classes="ogm_ge_13")
    with pytest.raises(UserError, match="has one task"):
        KineticsSounds(["action", "object"], csv="x")
