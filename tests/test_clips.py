"""The stage of clips from files and from a web server that misbehaves (tests/badserver.py), run after run."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from badserver import BadServer, movie
from filming import RATE, film

from modalens.config import code_version
from modalens.media import fetch_log, ytdlp
from modalens.media.audio import read_waveform
from modalens.media.fetch_log import FetchRequest
from modalens.media.sources import DownloadOptions, Fetched
from modalens.media.status import media_name
from modalens.media.video import read_frames
from modalens.media.worker_pool import Outcome, Task
from modalens.stages import clips
from modalens.utils import cli
from modalens.utils.errors import UserError

pytestmark = pytest.mark.slow

EVEN = [40 * k for k in range(50)]
FAST = {"max_bytes": 3_000_000, "timeout_s": 5, "socket_timeout_s": 0.7, "retries": 0, "sleep_s": 0}
# Cutting starts ffmpeg several times, which a busy machine does not do in 5 s.
PATIENT = json.dumps(FAST | {"timeout_s": 60, "socket_timeout_s": 10})
needs_ffmpeg = pytest.mark.skipif(ytdlp.ffmpeg() is None, reason="neither imageio-ffmpeg nor an ffmpeg is installed")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with BadServer() as server:
        yield server


def options(folder: Path, rows: list[tuple[str, str, str, str]], **more: Any) -> list[str]:
    """Of one run in `folder` over rows of (clip_id, source, start_s, end_s)."""
    shard = folder / "shard.csv"
    pd.DataFrame(rows, columns=["clip_id", "source", "start_s", "end_s"]).to_csv(shard, index=False)
    named: dict[str, Any] = {
        "dataset": "folder", "shard": shard, "media": folder / "media", "download": json.dumps(FAST), "timeout": 20,
        "runs": folder / "runs.json", "output": folder / "0.csv", "metadata": folder / "0.jsonl",
        "record": folder / "0.json", **more,
    }  # fmt: skip
    return [text for name, value in named.items() for text in (f"--{name}", *([] if value is None else [str(value)]))]


def run(folder: Path, rows: list[tuple[str, str, str, str]], **more: Any) -> pd.DataFrame:
    cli.call(clips, options(folder, rows, **more))
    return table(folder)


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "0.csv", dtype=str, keep_default_na=False).set_index("clip_id")


def whole(names: list[str], server: BadServer) -> list[tuple[str, str, str, str]]:
    return [(name, server.url(name), "", "") for name in names]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without workers, whose start takes seconds."""

    def one_by_one(function: Callable, tasks: Iterable[Task], *_: Any, **__: Any) -> Iterator[tuple[str, Outcome]]:
        for clip_id, args in tasks:
            yield clip_id, Outcome(value=function(*args))

    monkeypatch.setattr(clips, "map_clips", one_by_one)


