import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import predictions

from modalens.stages import leaderboard as stage
from modalens.stats import significance
from modalens.stats.leaderboard import judged, leaderboard
from modalens.tracking import records
from modalens.utils import cli
from modalens.utils.errors import UserError

CLASSES = ["NA", "01", "red"]


def planted(accuracy, seed=1, **sizes):
    """Full-input predictions that are right with this probability; another seed draws other clips right."""
    sizes = {"groups": 60, "clips": 2, "seeds": 5} | sizes
    labels = predictions({"audio,video": 1.0}, CLASSES, replacements=[], **sizes)
    draw = np.random.default_rng(seed)
    right = draw.random(len(labels)) < accuracy
    others = {"NA": "01", "01": "red", "red": "NA"}
    return labels.assign(predicted=labels["predicted"].where(right, labels["label"].map(others)))


def board(models, reference="reference", **options):
    return leaderboard(models, reference, **({"replicates": 200} | options)).set_index("model")


def test_identical_models_differ_by_nothing_with_p_one_and_share_a_rank():
    frame = planted(0.7)
    table = board({"reference": frame, "copy": frame.sample(frac=1, random_state=0)})
    copy = table.loc["copy"]
    assert copy["difference"] == 0
    assert copy["difference_low"] == -copy["difference_high"] < 0, "no difference in these groups is no proof"
    assert copy[["p", "p_holm"]].tolist() == [1, 1]
    assert table["rank"].tolist() == [1.5, 1.5]
    assert table["verdict"].tolist() == ["reference", "not distinguishable"]


def test_a_model_right_on_every_clip_beats_chance_and_chance_is_worse_than_it():
    models = {"reference": planted(1 / 3), "all_right": planted(1.0)}
    table = board(models)
    best = table.loc["all_right"]
    assert table.index.tolist() == ["all_right", "reference"]
    assert (best["accuracy"], best["accuracy_std"], best["rank"], best["verdict"]) == (1, 0, 1, "better")
    assert best["difference"] == pytest.approx(2 / 3, abs=0.08)
    assert best["difference_low"] < best["difference"] < best["difference_high"]
    assert board(models, "all_right").loc["reference", "verdict"] == "worse"


def test_a_small_difference_is_not_distinguishable_and_never_a_win():
    table = board({"reference": planted(0.70, 1), "luckier": planted(0.71, 2), "unluckier": planted(0.69, 3)})
    assert set(table["verdict"]) == {"reference", "not distinguishable"}


def test_the_luck_of_seeds_alone_is_no_win():
    """Two equal ways of training whose seeds scatter widely, on so many clips that each model's accuracy is certain."""
    draw, wins, over_groups = np.random.default_rng(0), 0, 0
    wrong = planted(0, groups=400, clips=1)
    for _ in range(20):
        models = {}
        for name in ("reference", "equal"):
            rate = wrong["seed"].map(dict(enumerate(0.8 + draw.normal(0, 0.06, 5))))
            right = draw.random(len(wrong)) < rate
            models[name] = wrong.assign(predicted=wrong["predicted"].where(~right, wrong["label"]))
        row = board(models, replicates=0).loc["equal"]
        wins += row["verdict"] != "not distinguishable"
        over_groups += row["p_groups"] < 0.05
    assert wins <= 2
    assert over_groups > 5  # what a test over clips alone would have claimed


def test_p_is_the_larger_of_both_tests_and_holm_is_over_the_tasks_comparisons():
    models = {"reference": planted(0.6), **{f"m{index}": planted(0.6 + 0.1 * index, 5 + index) for index in range(4)}}
    table = board(models)
    assert np.isnan(table.loc["reference", "p"])
    assert np.isnan(table.loc["reference", "p_holm"])
    others = table.drop(index="reference")
    assert (others["p"] == others[["p_groups", "p_seeds"]].max(axis=1)).all()
    # By hand: the smallest of four p-values times 4, the next times 3 ..., never falling, at most 1.
    order = others["p"].sort_values()
    by_hand, least = {}, 0.0
    for name, p, factor in zip(order.index, order, (4, 3, 2, 1), strict=True):
        least = max(least, min(1.0, factor * p))
        by_hand[name] = least
    assert others["p_holm"].to_dict() == pytest.approx(by_hand)
    name = "m2"
    hits = {key: (frame["label"] == frame["predicted"]).astype(int) for key, frame in models.items()}
    difference = models[name].assign(d=hits[name] - hits["reference"])
    assert table.loc[name, "p_groups"] == significance.paired_test(
        difference.groupby("group")["d"].sum().to_numpy(float)
    )
    assert table.loc[name, "p_seeds"] == pytest.approx(
        significance.seed_test(difference.groupby("seed")["d"].mean().to_numpy())
    )


def test_a_win_that_does_not_outlive_holm_is_not_distinguishable():
    assert significance.holm([0.03, 0.5])[0] > 0.05
    alone = {"reference": planted(0.6, 1), "a": planted(0.68, 3)}
    crowd = alone | {f"m{index}": planted(0.6, 10 + index) for index in range(20)}
    one, many = (board(models).loc["a"] for models in (alone, crowd))
    assert one["p"] == many["p"]
    assert (one["verdict"], many["verdict"]) == ("better", "not distinguishable")


