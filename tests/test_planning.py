import numpy as np
import pytest

from modalens.stats.bootstrap import POWER, Bootstrap
from modalens.stats.planning import smallest_drop


@pytest.mark.parametrize("groups", [30, 100])
def test_a_drop_of_the_smallest_size_is_found_as_often_as_is_said(groups):
    draw, bootstrap = np.random.default_rng(0), Bootstrap(groups, 1, 200)
    drop, found = smallest_drop(groups), 0
    for _ in range(400):
        fell = (draw.random(groups) < drop).astype(float)
        values = (bootstrap.group_weights @ fell / groups)[:, None]
        found += bootstrap.interval(values, "difference")[0] > 0
    assert abs(found / 400 - POWER) < 0.07


def test_more_clips_show_smaller_drops_and_one_shows_none():
    sizes = [smallest_drop(groups) for groups in (1, 2, 10, 100, 1000, 100_000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 1.0
    assert sizes[-1] < 0.001
