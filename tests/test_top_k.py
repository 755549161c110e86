"""Top-3 and top-5 accuracy, wherever metrics are, of tasks of more classes than that."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import top_k_accuracy_score

import modalens
from modalens.measures._predictions import Coalitions
from modalens.stats.leaderboard import leaderboard
from modalens.stats.metrics import CountAxes, count_confusions, rank_of_truth
from modalens.stats.predictions import validate
from modalens.utils.errors import UserError

TOP = ["top3_accuracy", "top5_accuracy"]


def told(probabilities, truth, seeds=1, coalition="audio"):
    """Predictions of clips, each a group of its own, from probabilities (N, C)."""
    names = [f"c{index}" for index in range(probabilities.shape[1])]
    frame = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in names])
    frame = frame.assign(clip_id=[f"clip-{index}" for index in range(len(frame))], coalition=coalition)
    frame = frame.assign(label=[names[index] for index in truth])
    return pd.concat([frame.assign(seed=seed) for seed in range(seeds)])


def of_two_modalities(classes, clips=60):
    draw, truth = np.random.default_rng(1), np.arange(clips) % classes
    parts = [told(draw.dirichlet(np.ones(classes), clips), truth, 2, kept) for kept in ("", "a", "a,b", "b")]
    return pd.concat(parts)


def test_top_k_accuracy_is_scikit_learns_and_its_first_place_is_accuracy():
    draw = np.random.default_rng(0)
    probabilities, truth = draw.dirichlet(np.ones(8), 200), draw.integers(0, 8, 200)
    table = validate(told(probabilities, truth))
    counts = count_confusions(table, CountAxes.from_frame(table))
    found = counts.metrics(np.ones((1, 200), np.uint16))
    for most in (3, 5):
        wanted = top_k_accuracy_score(truth, probabilities, k=most, labels=np.arange(8))
        assert found[f"top{most}_accuracy"][0, 0] == pytest.approx(wanted)
    assert found["accuracy"][0, 0] == pytest.approx((table["label_rank"] == 1).mean())
    assert counts.per_group("accuracy").sum() == (table["label_rank"] == 1).sum()
    assert counts.per_group("log_probability").sum() == pytest.approx(table["log_probability"].sum())


def test_of_equally_likely_classes_the_first_is_named_and_ranked_first():
    values = np.array([[0.25, 0.25, 0.25, 0.25], [0.1, 0.4, 0.4, 0.1]])
    assert rank_of_truth(values, np.array([2, 2])).tolist() == [3, 2]
    assert rank_of_truth(values, np.array([0, 1])).tolist() == [1, 1]


@pytest.mark.parametrize(("classes", "wanted"), [(3, []), (4, TOP[:1]), (6, TOP)])
def test_leaderboard_and_measures_tell_top_k_accuracy_of_more_classes_only(classes, wanted):
    draw = np.random.default_rng(1)
    truth = np.arange(60) % classes
    tables = {name: validate(told(draw.dirichlet(np.ones(classes), 60), truth, 2)) for name in ("one", "other")}
    board = leaderboard(tables, "one", replicates=20)
    assert [name for name in board if name.startswith("top") and not name.endswith("_std")] == wanted
    for name in wanted:
        own = tables["one"]["label_rank"] <= int(name[3])
        assert board.set_index("model").loc["one", name] == pytest.approx(own.mean())
    drops = modalens.leave_one_out(of_two_modalities(classes), bootstrap=10)
    assert [name for name in drops["metric"].unique() if name.startswith("top")] == wanted
    assert (drops.loc[drops["metric"].isin(wanted), "full"] >= drops["full"].min()).all()


def test_what_cannot_be_ranked_is_left_out_and_is_one_line_where_nothing_else_was_asked():
    table = of_two_modalities(6)
    named = validate(table).drop(columns=[name for name in table if name.startswith("p_")] + ["label_rank"])
    assert not modalens.leave_one_out(named, bootstrap=10)["metric"].str.startswith("top").any()
    with pytest.raises(UserError, match=r"top5_accuracy needs more than 5 classes, and label_rank or p_<class>"):
        modalens.leave_one_out(named, metrics=["top5_accuracy"], bootstrap=10)
    with pytest.raises(UserError, match=r"label_rank: expected whole numbers from 1 on, got 0"):
        validate(named.assign(label_rank=0))


def test_a_shapley_table_of_top_3_accuracy_sums_to_full_minus_none():
    table = modalens.shapley(of_two_modalities(6), value_functions=["top3_accuracy"], bootstrap=10)
    used = table[table["notion"] == "used"]
    assert used["value"].sum() == pytest.approx(used["full"].iloc[0] - used["none"].iloc[0])


def test_a_guess_by_shares_is_among_the_first_as_often_as_these_classes_are():
    truth = np.array([0] * 4 + [1] * 3 + [2] * 2 + [3])
    table = validate(told(np.full((10, 4), 0.25), truth)).assign(model="m", replacement="")
    chance = Coalitions(table, "m", replicates=10).chance()
    assert chance["top3_accuracy"][0].mean() == pytest.approx(0.9)
    assert chance["accuracy"][0].mean() == pytest.approx(0.4)


@pytest.mark.slow
def test_the_page_of_predictions_has_a_column_for_it_where_there_are_more_classes(tmp_path):
    pages = {}
    for classes in (3, 6):
        path = modalens.report(of_two_modalities(classes), tmp_path / f"{classes}.html", bootstrap=10)
        pages[classes] = path.read_text(encoding="utf-8")
    assert "<th>Top-5 Acc.</th>" in pages[6]
    assert "Top-3 Acc." not in pages[3]