def test_one_row_a_clip_with_what_is_in_it_or_why_not(server: BadServer, tmp_path: Path) -> None:
    page = tmp_path / "page.mp4"
    page.write_text("<html>")
    here = film(tmp_path / "here.mp4", EVEN)
    rows = [
        ("z", str(here), "0.5", "1.5"),
        ("-a", server.url("good.mp4"), "", ""),
        ("../b", server.url("good.mp4?again"), "", ""),
        ("null", server.url("forbidden.mp4"), "", ""),
        ("c", "ftp://example.org/x.mp4", "", ""),
        ("d", str(page), "", ""),
        ("e", str(here), "1", "9"),
        ("f", str(tmp_path / "nothing"), "", ""),
        ("日" * 300, "youtube:../../x", "", ""),
    ]
    found = run(tmp_path, rows)
    assert list(found.columns) == ["status", "cause", "detail", *clips.COLUMNS]
    assert list(found.index) == sorted(row[0] for row in rows)
    causes = {"null": "forbidden", "c": "bad_url", "d": "not_media", "e": "too_short", "f": "missing"}
    causes["日" * 300] = "bad_url"
    assert found["cause"].to_dict() == {row[0]: causes.get(row[0], "") for row in rows}
    assert found.loc["z", ["path", "start_s", "end_s"]].tolist() == [str(here), "0.5", "1.5"]
    assert found.loc["z", ["video", "audio", "duration_s"]].tolist() == ["h264 64x64 25fps", "", "2.0"]
    assert int(found.loc["z", "bytes"]) == here.stat().st_size
    for clip_id in ("-a", "../b"):
        assert (tmp_path / "media").resolve() in Path(found.loc[clip_id, "path"]).resolve().parents
        assert Path(found.loc[clip_id, "path"]).read_bytes() == movie()
    assert found.loc["-a", "sha256"] == found.loc["../b", "sha256"] == fetch_log.sha256(Path(found.loc["-a", "path"]))
    notes = [json.loads(line) for line in (tmp_path / "0.jsonl").read_text().splitlines()]
    assert notes == [{"clip_id": "-a", "title": "good"}, {"clip_id": "../b", "title": "good"}]
    metrics = json.loads((tmp_path / "0.json").read_text())["runs"][0]["metrics"]
    assert (metrics["ok"], metrics["failed_bad_url"]) == (3, 2)


@pytest.mark.usefixtures("at_once")
@needs_ffmpeg
def test_times_of_a_part_are_those_in_the_fetched_file(server: BadServer, tmp_path: Path) -> None:
    """Its key frame lies at 2 s (tests/badserver.movie), half a second before the part."""
    rows = [("a", server.url("good.mp4"), "2.5", "4.5")]
    found = run(tmp_path, rows, download=PATIENT)
    assert found.loc["a", ["start_s", "end_s"]].astype(float).tolist() == pytest.approx([0.5, 2.5], abs=0.05)
    assert int(found.loc["a", "bytes"]) < len(movie())
    before = server.asked.copy()
    pd.testing.assert_frame_equal(run(tmp_path, rows, download=PATIENT), found)
    assert server.asked == before


def test_the_next_run_asks_for_transient_failures_and_for_nothing_else(server: BadServer, tmp_path: Path) -> None:
    names = [
        "good.mp4", "moved/2.mp4", "forbidden.mp4", "absent.mp4", "gone.mp4", "blocked.mp4", "stalled.mp4", "html.mp4",
        "truncated.mp4", "endless.mp4", "huge.mp4", "flaky.mp4", "unauthorised.mp4", "page.html", "noise.mp4",
    ]  # fmt: skip
    rows = whole(names, server)
    first = run(tmp_path, rows)
    assert first["cause"].to_dict() == {
        "good.mp4": "", "moved/2.mp4": "", "forbidden.mp4": "forbidden", "absent.mp4": "removed", "gone.mp4": "removed",
        "blocked.mp4": "rate_limit", "stalled.mp4": "network", "html.mp4": "not_media", "truncated.mp4": "network",
        "endless.mp4": "too_large", "huge.mp4": "too_large", "flaky.mp4": "network", "unauthorised.mp4": "private",
        "page.html": "not_media", "noise.mp4": "not_media",
    }  # fmt: skip
    transient = {"forbidden.mp4", "blocked.mp4", "stalled.mp4", "truncated.mp4", "flaky.mp4"}
    before = server.asked.copy()
    second = run(tmp_path, rows)
    assert set(server.asked - before) == transient
    assert second.loc["flaky.mp4", "cause"] == ""
    assert set(second.index[second["cause"] != first["cause"]]) == {"flaky.mp4"}
    # Nothing is asked where the config says so, and what is there is used.
    before = server.asked.copy()
    third = run(tmp_path, [*rows, ("new", server.url("good.mp4?new"), "", "")], offline=None)
    assert server.asked == before
    assert third.loc["new", "cause"] == "not_tried"
    pd.testing.assert_frame_equal(third.drop("new"), second)


