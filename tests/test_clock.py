"""Results that bear times to come."""

import os
import time

from modalens.config import clock

DAY = 24 * 3600


def test_times_to_come_are_brought_back_in_their_order_and_no_other_time_is_touched(tmp_path):
    now = time.time()
    times = {"earlier": now - DAY, "just now": now - 2, "a": now + DAY, "b": now + DAY + 1, "c": now + 3 * DAY}
    times |= {"clips/media/clip.mp4": now + DAY}
    for name, stamp in times.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (stamp, stamp))
    (tmp_path / "link").symlink_to("nowhere")
    assert clock.bring_back(tmp_path) == 3
    found = {name: (tmp_path / name).stat().st_mtime for name in times}
    assert all(found[name] == times[name] for name in ("earlier", "clips/media/clip.mp4"))
    assert found["earlier"] < found["a"] < found["b"] < found["c"] <= time.time()
    assert clock.bring_back(tmp_path) == 0


def test_a_study_without_a_folder_has_none(tmp_path):
    assert clock.bring_back(tmp_path / "none") == 0
