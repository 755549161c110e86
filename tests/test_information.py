"""Exact values worked out by hand, then laws that hold for any table."""

import numpy as np
import pytest

from modalens.stats.coalitions import coalitions, to_text
from modalens.stats.information import (
    Joint,
    bayes_accuracy,
    decomposition,
    log_probability,
    shapley,
    shares,
)

LOG_HALF = np.log(0.5)


def joint_of(label, symbols: int = 2) -> Joint:
    """Independent uniform audio and video symbols, label a function of both."""
    table = np.zeros((symbols * symbols, symbols, symbols))
    for audio in range(symbols):
        for video in range(symbols):
            table[label(audio, video), audio, video] = 1 / symbols**2
    return Joint(("audio", "video"), table)


def copied() -> Joint:
    """One bit that is label, sound and picture at once."""
    table = np.zeros((2, 2, 2))
    table[0, 0, 0] = table[1, 1, 1] = 0.5
    return Joint(("audio", "video"), table)


def random_joint(seed: int, modalities: tuple[str, ...] = ("audio", "video")) -> Joint:
    generator = np.random.default_rng(seed)
    table = generator.random((3, *generator.integers(1, 5, len(modalities)))) ** 4
    table[generator.random(table.shape) < 0.2] = 0
    table.flat[0] += 0.1
    return Joint(modalities, table / table.sum())


def test_a_copied_bit_is_all_redundant_and_shared_equally():
    assert decomposition(copied()) == pytest.approx(
        {"redundant": 1, "unique_audio": 0, "unique_video": 0, "synergy": 0}
    )
    assert bayes_accuracy(copied()) == pytest.approx({"": 0.5, "audio": 1, "video": 1, "audio,video": 1})
    assert log_probability(copied()) == pytest.approx({"": LOG_HALF, "audio": 0, "video": 0, "audio,video": 0})
    assert shapley(bayes_accuracy(copied())) == pytest.approx({"audio": 0.25, "video": 0.25})


def test_xor_is_all_synergy():
    joint = joint_of(lambda audio, video: audio ^ video)
    assert decomposition(joint) == pytest.approx({"redundant": 0, "unique_audio": 0, "unique_video": 0, "synergy": 1})
    assert bayes_accuracy(joint) == pytest.approx({"": 0.5, "audio": 0.5, "video": 0.5, "audio,video": 1})
    assert shares(shapley(bayes_accuracy(joint))) == pytest.approx({"audio": 0.5, "video": 0.5})


def test_and_has_the_published_decomposition():
    """H(Y) = H(1/4) = 0.8113, I(Y;A) = 0.8113 - 1/2 = 0.3113, all of it redundant; the rest, 1/2, synergy."""
    joint = joint_of(lambda audio, video: audio & video)
    assert decomposition(joint) == pytest.approx(
        {"redundant": 0.8112781 - 0.5, "unique_audio": 0, "unique_video": 0, "synergy": 0.5}, abs=1e-4
    )
    assert bayes_accuracy(joint) == pytest.approx({"": 0.75, "audio": 0.75, "video": 0.75, "audio,video": 1})


def test_each_of_two_bits_that_make_up_the_label_is_unique():
    joint = joint_of(lambda audio, video: 2 * audio + video)
    assert decomposition(joint) == pytest.approx({"redundant": 0, "unique_audio": 1, "unique_video": 1, "synergy": 0})


def test_a_label_that_only_the_picture_tells_is_unique_to_it():
    joint = joint_of(lambda _, video: video)
    assert decomposition(joint) == pytest.approx({"redundant": 0, "unique_audio": 0, "unique_video": 1, "synergy": 0})
    assert shares(shapley(log_probability(joint))) == pytest.approx({"audio": 0, "video": 1})


@pytest.mark.parametrize("seed", range(20))
def test_shapley_values_sum_to_full_minus_none(seed):
    joint = random_joint(seed, ("audio", "depth", "video"))
    for value_functions in (bayes_accuracy(joint), log_probability(joint)):
        assert sum(shapley(value_functions).values()) == pytest.approx(
            value_functions["audio,depth,video"] - value_functions[""]
        )


@pytest.mark.parametrize("seed", range(20))
def test_more_modalities_never_hurt_an_ideal_model(seed):
    joint = random_joint(seed, ("audio", "depth", "video"))
    for value_functions in (bayes_accuracy(joint), log_probability(joint)):
        for kept in coalitions(joint.modalities):
            key = to_text(kept)
            for superset in coalitions(joint.modalities):
                larger = to_text(superset)
                if set(kept) <= set(superset):
                    assert value_functions[larger] >= value_functions[key] - 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_the_parts_are_not_negative_and_sum_to_what_both_tell(seed):
    joint = random_joint(seed)
    parts, score = decomposition(joint), log_probability(joint)
    assert min(parts.values()) > -1e-5
    assert sum(parts.values()) == pytest.approx((score["audio,video"] - score[""]) / np.log(2))
    assert parts["redundant"] + parts["unique_audio"] == pytest.approx((score["audio"] - score[""]) / np.log(2))


def test_three_equal_players_share_equally():
    value_functions = {to_text(kept): float(len(kept) == 3) for kept in coalitions(("a", "b", "c"))}
    assert shapley(value_functions) == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})


def test_nothing_to_share_is_no_number():
    assert shares({"audio": 0.0, "video": 0.0}) == {"audio": None, "video": None}


def test_a_table_that_is_no_distribution_is_refused():
    with pytest.raises(ValueError, match="sum to one"):
        Joint(("audio",), np.ones((2, 2)))
    with pytest.raises(ValueError, match="axes"):
        Joint(("audio", "video"), np.full((2, 2), 0.25))
