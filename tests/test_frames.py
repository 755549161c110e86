import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pandas as pd
import psutil
import pytest
from _forms import VIDEO, options
from ffmpeg import ffmpeg
from filming import film, shown

from modalens.stages import decode
from modalens.utils import cli, hdf5
from modalens.utils.errors import UserError

EVEN = [40 * k for k in range(100)]


def command(tmp_path: Path, clips: Path, **more: object) -> list[str]:
    line = ["--clips", clips, "--output", tmp_path / "0.h5", "--status", tmp_path / "0.csv"]
    line += ["--record", tmp_path / "0.json"]
    return [*options("video", **VIDEO | more), *map(str, line)]


def table_of(tmp_path: Path, rows: list[str]) -> Path:
    path = tmp_path / "clips.csv"
    path.write_text("\n".join(["clip_id,status,cause,detail,path,start_s,end_s", *rows, ""]))
    return path


def test_rows_are_the_frames_and_bad_clips_stop_nothing(tmp_path: Path) -> None:
    good = film(tmp_path / "a.mp4", EVEN)
    page = tmp_path / "page.mp4"
    page.write_text("<html>")
    rows = [f"b,ok,,,{good},,", f"a,ok,,,{good},1,2", f"c,ok,,,{page},,", "d,failed,timeout,slow,,,"]
    cli.call(decode, command(tmp_path, table_of(tmp_path, rows)))
    status = pd.read_csv(tmp_path / "0.csv", dtype=str, keep_default_na=False).set_index("clip_id")
    assert status["cause"].to_dict() == {"a": "", "b": "", "c": "not_media", "d": "timeout"}
    assert set(status.loc[["a", "b"], "decoder"]) <= {"decord", "pyav"}
    assert set(status["time_error_s"]) == {""}
    rows_read = hdf5.read(tmp_path / "0.h5", ["a", "b"])
    assert (rows_read.shape, rows_read.dtype) == ((2, 4, 32, 32, 3), np.uint8)
    assert shown(rows_read[0]) == [28, 34, 40, 46]  # 1.125, 1.375, 1.625, 1.875 s
    assert shown(rows_read[1]) == [12, 37, 62, 87]
    wanted = {"form": "frames", "count": 4, "resize": 36, "crop": 32, "sampling": "uniform"}
    wanted |= {"rate": 0.0, "region": [0.0, 0.0, 1.0, 1.0]}
    assert hdf5.attributes(tmp_path / "0.h5") == wanted