@pytest.mark.usefixtures("at_once")
def test_what_was_fetched_is_asked_for_again_only_if_it_is_gone_or_something_else_is_wanted(
    server: BadServer, tmp_path: Path
) -> None:
    rows = [("a", server.url("good.mp4"), "", ""), ("b", server.url("absent.mp4"), "", "")]
    path = Path(run(tmp_path, rows).loc["a", "path"])

    def asked(rows: list[tuple[str, str, str, str]] = rows, **download: Any) -> Counter[str]:
        before = server.asked.copy()
        run(tmp_path, rows, download=json.dumps({**FAST, **download}))
        return server.asked - before

    assert not asked()
    assert not asked(sleep_s=0.1, retries=1)
    assert set(asked(max_height=100)) == {"good.mp4", "absent.mp4"}
    assert set(asked()) == {"good.mp4", "absent.mp4"}
    assert set(asked(proxy="")) == set()
    path.write_bytes(movie()[:1000])
    assert set(asked()) == {"good.mp4"}
    path.unlink()
    assert set(asked()) == {"good.mp4"}
    assert path.read_bytes() == movie()
    assert not asked([*rows, ("c", str(path), "", "")])
    assert set(asked([("a", server.url("good.mp4?other"), "", "")])) == {"good.mp4"}


@pytest.mark.usefixtures("at_once")
def test_studies_that_share_media_ask_for_a_clip_once_and_keep_clips_of_one_id_apart(
    server: BadServer, tmp_path: Path
) -> None:
    media, studies = tmp_path / "media", [tmp_path / f"{number}" for number in range(4)]
    for study in studies:
        study.mkdir()
    rows = whole(["good.mp4"], server)
    tables = [run(studies[0], rows, media=media, shared=None, download=PATIENT)]
    assert tables[0].loc["good.mp4", "detail"] == ""
    once = server.asked["good.mp4"]
    tables += [run(study, rows, media=media, shared=None, download=PATIENT) for study in studies[1:]]
    assert server.asked["good.mp4"] == once
    assert all(table.equals(tables[0]) for table in tables)
    other = run(
        studies[1], [("good.mp4", server.url("good.mp4?other"), "", "")], media=media, shared=None, download=PATIENT
    )
    assert other.loc["good.mp4", "path"] != tables[0].loc["good.mp4", "path"]
    assert Path(tables[0].loc["good.mp4", "path"]).read_bytes() == movie()
    again = server.asked["good.mp4"]
    run(studies[2], rows, media=media, shared=None, download=PATIENT)
    assert server.asked["good.mp4"] == again


def test_jobs_of_several_studies_that_want_a_clip_at_a_time_fetch_it_once(tmp_path: Path) -> None:
    calls = []

    def fetch(source: str, start_s: float | None, end_s: float | None, place: Path, options: Any) -> Fetched:
        del options
        calls.append(source)
        time.sleep(0.3)
        path = place.with_suffix(".mp4")
        path.write_bytes(movie())
        return Fetched(path, start_s, end_s, {})

    wanted = FetchRequest("a", "http://x/a.mp4", None, None, "", DownloadOptions())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: clips.fetch_and_note(fetch, wanted, tmp_path / "a"), range(4)))
    assert len(calls) == 1
    assert all((row["status"], row["sha256"]) == ("ok", found[0]["sha256"]) for row in found)


@pytest.mark.usefixtures("at_once")
def test_a_file_that_is_put_in_its_place_or_replaced_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert run(tmp_path, [("a", str(path), "", "")]).loc["a", "cause"] == "missing"
    path.write_text("<html>")
    assert run(tmp_path, [("a", str(path), "", "")]).loc["a", "cause"] == "not_media"
    film(path, EVEN)
    assert run(tmp_path, [("a", str(path), "", "")]).loc["a", "status"] == "ok"


