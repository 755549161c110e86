"""The table of predictions: what is assumed, what is refused, and how a line of refusal reads."""

import re

import numpy as np
import pandas as pd
import pytest
from _checkout import ROOT
from synthetic import predictions

from modalens.measures.leave_one_out import LeaveOneOut
from modalens.stats.prediction_columns import COLUMNS
from modalens.stats.prediction_files import load_predictions
from modalens.stats.predictions import validate
from modalens.utils.errors import UserError

ACCURACIES = {"": 0.3, "audio": 0.6, "video": 0.8, "audio,video": 0.9}


@pytest.fixture
def table():
    made = predictions(ACCURACIES, ["cat", "dog"], groups=3, clips=2, seeds=2, replacements=["mean@input"])
    return made.drop(columns="condition")


def changed(table, row, column, value):
    column_of = table[column].astype(object)
    column_of[row] = value
    return table.assign(**{column: column_of})


def with_probabilities(table):
    """p_cat and p_dog that agree with predicted."""
    right = np.exp(table["log_probability"])
    cat = np.where(table["label"] == "cat", right, 1 - right)
    return table.assign(p_cat=cat, p_dog=1 - cat)


def line(table):
    with pytest.raises(UserError) as caught:
        validate(table)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_table_comes_back_as_it_was_and_is_not_touched(table):
    before = table.copy(deep=True)
    found = validate(table.assign(model="m"))
    pd.testing.assert_frame_equal(found[table.columns], table, check_dtype=False)
    pd.testing.assert_frame_equal(table, before)
    pd.testing.assert_frame_equal(validate(found), found)


def test_columns_left_out_are_assumed_as_the_contract_says(table):
    part = table[table["seed"] == 0].reset_index(drop=True)
    least = with_probabilities(part)[["clip_id", "coalition", "label", "p_cat", "p_dog"]]
    found = validate(least)
    assert set(found["model"]) == {"model"}
    assert set(found["seed"]) == {0}
    assert (found["group"] == found["clip_id"]).all()
    full = found["coalition"] == "audio,video"
    assert set(found.loc[full, "replacement"]) == {""}
    assert set(found.loc[~full, "replacement"]) == {"replaced"}
    np.testing.assert_allclose(found["log_probability"], part["log_probability"])
    assert (found["predicted"] == np.where(least["p_cat"] >= least["p_dog"], "cat", "dog")).all()


def test_text_is_text_whatever_type_it_came_as(table):
    numbers = table.assign(
        clip_id=table["clip_id"].str[4:].astype(int),
        label=(table["label"] == "dog").astype(float),
        predicted=(table["predicted"] == "dog").astype(int),
    )
    found = validate(numbers)
    assert set(found["label"]) == set(found["predicted"]) == {"0", "1"}
    assert ((found["label"] == found["predicted"]) == (table["label"] == table["predicted"])).all()
    assert found["clip_id"].iloc[1] == "1"


@pytest.mark.parametrize("written", ["video,audio", " audio , video ", "audio,video,"])
def test_names_of_a_coalition_are_sorted(table, written):
    found = validate(table.replace({"coalition": {"audio,video": written}}))
    assert set(found["coalition"]) == set(ACCURACIES)


def test_an_empty_cell_of_coalition_is_no_modality(table):
    gone = table.assign(**{name: table[name].replace("", None) for name in ("coalition", "replacement")})
    assert gone["coalition"].isna().any()
    pd.testing.assert_frame_equal(validate(gone), validate(table))


