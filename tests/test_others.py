"""Charts of measures that the page does not know: each row is named by what it is about."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from modalens.reporting.others import chart, of_pairs

pytest.importorskip("altair")


def drawn(name, rows):
    """What a chart of model `first` shows before anybody chooses -> its rows, and the still drawing's text."""
    study = SimpleNamespace(measure=lambda _: rows, headline=lambda _: "first", replacement="mean@fusion")
    made = chart(study, "task", name)
    spec = json.loads(made.spec)
    chosen = {one["name"].removesuffix("_chosen"): one["value"] for one in spec.get("params", ()) if "bind" in one}
    data = pd.DataFrame(max(spec["datasets"].values(), key=len))
    for column, value in chosen.items():
        data = data[data[column].isin([value, ""])]
    return data, made.svg


def of_quantities(model):
    """As length_contribution has them: what a model reaches is of no replacement, a share of it is."""
    rows = [{"quantity": "performance", "modality": None, "replacement": None, "value": 0.9}]
    for replacement in ("blank@input", "mean@fusion"):
        rows += [{"quantity": "shapley", "modality": "audio", "replacement": replacement, "value": 0.5}]
    return pd.DataFrame(rows).assign(task="task", model=model, lengths=model, low=0.3, high=0.95)


@pytest.mark.parametrize("name", ["length_contribution", "of_a_plugin"])
def test_a_chart_shows_something_before_anybody_chooses(name):
    data, still = drawn(name, of_quantities("first"))
    assert list(data["value"]) == [0.9]
    assert "quantity: performance" in still, "a drawing without menus says what they begin with"


def test_rows_that_have_no_replacement_stay_whatever_replacement_is_chosen():
    rows = of_quantities("first").assign(quantity="value")
    assert list(drawn("of_a_plugin", rows)[0]["value"]) == [0.9, 0.5]


def test_a_measure_that_compares_models_is_drawn_of_all_and_another_of_one():
    rows = pd.concat([of_quantities("first"), of_quantities("second")])
    assert list(drawn("length_contribution", rows)[0]["row"]) == ["first", "second"]
    assert len(drawn("of_a_plugin", rows)[0]) == 1


def test_a_row_of_one_modality_is_not_called_a_pair():
    rows = pd.DataFrame({"modality": ["all", "audio", "audio"], "other": ["", None, "video"], "value": [1.0, 2.0, 3.0]})
    assert list(of_pairs(rows)["modality"]) == ["all", "audio", "audio and video"]


def test_words_of_the_first_and_of_the_second_modality_name_theirs():
    parts = ["redundant", "unique", "unique_other", "synergy"]
    rows = pd.DataFrame({"modality": "audio", "other": "video", "part": parts, "value": 0.5, "clear": True})
    assert list(of_pairs(rows)["part"]) == ["redundant", "unique: audio", "unique: video", "synergy"]