@pytest.mark.usefixtures("at_once")
def test_the_number_of_the_run_changes_only_while_something_is_left(server: BadServer, tmp_path: Path) -> None:
    """Snakemake runs a job again whose parameter has changed."""
    runs, rows = tmp_path / "runs.json", [("a", server.url("flaky.mp4"), "", ""), ("b", f"{tmp_path}/b.mp4", "", "")]
    numbers = [fetch_log.run_number(runs, 3)]
    for _ in range(3):
        run(tmp_path, rows, run=numbers[-1])
        numbers.append(fetch_log.run_number(runs, 3))
    assert numbers == [0, 1, 1, 1]
    film(tmp_path / "b.mp4", EVEN)
    assert fetch_log.run_number(runs, 3) == 2


@pytest.mark.usefixtures("at_once")
def test_what_fails_again_and_again_gets_no_more_runs_than_the_config_says(server: BadServer, tmp_path: Path) -> None:
    runs, rows = tmp_path / "runs.json", [("a", server.url("forbidden.mp4"), "", "")]
    numbers = [fetch_log.run_number(runs, 3)]
    for _ in range(4):
        run(tmp_path, rows, run=numbers[-1])
        numbers.append(fetch_log.run_number(runs, 3))
    assert numbers == [0, 1, 2, 2, 2]
    assert fetch_log.run_number(runs, 4) == 3


@pytest.mark.usefixtures("at_once")
def test_a_rendered_clip_is_made_once_and_again_when_the_code_that_draws_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modalens.datasets.known_answer import KnownAnswer

    rows = [(row.clip_id, row.source, "", "") for row in KnownAnswer(["seen"], clips=2).manifest().itertuples()]

    def times() -> list[int]:
        found = run(tmp_path, rows, dataset="known_answer")
        assert (found["status"] == "ok").all()
        return [Path(path).stat().st_mtime_ns for path in found["path"]]

    first = times()
    assert times() == first
    monkeypatch.setattr(code_version, "code_digest", lambda *_: "other")
    assert not set(times()) & set(first)


def test_a_wall_stops_the_stage_with_one_line_and_the_next_run_goes_on(server: BadServer, tmp_path: Path) -> None:
    rows = whole([*(f"blocked.mp4?{n}" for n in range(8)), "good.mp4"], server)
    with pytest.raises(UserError, match="3 times in a row") as caught:
        run(tmp_path, rows, workers=1)
    assert "\n" not in str(caught.value)
    assert server.asked["blocked.mp4"] == 3
    assert Counter(table(tmp_path)["cause"]) == {"rate_limit": 3, "not_tried": 6}
    # Those whose turn never came are first.
    with pytest.raises(UserError):
        run(tmp_path, rows, workers=1)
    assert server.asked["blocked.mp4"] == 6


def test_a_full_disk_loses_nothing_that_was_fetched(server: BadServer, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    size = 3 * len(movie()) + 200_000
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        rows = whole([f"good.mp4?{n}" for n in range(9)], server)
        with pytest.raises(UserError, match="disk was full") as caught:
            run(tmp_path, rows, media=small / "media")
        assert "\n" not in str(caught.value)
        done = [path for path in small.rglob("*.mp4") if path.parent.parent == small / "media"]
        assert done
        assert all(path.read_bytes() == movie() for path in done)
        assert not list(small.rglob("*.part"))
        before = server.asked["good.mp4"]
        subprocess.run(["mount", "-o", f"remount,size={10 * size}", small], check=True)
        assert (run(tmp_path, rows, media=small / "media")["status"] == "ok").all()
        assert server.asked["good.mp4"] - before == 2 * (len(rows) - len(done))
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_stage_forgets_nothing_and_leaves_no_process(server: BadServer, tmp_path: Path) -> None:
    rows = whole([*(f"good.mp4?{n}" for n in range(6)), *(f"drip.mp4?{n}" for n in range(4))], server)
    line = [
        sys.executable,
        "-m",
        "modalens",
        "clips",
        *options(tmp_path, rows, download=json.dumps({**FAST, "timeout_s": 60})),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(clips.__file__).parents[2])}
    stage = subprocess.Popen(line, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            time.sleep(0.05)
            if server.asked["drip.mp4"] >= 3:  # both workers are at it
                break
        assert stage.poll() is None
    finally:
        stage.send_signal(signal.SIGKILL)
        stage.wait()
    assert not (tmp_path / "0.csv").exists()
    for _ in range(40):
        alive = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _bytes(path)]
        if not alive:
            break
        time.sleep(0.1)
    assert not alive
    before = server.asked["good.mp4"]
    found = run(tmp_path, rows, download=json.dumps({**FAST, "timeout_s": 2}))
    assert server.asked["good.mp4"] == before
    assert Counter(found["cause"]) == {"": 6, "timeout": 4}
    assert not list((tmp_path / "media").rglob("*.part"))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.usefixtures("at_once")
