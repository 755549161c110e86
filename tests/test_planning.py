import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from modalens.stats.bootstrap import POWER, Bootstrap
from modalens.stats.planning import least_drop, smallest_drop, smallest_drop_of_r2
from modalens.stats.significance import FEWEST_GROUPS, paired_test


@pytest.mark.parametrize("groups", [30, 100])
def test_a_drop_of_the_smallest_size_is_found_as_often_as_is_said(groups):
    draw, bootstrap = np.random.default_rng(0), Bootstrap(groups, 1, 200)
    drop, found = smallest_drop(groups), 0
    for _ in range(400):
        fell = (draw.random(groups) < drop).astype(float)
        values = (bootstrap.group_weights @ fell / groups)[:, None]
        found += bootstrap.interval(values, "difference")[0] > 0
    assert abs(found / 400 - POWER) < 0.07


@pytest.mark.parametrize("groups", [30, 200])
def test_a_fall_of_r2_of_the_smallest_size_is_found_at_least_as_often_as_is_said(groups):
    """A modality that explains as much of the labels as that, and is withheld."""
    draw, drop, found = np.random.default_rng(0), smallest_drop_of_r2(groups), 0
    for _ in range(1000):
        told, rest = draw.normal(0, drop**0.5, groups), draw.normal(0, (1 - drop) ** 0.5, groups)
        found += ttest_1samp((told + rest) ** 2 - rest**2, 0).statistic > t.ppf(0.975, groups - 1)
    assert POWER - 0.04 < found / 1000 < (0.98 if groups < 100 else 0.87)


def test_more_clips_show_smaller_drops_and_one_shows_none():
    for smallest in (least_drop, smallest_drop, smallest_drop_of_r2):
        sizes = [smallest(groups) for groups in (1, 2, 10, 100, 1000, 100_000)]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] == 1.0
        assert sizes[-1] < 0.001


@pytest.mark.parametrize("groups", [FEWEST_GROUPS - 1, FEWEST_GROUPS])
def test_so_few_groups_as_no_paired_test_can_tell_apart_promise_nothing(groups):
    """Every group differs in the same direction: no set of so many can say more."""
    reached = paired_test(np.ones(groups)) < 0.05
    assert reached == (smallest_drop(groups) < 1)


@pytest.mark.parametrize("groups", [10, 100])
def test_no_drop_below_the_least_is_shown_however_alike_the_clips_and_seeds_are(groups):
    bootstrap = Bootstrap(groups, 3, 200)

    def shown(drop):
        """All clips lose the same."""
        values = np.full((len(bootstrap.group_weights), 3), drop)
        return bootstrap.interval(values, "difference")[0] > 0

    assert not shown(0.999 * least_drop(groups))
    assert shown(1.2 * least_drop(groups))
