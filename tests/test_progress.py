import pytest

from modalens.utils import progress as module
from modalens.utils.progress import line, progress


def test_a_log_gets_one_line_for_a_short_loop(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(50), "frames", "clips")) == list(range(50))
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "\r" not in told
    assert told.startswith("frames: 50/50 clips")


def test_a_log_of_a_long_loop_is_told_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000))  # every look at the clock is a second later
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    assert sum(1 for _ in progress(100, "frames", "clips")) == 100
    told = capsys.readouterr().err.splitlines()
    assert 5 <= len(told) <= 6
    assert "left" in told[0]


def test_an_unknown_total_and_an_interrupted_loop_still_say_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    loop = progress(iter("abcdef"), "clips", "clips")
    for _ in range(4):
        next(loop)
    loop.close()  # type: ignore[attr-defined]
    assert capsys.readouterr().err.startswith("clips: 3 clips")


def test_time_left_follows_from_the_rate() -> None:
    assert line("frames", "clips", 30, 120, 20.0) == "frames: 30/120 clips, 1.5 clips/s, 01:00 left"
    assert line("frames", "clips", 120, 120, 80.0).endswith("01:20 taken")


def test_no_item_at_all_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([], "frames", "clips")) == []
    assert capsys.readouterr().err.startswith("frames: 0/0")
