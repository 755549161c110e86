import json
import sys
from pathlib import Path

import pytest
from filming import film

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop("frames", None)
    import frames

    return frames


def test_every_method_is_timed_on_the_same_frames(bench, tmp_path: Path, monkeypatch, capsys) -> None:
    clip, output = film(tmp_path / "a.mp4", [40 * k for k in range(50)]), tmp_path / "results" / "frames.json"
    monkeypatch.setattr(sys, "argv", ["frames.py", "--clips", str(clip), "--rounds", "2", "--output", str(output)])
    bench.main()
    result = json.loads(output.read_text())
    (row,) = result["clips"]
    assert result["machine"]["processor"]
    assert row["same_pixels"]["pyav"] is True
    assert set(row["ratio"]) == {name for name in bench.OTHERS if row["same_pixels"].get(name, True) is True}
    assert row["ratio_resized"]["read_pyav"] == 1
    assert all(ratio > 0 for ratio in row["ratio_resized"].values())
    assert 0 < row["keyframe"]["time_error_s"] < 0.48
    assert "a.mp4" in capsys.readouterr().out
