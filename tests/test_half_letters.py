"""Half a surrogate pair, which JSON, YAML and names of files bring in and no table can hold: one line where it comes
in."""

from argparse import Namespace

import numpy as np
import pandas as pd
import pytest

import modalens
from modalens.commands._columns import rows_of
from modalens.config.mistakes import mistakes
from modalens.config.resolve import resolve
from modalens.curation import manifest
from modalens.datasets._corpora import files
from modalens.utils.errors import UserError

HALF = "a\ud800"
CONFIG = {"name": "s", "dataset": {"name": "known_answer"}, "tasks": ["seen"]}


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ({"tasks": [HALF]}, "tasks[0]"),
        ({"models": {HALF: {"model": "late_fusion"}}}, "models"),
        ({"report": {"title": HALF}}, "report.title"),
        ({HALF: 1}, ""),
    ],
)
def test_in_a_config_it_is_one_line(part, where):
    with pytest.raises(UserError) as caught:
        resolve(CONFIG | part)
    assert str(caught.value) == f"config{where and f': {where}'}: expected text that UTF-8 can hold, got {HALF!r}"
    assert all(line.isascii() for line in mistakes(CONFIG | part)[0])


@pytest.mark.parametrize("column", ["model", "clip_id", "group", "label", "predicted", "replacement", "coalition"])
def test_in_a_table_of_predictions_it_is_one_line_that_names_the_row(column):
    row = {
        "model": "m",
        "clip_id": "c",
        "group": "g",
        "label": "x",
        "predicted": "y",
        "replacement": "",
        "coalition": "v",
    }
    table = pd.DataFrame([row, row | {"clip_id": "d"}], dtype=object)
    table.loc[1, column] = HALF
    clip = HALF if column == "clip_id" else "d"
    with pytest.raises(UserError) as caught:
        modalens.load_predictions(table)
    said = f"predictions: {column}: expected text that UTF-8 can hold, got {HALF!r} (clip {clip!r}, row 1)"
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "given",
    [
        {"labels": [HALF, "b"], "classes": [HALF, "b"]},
        {"clip_ids": [HALF, "b"]},
        {"groups": [HALF, "b"]},
        {"name": HALF},
        {"features": {HALF: np.eye(2)}},
    ],
)
def test_of_a_model_that_is_evaluated_it_is_one_line(given):
    features = given.pop("features", {"video": np.eye(2)})
    labels = given.pop("labels", ["a", "b"])
    with pytest.raises(UserError, match=r"evaluate: .*, got 'a\\ud800'"):
        modalens.evaluate(lambda rows: next(iter(rows.values())), features, labels, **given)


def test_as_a_task_or_title_of_a_page_it_is_one_line(tmp_path):
    for given in ({"predictions": {HALF: []}}, {"predictions": [], "title": HALF}):
        with pytest.raises(
            UserError, match=r"report: (task|title): expected a text that UTF-8 can hold, got 'a\\ud800'"
        ):
            modalens.report(output=tmp_path / "page.html", **given)


def test_a_name_of_a_file_that_is_no_utf_8_is_one_line(tmp_path):
    try:
        (tmp_path / "a\udcff.wav").write_bytes(b"")
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    for call in (lambda: rows_of(tmp_path, [".wav"]), lambda: files(tmp_path, (".wav",), "dataset grid")):
        with pytest.raises(UserError, match=r"expected names of files in UTF-8, got '.*a\\udcff\.wav'; rename it"):
            call()


def test_of_a_data_set_it_is_one_line():
    class Odd:
        def manifest(self):
            return pd.DataFrame([dict.fromkeys([*manifest.COLUMNS, "seen"], HALF)], dtype=object)

    asked = Namespace(tasks=["seen"], columns=[], clip_ids=None, dataset={"name": "known_answer"})
    with pytest.raises(
        UserError, match=r"expected text that UTF-8 can hold in every cell of 'clip_id', got 'a\\ud800'"
    ):
        manifest._clips(Odd(), asked)