def test_a_still_picture_is_used_and_noted_unless_it_is_refused(tmp_path: Path) -> None:
    flat = film(tmp_path / "a.mp4", [0, 1000, 2000])
    with av.open(str(tmp_path / "still.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        for _ in range(50):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    clips = table_of(tmp_path, [f"a,ok,,,{flat},,", f"b,ok,,,{tmp_path / 'still.mp4'},,"])
    for more, state, kept in ([], "ok", ["a", "b"]), (["--reject", "still_picture"], "failed", ["a"]):
        cli.call(decode, [*command(tmp_path, clips), *more])
        status = pd.read_csv(tmp_path / "0.csv", dtype=str, keep_default_na=False).set_index("clip_id")
        assert status["cause"].to_dict() == {"a": "", "b": "still_picture"}
        assert status["status"].to_dict() == {"a": "ok", "b": state}
        assert sorted(hdf5.ids(tmp_path / "0.h5")) == kept
    metrics = json.loads((tmp_path / "0.json").read_text())["runs"][0]["metrics"]
    assert metrics == {"clips": 2, "ok": 1, "decoded": 2, "failed_still_picture": 1}


def test_key_frames_say_how_far_off_they_are_and_one_of_them_is_no_still_picture(tmp_path: Path) -> None:
    many, single = film(tmp_path / "a.mp4", EVEN), film(tmp_path / "b.mp4", EVEN[:20], keys=250)
    held = tmp_path / "c.mkv"
    with av.open(str(held), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        for _ in range(50):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")))
        container.mux(stream.encode())
    clips = table_of(
        tmp_path, [f"a,ok,,,{many},,", f"b,ok,,,{single},,", f"c,ok,,,{held},,", "d,failed,timeout,slow,,,"]
    )
    cli.call(decode, command(tmp_path, clips, sampling="keyframe"))
    status = pd.read_csv(tmp_path / "0.csv", dtype=str, keep_default_na=False).set_index("clip_id")
    assert status["cause"].to_dict() == {"a": "", "b": "", "c": "still_picture", "d": "timeout"}
    assert status["key_frames"].to_dict() == {"a": "4", "b": "1", "c": "4", "d": ""}
    assert status.loc["b", "time_error_s"] == "0.7"  # 0 s in the place of the centre of the last of four parts
    assert float(status.loc["a", "time_error_s"]) < 0.24  # a key frame every 0.48 s at the farthest
    assert shown(hdf5.read(tmp_path / "0.h5", ["b"])[0]) == [0] * 4
    assert hdf5.attributes(tmp_path / "0.h5")["sampling"] == "keyframe"


def test_a_crop_larger_than_the_frame_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"crop \(40\) must not exceed resize \(36\)"):
        cli.call(decode, command(tmp_path, table_of(tmp_path, []), crop=40))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_stage_leaves_no_result_and_no_process_and_the_next_run_completes(tmp_path: Path) -> None:
    good = film(tmp_path / "a.mp4", EVEN)
    clips = table_of(tmp_path, [f"{number},ok,,,{good},," for number in range(2000)])
    line = [sys.executable, "-m", "modalens", "decode", *command(tmp_path, clips)]
    environment = {**os.environ, "PYTHONPATH": str(Path(decode.__file__).parents[2])}
    stage = subprocess.Popen(line, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            time.sleep(0.05)
            if list(tmp_path.glob(".0.h5.*.part")):
                break
        time.sleep(2)  # workers are busy now
        assert stage.poll() is None
    finally:
        stage.send_signal(signal.SIGKILL)
        stage.wait()
    assert not list(tmp_path.glob("0.*"))
    for _ in range(40):
        alive = [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _bytes(p)]
        if not alive:
            break
        time.sleep(0.1)
    assert not alive
    table_of(tmp_path, [f"a,ok,,,{good},,"])
    subprocess.run(line, env=environment, check=True, stderr=subprocess.DEVNULL)
    assert hdf5.ids(tmp_path / "0.h5") == ["a"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="stops a process that it finds in /proc")
def test_a_worker_that_is_stopped_from_outside_costs_its_clip_and_no_more(tmp_path: Path) -> None:
    slow = tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=8", "-c:v", "mpeg4", "-pix_fmt", "yuv420p", slow)
    clips = table_of(tmp_path, [f"{number:02d},ok,,,{slow},," for number in range(40)])
    line = [sys.executable, "-m", "modalens", "decode", *command(tmp_path, clips), "--timeout", "4"]
    environment = {**os.environ, "PYTHONPATH": str(Path(decode.__file__).parents[2])}
    stage = subprocess.Popen(line, env=environment, stderr=subprocess.DEVNULL)
    workers: list[psutil.Process] = []
    while not workers or sum(workers[0].cpu_times()[:2]) < 0.5:  # it has started, and decodes
        assert stage.poll() is None
        time.sleep(0.01)
        below = psutil.Process(stage.pid).children(recursive=True)
        workers = [one for one in below if os.getsid(one.pid) == one.pid]  # each leads a session of its own
    workers[0].suspend()
    assert stage.wait(120) == 0
    status = pd.read_csv(tmp_path / "0.csv", dtype=str, keep_default_na=False)
    assert Counter(status["cause"]) == {"": 39, "timeout": 1}
    assert hdf5.ids(tmp_path / "0.h5") == status.loc[status["status"] == "ok", "clip_id"].tolist()


@pytest.mark.slow
def test_a_clip_that_needs_more_memory_than_it_may_take_is_a_row(tmp_path: Path) -> None:
    wide, good = tmp_path / "wide.mp4", film(tmp_path / "a.mp4", EVEN)
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=7680x4320:r=5:d=1", "-c:v", "mpeg4", "-pix_fmt", "yuv420p", wide)
    clips = table_of(tmp_path, [f"a,ok,,,{good},,", f"b,ok,,,{wide},,", f"c,ok,,,{good},,"])
    cli.call(decode, [*command(tmp_path, clips), "--memory-mb", "256"])
    status = pd.read_csv(tmp_path / "0.csv", dtype=str, keep_default_na=False).set_index("clip_id")
    assert status["cause"].to_dict() == {"a": "", "b": "memory", "c": ""}
    assert status.loc["b", "detail"].startswith("exceeded 256 MB")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