REFUSED = {
    "column gone": (lambda t: t.drop(columns="label"), "column 'label' is missing; columns: clip_id, group, seed"),
    "column misspelt": (lambda t: t.rename(columns={"label": "Label"}), "'label' is missing (did you mean 'Label'?)"),
    "no decision": (lambda t: t.drop(columns="predicted"), "column 'predicted' is missing"),
    "no row": (lambda t: t[:0], "the table has no row"),
    "positive": (
        lambda t: changed(t, 12, "log_probability", 0.7),
        "log_probability: expected numbers <= 0, got 0.7 (clip 'clip00000', row 12)",
    ),
    "word": (lambda t: changed(t, 3, "log_probability", "high"), "log_probability: expected numbers <= 0, got 'high'"),
    "not a number": (
        lambda t: changed(t, 3, "log_probability", np.nan),
        "log_probability: expected numbers <= 0, got nothing (clip 'clip00003', row 3)",
    ),
    "no label": (lambda t: changed(t, 5, "label", None), "label: expected a value in every row, got nothing"),
    "another label": (
        lambda t: changed(t, 14, "label", "cow"),
        "label: expected 'dog' as in the clip's other rows, got 'cow' (clip 'clip00002', row 14)",
    ),
    "another group": (lambda t: changed(t, 14, "group", "g"), "group: expected 'group00001' as in the clip's other"),
    "half a seed": (
        lambda t: changed(t, 4, "seed", 0.5),
        "seed: expected whole numbers below 2**63, got 0.5 (clip 'clip00004'",
    ),
    "a seed that int64 does not hold": (
        lambda t: t.assign(seed=np.uint64(2**63 + 5)),
        "seed: expected whole numbers below 2**63, got 9223372036854775813 (clip",
    ),
    "no name": (lambda t: t.assign(model=""), "model: expected a name, got ''"),
    "twice": (
        lambda t: pd.concat([t, t[7:8]]),
        "clip 'clip00001' has more than one row with model 'model', seed 0, coalition '', replacement 'mean@input' "
        "(rows 7 and 48)",
    ),
    "clip gone from one condition": (
        lambda t: t.drop(index=14),
        "clip 'clip00002' has no row with model 'model', seed 0, coalition 'audio', replacement 'mean@input'",
    ),
    "clip gone from the full condition": (
        lambda t: t.drop(index=2),
        "clip 'clip00002' has no row with model 'model', seed 0, coalition 'audio,video'; each condition holds every",
    ),
    "seed gone from one condition": (
        lambda t: t[~((t["seed"] == 1) & (t["coalition"] == "video"))],
        "clip 'clip00000' has no row with model 'model', seed 1, coalition 'video'",
    ),
    "no full condition": (
        lambda t: t[t["coalition"] != "audio,video"],
        "model 'model' has no row with all its modalities: expected 'audio,video' among '', 'audio', 'video'",
    ),
    "no modality": (lambda t: t[t["coalition"] == ""], "expected the names of the modalities among ''"),
    "full under a replacement": (
        lambda t: changed(t, 0, "replacement", "mean@input"),
        "replacement: expected '' where the coalition holds all modalities, got 'mean@input' (clip 'clip00000', row 0)",
    ),
    "withheld under none": (
        lambda t: changed(t, 6, "replacement", ""),
        "replacement: expected a name where modalities are withheld, got '' (clip 'clip00000', row 6)",
    ),
    "over one": (lambda t: t.assign(p_cat=1.5, p_dog=-0.5), "p_cat: expected numbers from 0 to 1, got 1.5"),
    "sum": (lambda t: t.assign(p_cat=0.5, p_dog=0.2), "p_<class>: expected a sum of 1, got 0.7 (clip 'clip00000', row"),
    "class without column": (lambda t: t.assign(p_cat=1.0), "no column 'p_dog' for the label 'dog'"),
    "two answers": (
        lambda t: with_probabilities(t).assign(log_probability=np.log(0.123)),
        "log_probability: expected the logarithm of p_",
    ),
    "rank of a right answer": (
        lambda t: t.assign(label_rank=2),
        "label_rank: expected 1 where the class that is predicted is the true one, got 2",
    ),
    "rank of a wrong answer": (
        lambda t: t.assign(label_rank=1),
        "label_rank: expected 2 or more where another class than the true one is predicted, got 1",
    ),
    "rank beyond the classes": (
        lambda t: with_probabilities(t).assign(predicted="dog", label_rank=np.where(t["label"] == "dog", 1, 99)),
        "by p_<class>, got 99",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_broken_contract_is_one_line_that_names_column_and_row(table, case):
    breaks, expected = REFUSED[case]
    found = line(breaks(table))
    assert found.startswith("predictions: ")
    assert expected in found


def test_probabilities_of_zero_and_one_are_allowed(table):
    sure = table.assign(p_cat=(table["label"] == "cat") * 1.0, p_dog=(table["label"] == "dog") * 1.0)
    found = validate(sure.drop(columns="log_probability"))
    assert (found["log_probability"] == 0).all()
    wrong = sure.assign(p_cat=sure["p_dog"], p_dog=sure["p_cat"]).drop(columns="log_probability")
    assert np.isneginf(validate(wrong)["log_probability"]).all()


def test_a_rank_agrees_with_probabilities_as_exactly_as_these_are_rounded(table):
    """Of four classes the true one is third; of two that round to nothing either may be before the other."""
    others = {"p_dog": 0.3, "p_cow": 0.5, "p_hen": 0.0}
    four = table.assign(label="cat", predicted="cow", p_cat=0.2, **others).drop(columns="log_probability")
    assert (validate(four.assign(label_rank=3))["label_rank"] == 3).all()
    assert "label_rank: expected 3 by p_<class>, got 4" in line(four.assign(label_rank=4))
    rounded = four.assign(p_cat=0.0, p_dog=0.5)
    for rank in (3, 4):
        validate(rounded.assign(label_rank=rank))
    assert "label_rank: expected 3 to 4 by p_<class>, got 2" in line(rounded.assign(label_rank=2))


def test_a_class_that_is_predicted_by_another_rule_than_the_largest_probability_is_first(table):
    """A threshold that was chosen, or one of two that are equal: what is made can be read again."""
    chosen = table.assign(p_cat=0.5, p_dog=0.4, p_cow=0.1).drop(columns="log_probability")
    for predicted in ("dog", "cow", "horse"):
        found = validate(chosen.assign(predicted=predicted))
        ranks = {"cat": 2, "dog": 1 if predicted == "dog" else 3}
        assert (found["label_rank"] == found["label"].map(ranks)).all()
        assert (validate(found)["label_rank"] == found["label_rank"]).all()
        validate(found.drop(columns=["p_cat", "p_dog", "p_cow"]))


def test_files_frames_and_folders_of_them_are_one_table(table, tmp_path):
    table = table.replace({"label": {"cat": "NA", "dog": "01"}, "predicted": {"cat": "NA", "dog": "01"}})
    table.to_parquet(tmp_path / "one.parquet")
    table.to_csv(tmp_path / "two.v2.csv", index=False)
    found = load_predictions(tmp_path)
    assert found["model"].value_counts().to_dict() == {"one": 48, "two.v2": 48}
    assert set(found.loc[found["model"] == "two.v2", "label"]) == {"NA", "01"}
    pd.testing.assert_frame_equal(
        load_predictions([tmp_path / "one.parquet", table.assign(model="two.v2")]),
        found,
        check_dtype=False,
    )


def test_a_file_for_each_condition_is_one_model(table, tmp_path):
    for number, (_, part) in enumerate(table.assign(model="m").groupby("coalition")):
        part.to_csv(tmp_path / f"{number}.csv", index=False)
    key = ["seed", "coalition", "clip_id"]
    found = load_predictions(tmp_path).sort_values(key, ignore_index=True)
    pd.testing.assert_frame_equal(found, validate(table.assign(model="m")).sort_values(key, ignore_index=True))


def test_probabilities_are_read_only_where_they_are_asked_for(table, tmp_path):
    with_probabilities(table).to_parquet(tmp_path / "m.parquet")
    assert {"p_cat", "p_dog"} <= set(load_predictions(tmp_path / "m.parquet"))
    bare = load_predictions(tmp_path / "m.parquet", probabilities=False)
    assert not {"p_cat", "p_dog"} & set(bare)
    with_probabilities(table).drop(columns="predicted").to_parquet(tmp_path / "m.parquet")
    made = load_predictions(tmp_path / "m.parquet", probabilities=False)
    assert set(made) == set(bare)
    assert {"predicted", "log_probability", "label_rank"} <= set(made)


def test_a_file_that_is_not_there_or_no_table_is_named(tmp_path):
    with pytest.raises(UserError, match=r"not found: .*gone\.parquet"):
        load_predictions(tmp_path / "gone.parquet")
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(UserError, match=r"bad\.parquet cannot be read as Parquet or CSV"):
        load_predictions(tmp_path / "bad.parquet")
    with pytest.raises(UserError, match="expected a Parquet or CSV file, got none in"):
        load_predictions([])


def test_a_measure_reads_what_the_check_lets_through(table):
    rows = LeaveOneOut(bootstrap=20)(validate(table))
    assert rows.loc[rows["metric"] == "accuracy", "drop"].notna().all()


def test_the_page_of_the_contract_says_what_the_code_says():
    text = (ROOT / "docs" / "predictions.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| `.*\|$", text, flags=re.M)]
    expected = [[f"`{c.name}`", c.type, c.meaning, c.absent or "an error"] for c in COLUMNS]
    assert rows == expected
