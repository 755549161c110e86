from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from modalens.stats.bootstrap import Bootstrap
from modalens.stats.metrics import METRICS, TOP, ConfusionCounts, CountAxes, confusion_metrics, count_confusions
from modalens.stats.significance import holm, paired_test


def frame_of(label, predicted, group=None, seed=0, log_probability=-1.0):
    group = np.arange(len(label)) if group is None else group
    columns = {"group": group, "seed": seed, "label": label, "predicted": predicted, "log_probability": log_probability}
    return pd.DataFrame(columns)


def sklearn_says(label, predicted):
    options = {"average": "macro", "zero_division": 0}
    return {
        "accuracy": sklearn_metrics.accuracy_score(label, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(label, predicted),
        "precision": sklearn_metrics.precision_score(label, predicted, **options),
        "recall": sklearn_metrics.recall_score(label, predicted, **options),
        "f1": sklearn_metrics.f1_score(label, predicted, **options),
    }


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("seed", range(30))
def test_metrics_equal_scikit_learns_also_where_a_class_is_never_true_or_never_predicted(seed):
    rng = np.random.default_rng(seed)
    classes = rng.integers(2, 7)
    size = rng.integers(1, 40)
    label, predicted = rng.integers(classes, size=size), rng.integers(classes, size=size)
    confusion = sklearn_metrics.confusion_matrix(label, predicted, labels=np.arange(classes))
    assert confusion_metrics(confusion.astype(float)) == pytest.approx(sklearn_says(label, predicted))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_a_bootstrap_replicate_equals_scikit_learn_on_the_drawn_clips():
    rng = np.random.default_rng(0)
    label, predicted, group = rng.integers(4, size=50), rng.integers(4, size=50), rng.integers(9, size=50)
    log_probability = -rng.random(50)
    table = frame_of(label, predicted, group, log_probability=log_probability)
    bootstrap = Bootstrap(9, 1, replicates=120)
    found = bootstrap.metrics(count_confusions(table, CountAxes.from_frame(table)))
    for replicate in (0, 1, 2, 119):
        drawn = np.repeat(np.arange(50), bootstrap.group_weights[replicate][group])
        wanted = sklearn_says(label[drawn], predicted[drawn])
        wanted["log_probability"] = log_probability[drawn].mean()
        assert {name: found[name][replicate, 0] for name in METRICS if name not in TOP} == pytest.approx(wanted)


def test_seeds_are_scored_apart_and_row_order_does_not_matter():
    label = ["a", "b", "a", "b"]
    table = pd.concat([frame_of(label, label, seed=3), frame_of(label, label[::-1], seed=8)], ignore_index=True)
    for rows in (table, table.sample(frac=1, random_state=1)):
        assert Bootstrap(4, 2, replicates=0).metrics(count_confusions(rows, CountAxes.from_frame(rows)))[
            "accuracy"
        ].tolist() == [[1.0, 0.0]]


def test_a_true_class_of_probability_zero_gives_a_finite_mean():
    table = frame_of(["a", "a"], ["a", "a"], log_probability=[-np.inf, 0.0])
    value = Bootstrap(2, 1, replicates=0).metrics(count_confusions(table, CountAxes.from_frame(table)))[
        "log_probability"
    ][0, 0]
    assert -44 < value < -43


def test_draws_repeat_with_the_seed_and_are_the_same_for_any_number_of_models():
    one, two, other = (
        Bootstrap(30, 3, 50, seed=4),
        Bootstrap(30, 5, 50, seed=4),
        Bootstrap(30, 3, 50, seed=5),
    )
    assert (one.group_weights == two.group_weights).all()
    assert (one.group_weights != other.group_weights).any()
    assert (one.group_weights.sum(axis=1) == 30).all()


def test_one_group_gives_no_interval_and_one_seed_gives_none_over_seeds():
    table = frame_of(["a", "b"], ["a", "a"], group=["only", "only"])
    lonely = Bootstrap(1, 1, 20)
    summary = lonely.summary(lonely.metrics(count_confusions(table, CountAxes.from_frame(table)))["accuracy"], "rate")
    assert all(np.isnan(value) for value in summary.values())
    table = frame_of(["a", "b"], ["a", "a"])
    pair = Bootstrap(2, 1, 20)
    summary = pair.summary(pair.metrics(count_confusions(table, CountAxes.from_frame(table)))["accuracy"], "rate")
    assert np.isfinite([summary["low"], summary["high"], summary["groups_low"]]).all()
    assert np.isnan([summary["seeds_low"], summary["seeds_high"], summary["seed_std"]]).all()


def test_clips_of_a_group_are_drawn_together():
    """Ten copies of each clip must not narrow the interval."""
    rng = np.random.default_rng(1)
    label, predicted = rng.integers(2, size=40), rng.integers(2, size=40)
    once, tenfold = frame_of(label, predicted), frame_of(*(np.tile(x, 10) for x in (label, predicted, np.arange(40))))
    bootstrap = Bootstrap(40, 1, 200)
    summaries = [
        bootstrap.summary(bootstrap.metrics(count_confusions(t, CountAxes.from_frame(t)))["accuracy"], "rate")
        for t in (once, tenfold)
    ]
    assert summaries[0] == pytest.approx(summaries[1], nan_ok=True)


def test_crossed_interval_is_wider_than_either_alone():
    rng = np.random.default_rng(2)
    values = Bootstrap(25, 6, 800)
    rates = enumerate(rng.uniform(0.2, 0.9, 6))
    tables = [frame_of(np.zeros(25, int), rng.random(25) < rate, seed=seed) for seed, rate in rates]
    table = pd.concat(tables).astype({"predicted": int})
    summary = values.summary(values.metrics(count_confusions(table, CountAxes.from_frame(table)))["accuracy"], "rate")
    width = summary["high"] - summary["low"]
    assert width > summary["groups_high"] - summary["groups_low"]
    assert width > summary["seeds_high"] - summary["seeds_low"]


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Groups of 4 clips share a difficulty; an interval over clips would cover far less."""
    rng = np.random.default_rng(3)
    groups, size, trials, covered = 50, 4, 100, {"group": 0, "clip": 0}
    units = {"group": np.repeat(np.arange(groups), size), "clip": np.arange(groups * size)}
    bootstraps = {
        "group": Bootstrap(groups, 1, 300),
        "clip": Bootstrap(groups * size, 1, 300),
    }
    for _ in range(trials):
        right = rng.random((groups, size)) < rng.beta(0.7, 0.3, groups)[:, None]
        for unit_name, bootstrap in bootstraps.items():
            table = frame_of(np.ones(groups * size, int), right.ravel().astype(int), units[unit_name])
            summary = bootstrap.summary(
                bootstrap.metrics(count_confusions(table, CountAxes.from_frame(table)))["accuracy"], "rate"
            )
            covered[unit_name] += summary["low"] <= 0.7 <= summary["high"]
    assert 0.90 <= covered["group"] / trials <= 0.99
    assert covered["clip"] / trials < 0.85


def simulated(draw, groups, seeds, rate, spread):
    """Right or wrong of each group's one clip by each seed (groups, seeds), of which `rate` is the truth.

    A clip has a difficulty that the seeds share, and a seed a level of its own.
    """
    scale = np.sqrt(1 + spread**2)
    clip, seed, rest = (
        draw.normal(size=(groups, 1)),
        spread * draw.normal(size=(1, seeds)),
        draw.normal(size=(groups, seeds)),
    )
    return stats.norm.ppf(rate) * scale + 0.8 * clip + 0.6 * rest + seed > 0


@pytest.mark.parametrize(
    ("groups", "seeds", "rate", "spread"),
    [
        (60, 3, 0.7, 0.3),
        (60, 5, 0.7, 0.3),
        (200, 10, 0.9, 0.2),
        (60, 5, 0.98, 0.1),
        (200, 3, 0.995, 0.1),
        (60, 1, 0.7, 0),
    ],
)
def test_the_interval_over_groups_and_seeds_covers_the_truth_also_of_few_seeds_and_near_one(
    groups, seeds, rate, spread
):
    draw = np.random.default_rng(groups + seeds)
    bootstrap = Bootstrap(groups, seeds, 200)
    covered = 0
    for _ in range(300):
        values = bootstrap.group_weights @ simulated(draw, groups, seeds, rate, spread) / groups
        low, high = bootstrap.interval(values, "rate")
        covered += low <= rate <= high
    # 0.91: what a true coverage of 0.95 falls below once in a thousand such runs.
    assert covered / 300 >= 0.91


def test_the_interval_over_seeds_is_students():
    values = np.tile([0.6, 0.7, 0.75], (50, 1))
    summary = Bootstrap(20, 3, 49).summary(values, "real")
    known = stats.t.interval(0.95, 2, values[0].mean(), stats.sem(values[0]))
    assert (summary["seeds_low"], summary["seeds_high"]) == pytest.approx(known)


def test_all_right_in_few_groups_is_no_certainty():
    values = np.ones((51, 5))
    bootstrap = Bootstrap(20, 5, 50)
    low, high = bootstrap.interval(values, "rate")
    assert high == 1
    assert 0.75 < low < 0.9
    summary = bootstrap.summary(values - values, "difference")
    assert summary["low"] == -summary["high"] < -0.05, (
        "that nothing changed in 20 groups does not prove that nothing can"
    )


def test_the_detectable_difference_is_found_four_times_in_five():
    draw, found = np.random.default_rng(5), 0
    bootstrap = Bootstrap(80, 1, 200)
    for _ in range(300):
        change = (draw.normal(0.15, 0.5, (80, 1)) > 0.5).astype(float) - (draw.random((80, 1)) > 0.9)
        summary = bootstrap.summary(bootstrap.group_weights @ change / 80, "difference")
        moved = change + summary["detectable"] - change.mean()
        again = bootstrap.summary(bootstrap.group_weights @ draw.choice(moved[:, 0], (80, 1)) / 80, "difference")
        found += again["low"] > 0
    assert 0.7 < found / 300 < 0.9


@pytest.mark.parametrize(("groups", "said"), [(5, False), (6, True)])
def test_no_size_is_promised_where_so_few_groups_cannot_show_any(groups, said):
    bootstrap = Bootstrap(groups, 3, 100)
    change = np.random.default_rng(0).normal(0.2, 0.1, (groups, 3))
    summary = bootstrap.summary(bootstrap.group_weights @ change / groups, "difference")
    assert np.isfinite(summary["detectable"]) == said
    assert np.isfinite([summary["low"], summary["high"]]).all()


def test_paired_test_is_exact_for_few_groups_and_equals_scipys():
    difference = np.array([3.0, 1.0, -1.0, 2.0, 0.0, 2.0])
    scipys = stats.permutation_test((difference,), np.sum, permutation_type="samples", n_resamples=np.inf)
    signs = np.array(list(product([-1, 1], repeat=6))) @ difference
    assert paired_test(difference) == pytest.approx((np.abs(signs) >= 7).mean())
    assert paired_test(difference) == pytest.approx(scipys.pvalue)


def test_paired_test_by_random_flips_is_near_the_normal_approximation_and_never_zero():
    difference = np.random.default_rng(0).normal(0.25, 1, 100)
    z = difference.sum() / np.sqrt((difference**2).sum())
    assert paired_test(difference) == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.01)
    assert paired_test(np.ones(100)) == pytest.approx(1e-4)


def test_paired_test_without_any_difference_is_one_and_with_one_group_is_empty():
    assert paired_test(np.zeros(20)) == 1.0
    assert np.isnan(paired_test(np.ones(1)))


def test_paired_test_rejects_at_most_as_often_as_it_says_when_nothing_differs():
    rng = np.random.default_rng(6)
    p = [paired_test(rng.integers(-2, 3, 40).astype(float), permutations=499) for _ in range(400)]
    assert np.mean(np.array(p) <= 0.05) <= 0.075


def test_holm_known_answer_and_not_a_numbers_do_not_count():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, np.nan, 0.5]).tolist() == pytest.approx([0.02, np.nan, 0.5], nan_ok=True)
    assert holm([]).tolist() == []


def test_memory_stays_bounded_for_twenty_thousand_groups():
    import tracemalloc

    rng = np.random.default_rng(0)
    label, predicted = rng.integers(34, size=20_000), rng.integers(34, size=20_000)
    table = frame_of(label, predicted)
    counts = count_confusions(table, CountAxes.from_frame(table))
    assert isinstance(counts, ConfusionCounts)
    tracemalloc.start()
    bootstrap = Bootstrap(20_000, 1, 200)
    bootstrap.metrics(counts)
    assert tracemalloc.get_traced_memory()[1] < 120e6
    tracemalloc.stop()
