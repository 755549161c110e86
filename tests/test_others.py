"""Charts of measures that the page does not know: each row is named by what it is about."""

import pandas as pd
import pytest

from modalens.reporting.others import of_pairs

pytest.importorskip("altair")


def test_a_row_of_one_modality_is_not_called_a_pair():
    rows = pd.DataFrame({"modality": ["all", "audio", "audio"], "other": ["", None, "video"], "value": [1.0, 2.0, 3.0]})
    assert list(of_pairs(rows)["modality"]) == ["all", "audio", "audio and video"]


def test_words_of_the_first_and_of_the_second_modality_name_theirs():
    parts = ["redundant", "unique", "unique_other", "synergy"]
    rows = pd.DataFrame({"modality": "audio", "other": "video", "part": parts, "value": 0.5, "clear": True})
    assert list(of_pairs(rows)["part"]) == ["redundant", "unique: audio", "unique: video", "synergy"]
