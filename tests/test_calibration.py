"""One temperature per seed: what it finds is known in closed form or by another optimizer."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from modalens.stats.calibration import PRIOR, fit_temperature


def sampled(count, classes, seed, spread=1.5):
    """Logits of a posterior, and labels drawn from it: calibrated as they are."""
    draw = np.random.default_rng(seed)
    logits = spread * draw.standard_normal((count, classes))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return logits, (chances.cumsum(1) > draw.random((count, 1))).argmax(1)


def cross_entropy(logits, labels):
    shifted = logits - logits.max(1, keepdims=True)
    return (np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("factor", [0.2, 1, 4, 100])
@pytest.mark.parametrize("classes", [2, 7])
def test_the_factor_by_which_logits_are_too_confident_is_found_and_the_loss_is_the_posteriors(factor, classes):
    logits, labels = sampled(4000, classes, seed=classes)
    (temperature,), (loss,) = fit_temperature((factor * logits)[None], labels)
    assert temperature == pytest.approx(factor, rel=0.1)
    assert loss == pytest.approx(cross_entropy(logits, labels), abs=2e-3)


@pytest.mark.parametrize(("count", "classes", "factor"), [(1, 2, 1), (12, 4, 30), (12, 4, 0.01), (300, 31, 5)])
def test_it_is_the_minimum_that_scipy_finds_of_loss_and_prior(count, classes, factor):
    draw = np.random.default_rng(count)
    logits, labels = factor * draw.standard_normal((3, count, classes)), draw.integers(0, classes, count)
    temperatures, losses = fit_temperature(logits, labels)
    for values, temperature, loss in zip(logits, temperatures, losses, strict=True):

        def penalised(logarithm, values=values):
            inverse = np.exp(logarithm)
            return cross_entropy(inverse * values, labels) + PRIOR / count * (inverse - 1 - logarithm)

        found = minimize_scalar(penalised, bounds=(-9, 9), method="bounded", options={"xatol": 1e-10})
        assert 1 / temperature == pytest.approx(np.exp(found.x), rel=1e-5)
        assert loss == pytest.approx(cross_entropy(values / temperature, labels))


def test_a_seeds_temperature_does_not_depend_on_the_seeds_beside_it():
    logits, labels = np.stack([sampled(50, 4, 0)[0] * factor for factor in (0.1, 1, 50)]), sampled(50, 4, 0)[1]
    together = fit_temperature(logits, labels)
    for place in range(3):
        alone = fit_temperature(logits[place : place + 1], labels)
        assert [part[place] for part in together] == [part[0] for part in alone]


def test_a_few_clips_that_are_all_correct_do_not_ask_for_infinite_confidence():
    labels = np.arange(12) % 4
    (temperature,), (loss,) = fit_temperature(np.eye(4)[labels][None], labels)
    assert 0.1 < temperature < 1
    assert 0 < loss < 0.1


@pytest.mark.parametrize("logits", [np.zeros((1, 6, 3)), np.full((1, 6, 3), -87.0)])
def test_logits_that_say_nothing_are_left_alone(logits):
    temperature, loss = fit_temperature(logits, np.arange(6) % 3)
    assert temperature == pytest.approx(1)
    assert loss == pytest.approx(np.log(3))


def test_logits_that_are_not_numbers_end_as_such():
    assert np.isnan(fit_temperature(np.full((2, 5, 3), np.nan), np.arange(5) % 3)[1]).all()
