"""Which epoch is kept and why training stops, on histories written by hand."""

import math

import pytest

from modalens.training.history import LEAST_EPOCHS, best_epoch, stop_reason, summary

BUDGET = {"epochs": 10**6, "steps": 10**6}


def history(losses, steps=10, plain=None):
    return [
        {
            "epoch": float(number),
            "steps": float(steps * number),
            "validation_loss": (plain or losses)[number - 1],
            "validation_calibrated_loss": loss,
            "seconds": 0.5,
            "still_improving": 0.0,
        }
        for number, loss in enumerate(losses, 1)
    ]


def stopped_after(losses, per_epoch, **options):
    """Number of the epoch after which training stops, and why."""
    rows = history(losses, per_epoch)
    for number in range(1, len(rows) + 1):
        if reason := stop_reason(rows[:number], **{**BUDGET, **options}):
            return number, reason
    return None


def test_the_epoch_kept_has_the_lowest_calibrated_loss_whatever_overconfidence_does_to_the_plain_one():
    rows = history([1.3, 1.1, 0.9, 0.8, 0.85], plain=[1.3, 1.2, 1.6, 2.4, 3.0])
    assert best_epoch(rows) == 4
    assert best_epoch(history([1.0, 0.9, 0.9])) == 2, "the earlier of equals"


@pytest.mark.parametrize(("steps", "epochs"), [(3, 34), (10, 10), (20, 5), (400, LEAST_EPOCHS)])
def test_patience_is_counted_in_steps_and_no_fewer_than_five_epochs(steps, epochs):
    """Small sets have few steps in an epoch: an epoch of theirs says less."""
    losses = [1.0] * 3 + [0.5] + [0.6] * 100
    assert stopped_after(losses, steps, patience=100) == (4 + epochs, "patience")


def test_progress_too_small_to_matter_does_not_count_and_progress_after_a_pause_does():
    slow = [1.0 - 0.0001 * number for number in range(100)]
    assert stopped_after(slow, 10, patience=100) == (11, "patience")
    late = [1.0] + [1.2] * 9 + [0.8] + [1.2] * 50
    assert stopped_after(late, 10, patience=100) == (21, "patience")


def test_a_task_without_loss_left_is_solved():
    assert stopped_after([1.0, 0.1, 0.004, 0.003], 10, patience=100) == (3, "solved")


@pytest.mark.parametrize("budget", [{"epochs": 7}, {"steps": 70}, {"steps": 61}])
def test_what_only_the_budget_ends_was_still_improving(budget):
    assert stopped_after([1 / number for number in range(1, 50)], 10, patience=30, **budget) == (7, "budget")


def test_patience_that_ends_with_the_budget_is_patience():
    assert stopped_after([1.0] * 50, 10, patience=50, epochs=6) == (6, "patience")
    assert stop_reason([], patience=1, epochs=1, steps=1) == ""


def test_the_summary_is_of_the_kept_epoch_and_of_the_whole():
    rows = history([1.0, 0.5, 0.7])
    rows[-1]["still_improving"] = 1.0
    found = summary(rows)
    assert (found["best_epoch"], found["best_step"], found["epochs"], found["steps"]) == (2, 20, 3, 30)
    assert found["validation_calibrated_loss"] == 0.5
    assert found["still_improving"] == 1
    assert math.isclose(found["seconds"], 1.5)
    assert "epoch" not in found
