"""Labels that differ in spelling only: told, never changed."""

import logging

import pandas as pd
import pytest

from modalens.curation import label_spelling, manifest
from modalens.datasets.folder import Folder

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    "labels",
    [
        ["Happy", "happy", "HAPPY"], [NFC, NFD], ["1", "1.0", "01"], ["Straße", "STRASSE"],
        ["very  happy", "very happy", "very_happy", "Very-Happy"], ["ﬁre", "fire"], ["-1", "-1.00"],
        ["happy", "hap\u200bpy", "happ\u00ady"], ["1", "1e0", "١"],
    ],
)  # fmt: skip
def test_spellings_of_one_label_are_counted_with_their_clips(labels):
    (said,) = label_spelling.remarks({**dict.fromkeys(labels, 3), "another": 1})
    assert said.startswith(f"{len(labels)} labels differ only in spelling from one another and are 1 classes")
    assert all(f"{label!r} (3)" in said for label in labels)


@pytest.mark.parametrize(
    "labels", [["happy", "sad"], ["1", "10"], ["1.5", "15"], ["dog", "dogs"], ["+", "*"], ["_", "x"], ["cafe", NFC]]
)
def test_labels_that_differ_in_more_are_not_mentioned(labels):
    assert label_spelling.remarks(dict.fromkeys(labels, 1)) == []


def test_spellings_of_a_missing_value_are_told_apart_from_classes():
    (said,) = label_spelling.remarks({"nan": 2, "NaN": 1, "None": 1, "NA": 4, "happy": 9})
    assert said.startswith("'NA' (4), 'NaN' (1), 'None' (1), 'nan' (2) count as classes; leave the cell empty")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("case_labels.csv", "4 labels differ only in spelling from one another and are 2 classes"),
        ("nan_labels.csv", "count as classes; leave the cell empty"),
    ],
)
def test_the_lists_found_to_go_wrong_get_one_line(shared, caplog, name, said):
    clips = Folder(["mood"], csv=str(shared / "found" / name)).manifest()
    with caplog.at_level(logging.WARNING):
        manifest.check(clips, ["mood"])
    assert len(caplog.messages) == 1
    assert "task 'mood'" in caplog.text
    assert said in caplog.text


def test_a_published_list_has_nothing_to_say(shared, caplog):
    clips = pd.read_csv(shared / "manifests/vggsound/test.csv", header=None, names=["file", "sound"], dtype=str)
    assert label_spelling.remarks(clips["sound"].value_counts().to_dict()) == []
    assert caplog.messages == []