def test_the_network_may_go_away_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    names = [f"good.mp4?{n:02d}" for n in range(40)]
    with BadServer() as server:
        rows = whole(names, server)
        kept = run(tmp_path, rows[:5])["path"].tolist()
    with pytest.raises(UserError, match="20 times in a row"):
        run(tmp_path, rows, workers=1)
    assert Counter(table(tmp_path)["cause"]) == {"": 5, "network": 20, "not_tried": 15}
    assert all(Path(path).read_bytes() == movie() for path in kept)


def test_a_file_that_claims_40_hours_takes_no_longer_than_others(tmp_path: Path) -> None:
    path = film(tmp_path / "long.mkv", [0, 1000, 40 * 3600 * 1000])
    begin = time.monotonic()
    found = run(tmp_path, [("a", str(path), "", ""), ("b", str(path), "0", "10")])
    assert found.loc["a", ["status", "duration_s"]].tolist()[0] == "ok"
    assert float(found.loc["a", "duration_s"]) > 40 * 3600 - 1
    assert found.loc["b", "status"] == "ok"
    assert time.monotonic() - begin < 20


def test_an_mp4_header_that_claims_40_hours_is_not_believed(tmp_path: Path) -> None:
    sound = 0.3 * np.sin(np.arange(2 * RATE) / 5)
    path = film(tmp_path / "long.mp4", list(range(0, 2000, 40)), sound=sound)
    content = bytearray(path.read_bytes())
    # Of the movie and of each stream: ticks a second, then how many.
    for box in re.finditer(rb"mvhd|mdhd", bytes(content)):
        scale = int.from_bytes(content[box.end() + 12 : box.end() + 16], "big")
        content[box.end() + 16 : box.end() + 20] = min(40 * 3600 * scale, 2**32 - 1).to_bytes(4, "big")
    path.write_bytes(content)
    found = run(tmp_path, [("a", str(path), "", "")])
    assert (found.loc["a", "status"], float(found.loc["a", "duration_s"])) == ("ok", pytest.approx(2.0, abs=0.1))
    assert read_frames(path, None, None, 8, 64, 64)[0].shape == (8, 64, 64, 3)
    assert np.abs(read_waveform(path, None, None, RATE, 2.0)[0]).mean() > 5000


def test_a_clip_named_twice_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="twice"):
        run(tmp_path, [("a", "x", "", ""), ("a", "y", "", "")])


def test_any_id_has_a_safe_file_name_of_its_own(tmp_path: Path) -> None:
    hostile = [
        "-abc",
        "../x",
        "/etc/passwd",
        "a" * 5000,
        "a" * 5001,
        "",
        ".",
        "日本",
        "日木",
        "a\nb",
        "A",
        "a",
        "\ud800",
    ]
    names = [media_name(clip_id) for clip_id in hostile]
    assert len({name.lower() for name in names}) == len(hostile)
    for name in names:
        assert not name.startswith("-")
        (tmp_path / name).touch()
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