def test_the_comparisons_of_all_tasks_are_one_family():
    alone = leaderboard({"reference": planted(0.6, 1), "a": planted(0.68, 3)}, "reference")
    rest = [
        leaderboard({"reference": planted(0.6, 1), "b": planted(0.6, 10 + task)}, "reference") for task in range(20)
    ]
    together = judged(pd.concat([alone, *rest], ignore_index=True)).set_index("model")
    assert alone.set_index("model").loc["a", "verdict"] == "better"
    assert together.loc["a", "verdict"] == "not distinguishable"
    assert together.loc["a", "p_holm"] == pytest.approx(min(1, 21 * together.loc["a", "p"]))
    assert (together.loc["reference", "verdict"] == "reference").all()
    assert together.loc["reference", "p_holm"].isna().all()


def test_the_test_over_seeds_is_scipys_paired_one_and_sure_where_nothing_varies():
    one, other = np.random.default_rng(0).normal([[0.7], [0.72]], 0.02, (2, 5))
    assert significance.seed_test(one - other) == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert [significance.seed_test(np.full(5, value)) for value in (0.0, 0.2)] == [1, 0]
    assert np.isnan(significance.seed_test(np.ones(1)))


def test_pairing_narrows_the_interval_of_a_difference():
    frame = planted(0.6)
    wrong = np.flatnonzero(frame["predicted"] != frame["label"])[::6]
    better = frame.copy()
    better.loc[wrong, "predicted"] = better.loc[wrong, "label"]
    row = board({"reference": frame, "better": better}).loc["better"]
    assert row["difference"] == pytest.approx(len(wrong) / len(frame))
    assert row["difference_high"] - row["difference_low"] < 0.85 * (row["high"] - row["low"])
    assert row["verdict"] == "better"


def test_one_seed_is_tested_over_groups_and_one_group_and_seed_not_at_all():
    one = {"seeds": 1}
    row = board({"reference": planted(0.4, **one), "b": planted(0.95, 2, **one)}).loc["b"]
    assert np.isnan(row["p_seeds"])
    assert row["p"] == row["p_groups"]
    assert row["verdict"] == "better"
    least = {"seeds": 1, "groups": 1, "clips": 9}
    row = board({"reference": planted(0.4, **least), "b": planted(0.95, 2, **least)}).loc["b"]
    assert np.isnan(row[["p", "low", "difference_low", "accuracy_std"]].astype(float)).all()
    assert row["verdict"] == "untested"


def test_other_clips_other_seeds_and_an_unknown_reference_are_refused():
    frame = planted(0.7)
    for other in (frame[frame["seed"] > 0], frame[frame["clip_id"] != "clip00003"], pd.concat([frame, frame[:1]])):
        with pytest.raises(UserError, match="'b' and 'reference' were not tested on the same clips and seeds"):
            board({"reference": frame, "b": other})
    with pytest.raises(UserError, match=r"report.model: 'late' is none of reference"):
        board({"reference": frame}, "late")


def test_the_stage_reads_the_full_condition_and_writes_a_table_and_a_run_a_model(tmp_path):
    folder = tmp_path / "evaluate" / "seen"
    folder.mkdir(parents=True)
    accuracies = {"": 0.3, "audio": 0.4, "video": 0.5, "audio,video": 0.9}
    predictions(accuracies, CLASSES).to_parquet(folder / "b.parquet")
    predictions({"": 0.3, "audio": 0.6}, CLASSES).to_parquet(folder / "a.parquet")
    command = ["--predictions", folder / "b.parquet", folder / "a.parquet", "--reference", "b", "--bootstrap", "50"]
    command += ["--output", tmp_path / "seen.csv", "--record", tmp_path / "seen.json", "--key", '{"task": "seen"}']
    cli.call(stage, [str(part) for part in command])
    table = pd.read_csv(tmp_path / "seen.csv")
    assert table["model"].tolist() == ["b", "a"]
    assert table["clips"].tolist() == [120, 120]
    assert table["accuracy"].tolist() == pytest.approx([0.9, 0.6], abs=0.06)
    assert set(table["task"]) == {"seen"}
    name, runs = records.read(tmp_path / "seen.json")
    assert name == "leaderboard"
    assert [run.key for run in runs] == [{"task": "seen", "model": model} for model in ("b", "a")]
    assert runs[0].params["verdict"] == "reference"
    assert runs[1].metrics["p_holm"] == pytest.approx(table["p_holm"][1])
    assert all(re.fullmatch(r"[\w\-. :/]+", metric) for run in runs for metric in run.metrics)


@pytest.mark.parametrize(("groups", "said"), [(4, False), (12, True)])
def test_no_size_is_promised_where_so_few_groups_cannot_show_any(groups, said):
    sizes = {"groups": groups, "clips": 10}
    table = board({"reference": planted(0.2, **sizes), "other": planted(0.9, 2, **sizes)})
    assert table["detectable"].notna().any() == said
