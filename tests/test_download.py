"""The real yt-dlp and ffmpeg against a web server that misbehaves (tests/badserver.py)."""

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import av
import pytest
from badserver import BadServer, movie
from yt_dlp_ejs.yt import solver

from modalens.media import failure_causes, private_addresses, worker_pool, ytdlp
from modalens.media.container import origin
from modalens.media.download import DownloadOptions, address, check, download
from modalens.media.failure_causes import ClipError
from modalens.media.rate_limit import RateLimiter, pending_clips
from modalens.utils.errors import UserError

pytestmark = pytest.mark.slow

QUICK = DownloadOptions(max_bytes=3_000_000, timeout_s=4, socket_timeout_s=0.7, retries=1, backoff_s=0.1)
PATIENT = replace(QUICK, timeout_s=30, socket_timeout_s=10)
needs_ffmpeg = pytest.mark.skipif(ytdlp.ffmpeg() is None, reason="neither imageio-ffmpeg nor an ffmpeg is installed")
WHOLE = (None, None)
PART = (2.5, 4.5)


@pytest.fixture(scope="module", autouse=True)
def _yt_dlp_is_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The first web page loads a thousand site readers, seconds on a busy machine: no part of what is timed."""
    with BadServer() as server, pytest.raises(ClipError):
        download(server.url("page.html"), None, None, tmp_path_factory.mktemp("warm") / "clip", DownloadOptions())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with BadServer() as server:
        yield server


def cause(url: str, part: tuple[float | None, float | None], folder: Path, options: DownloadOptions = QUICK) -> str:
    """ "" or the cause of the failure; and nothing is left behind but the finished file."""
    try:
        path = download(url, *part, folder / "clip", options).path
    except ClipError as error:
        assert not list(folder.iterdir())
        return error.cause
    assert list(folder.iterdir()) == [path]
    return ""


BEHAVIOURS = [
    # name, cause, requests for it
    ("good.mp4", "", 2),
    ("moved/3.mp4", "", 1),
    ("loop.mp4", "network", None),
    ("unauthorised.mp4", "private", 1),
    ("forbidden.mp4", "forbidden", 1),
    ("absent.mp4", "removed", 1),
    ("gone.mp4", "removed", 1),
    ("busy.mp4", "", 3),
    ("blocked.mp4", "rate_limit", 1),
    ("broken.mp4", "network", 2),
    ("flaky.mp4", "", 3),
    ("silent.mp4", "network", 2),
    ("stalled.mp4", "network", 4),
    ("truncated.mp4", "network", 4),
    ("huge.mp4", "too_large", 2),
    ("endless.mp4", "too_large", 2),
    ("drip.mp4", "timeout", 2),
    ("empty.mp4", "network", 4),
    ("html.mp4", "not_media", 2),
    ("page.html", "not_media", 1),
]


@pytest.mark.parametrize(("name", "expected", "requests"), BEHAVIOURS)
def test_a_server_s_behaviour_ends_in_its_cause_within_the_limit(
    name: str, expected: str, requests: int | None, server: BadServer, tmp_path: Path
) -> None:
    # A machine that has other work takes its time; only what drips reaches the limit.
    options = QUICK if expected == "timeout" else replace(QUICK, timeout_s=20)
    begin = time.monotonic()
    assert cause(server.url(name), WHOLE, tmp_path, options) == expected
    assert time.monotonic() - begin < options.timeout_s + 6
    assert requests is None or server.asked[name] == requests


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("moved/3.mp4", ""), ("absent.mp4", "removed"), ("stalled.mp4", "network"), ("truncated.mp4", "network"),
        ("drip.mp4", "timeout"), ("html.mp4", "not_media"), ("empty.mp4", "network"),
    ],
)  # fmt: skip
def test_so_it_is_when_only_a_part_is_wanted(name: str, expected: str, server: BadServer, tmp_path: Path) -> None:
    """Above all: ffmpeg calls half of a part a success; it is none."""
    assert cause(server.url(name), PART, tmp_path) == expected


@needs_ffmpeg
def test_a_part_is_small_and_its_times_find_the_same_pictures(server: BadServer, tmp_path: Path) -> None:
    fetched = download(server.url("good.mp4"), *PART, tmp_path / "clip", QUICK)
    assert fetched.path.stat().st_size < len(movie()) / 2
    assert fetched.start_s is not None
    assert fetched.end_s is not None
    assert fetched.end_s - fetched.start_s == pytest.approx(2.0)
    with av.open(str(fetched.path)) as container:
        zero, shades = origin(container), {}
        for frame in container.decode(video=0):
            shades[round(frame.time - zero - fetched.start_s, 2)] = frame.to_ndarray(format="rgb24").mean()
    # tests/badserver.movie: brightness 255 t / 6 at t seconds; the part begins at 2.5, its key frame lies at 2.
    assert [min(shades), max(shades)] == pytest.approx([-0.5, 1.9], abs=0.11)
    for after, shade in shades.items():
        assert shade == pytest.approx(255 * (2.5 + after) / 6, abs=6)


def test_without_ffmpeg_a_plain_file_comes_whole(
    server: BadServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ytdlp, "ffmpeg", lambda: None)
    fetched = download(server.url("good.mp4"), *PART, tmp_path / "clip", QUICK)
    assert (fetched.start_s, fetched.end_s, fetched.path.read_bytes()) == (*PART, movie())
    with pytest.raises(UserError, match="imageio-ffmpeg"):
        check(QUICK)


def test_what_a_killed_run_left_is_never_taken_for_the_clip(server: BadServer, tmp_path: Path) -> None:
    left = tmp_path / ".clip.part"
    left.mkdir()
    for name in ("media.mp4", "media.mp4.part", "ffmpeg.log"):
        (left / name).write_bytes(movie()[:1000])
    assert download(server.url("good.mp4"), *WHOLE, tmp_path / "clip", QUICK).path.read_bytes() == movie()
    assert cause(server.url("absent.mp4"), WHOLE, tmp_path / "other") == "removed"


def test_the_second_run_asks_only_for_what_may_have_changed(server: BadServer, tmp_path: Path) -> None:
    names = ["good.mp4", "absent.mp4", "gone.mp4", "html.mp4", "flaky.mp4", "broken.mp4", "blocked.mp4"]
    once = DownloadOptions(max_bytes=3_000_000, timeout_s=4, socket_timeout_s=0.7, retries=0)
    statuses: dict[str, tuple[str, str]] = {}
    for run in range(2):
        before = server.asked.copy()
        for name in pending_clips(names, statuses):
            why = cause(server.url(name), WHOLE, tmp_path / name, once)
            statuses[name] = ("failed", why) if why else ("ok", "")
        asked = {name for name in names if server.asked[name] > before[name]}
        assert asked == (set(names) if run == 0 else {"flaky.mp4", "broken.mp4", "blocked.mp4"})
    assert statuses["flaky.mp4"] == ("ok", "")


def test_it_runs_in_a_worker_that_can_be_killed(server: BadServer, tmp_path: Path) -> None:
    tasks = [(name, (server.url(name), None, None, tmp_path / name, PATIENT)) for name in ("good.mp4", "gone.mp4")]
    outcomes = dict(worker_pool.map_clips(download, tasks, workers=1, timeout_s=60, memory_mb=4096))
    assert outcomes["good.mp4"].value.path.read_bytes() == movie()
    assert (outcomes["good.mp4"].value.metadata, outcomes["gone.mp4"].cause) == ({"title": "good"}, "removed")


def test_a_full_disk_is_told_from_all_else(server: BadServer, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        assert cause(server.url("good.mp4"), WHOLE, full) == "disk_full"
        if ytdlp.ffmpeg():
            assert cause(server.url("good.mp4"), (0.0, 5.9), full) == "disk_full"
    finally:
        subprocess.run(["umount", full], check=True)


def test_nobody_listening_is_the_network(tmp_path: Path) -> None:
    with BadServer() as server:
        url = server.url("good.mp4")
    assert cause(url, WHOLE, tmp_path) == "network"


def test_the_user_s_configuration_plugins_and_cookies_file_are_left_alone(server: BadServer, tmp_path: Path) -> None:
    home, trace = tmp_path / "home", tmp_path / "trace"
    plugin = home / "yt-dlp" / "plugins" / "evil" / "yt_dlp_plugins" / "extractor" / "evil.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(f"open({str(trace)!r}, 'w').close()")
    (home / "yt-dlp" / "config").write_text(f"--exec 'touch {trace}'\n--proxy http://127.0.0.1:9\n")
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tname\tvalue\n")
    # The trap is tried once more without the guard: it does spring.
    program = f"""
        import os
        from pathlib import Path
        from yt_dlp.plugins import load_all_plugins
        from modalens.media.download import DownloadOptions, download
        options = DownloadOptions(cookies={str(cookies)!r})
        download({server.url("good.mp4")!r}, None, None, Path({str(tmp_path / "clip")!r}), options)
        assert not Path({str(trace)!r}).exists()
        del os.environ["YTDLP_NO_PLUGINS"]
        load_all_plugins()
        assert Path({str(trace)!r}).exists()
        """
    environment = {**os.environ, "XDG_CONFIG_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    before = cookies.read_text()
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, env=environment)
    assert (tmp_path / "clip.mp4").read_bytes() == movie()
    assert cookies.read_text() == before


@pytest.mark.parametrize(
    "source",
    [
        "youtube:", "youtube:-abc", "youtube:../../../x", "youtube:" + "a" * 4000, "youtube:абвгдежзийк",
        "youtube:--exec=date", "ftp://example.org/x.mp4", "file:///etc/passwd", "javascript:alert(1)",
        "data:video/mp4;base64,AA", "ytsearch:cats",
        "http://", "http:///x.mp4", "https://[::1/x.mp4", "http://example.org:99999/x", "http://a b/c",
        "https://example.org/x\nSet-Cookie: a=b",
    ],
)  # fmt: skip
def test_what_is_no_address_is_never_asked(source: str, tmp_path: Path) -> None:
    assert cause(source, WHOLE, tmp_path) == "bad_url"


def test_an_id_that_looks_like_an_option_is_part_of_an_address() -> None:
    assert address("youtube:-abcdefghij") == "https://www.youtube.com/watch?v=-abcdefghij"


def test_files_on_the_disk_are_used_where_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "a:b.mp4"
    path.write_bytes(movie())
    fetched = download(str(path), 1.0, None, tmp_path / "clip", QUICK)
    assert (fetched.path, fetched.start_s, fetched.end_s) == (path, 1.0, None)
    for source, expected in ((str(tmp_path), "not_media"), (f"{tmp_path}/none", "missing"), ("a" * 5000, "missing")):
        with pytest.raises(ClipError) as caught:
            download(source, None, None, tmp_path / "clip", QUICK)
        assert caught.value.cause == expected
    with pytest.raises(UserError, match="cookies"):
        check(DownloadOptions(cookies=str(tmp_path / "none")))


def test_starts_keep_their_distance_on_average_and_no_beat() -> None:
    pace, now, starts = RateLimiter(2.0, random.Random(0)), 0.0, []
    for _ in range(300):
        now += pace.delay(now)
        starts.append(now)
    gaps = [after - before for before, after in pairwise(starts)]
    assert 1.0 <= min(gaps) < 1.2 < 2.8 < max(gaps) <= 3.0
    assert sum(gaps) / len(gaps) == pytest.approx(2.0, abs=0.1)
    assert pace.delay(now + 100) == 0.0


@pytest.mark.parametrize(("cause_", "limit"), [("bot_wall", 1), ("disk_full", 1), ("rate_limit", 3), ("network", 20)])
def test_a_wall_stops_the_stage_with_one_line(cause_: str, limit: int) -> None:
    pace = RateLimiter(0.0)
    for _ in range(limit - 1):
        pace.report_outcome(cause_)
    pace.report_outcome("removed")
    for _ in range(limit - 1):
        pace.report_outcome(cause_)
    assert not pace.stopped or limit == 1
    pace.report_outcome(cause_, "its own words")
    assert "its own words" in pace.stopped or limit == 1
    assert "\n" not in pace.stopped


def test_dead_videos_never_stop_the_stage() -> None:
    pace = RateLimiter(0.0)
    for _ in range(1000):
        pace.report_outcome("removed")
        pace.report_outcome("")
    assert pace.stopped == ""


def test_those_whose_turn_never_came_are_first() -> None:
    earlier = {
        "a": ("failed", "network"), "b": ("ok", ""), "c": ("failed", "removed"), "d": ("failed", "not_tried"),
        "e": ("failed", "bot_wall"),
    }  # fmt: skip
    assert pending_clips("abcdef", earlier) == ["d", "f", "a", "e"]


def scripts_answer(folder: Path) -> str:
    """Runs in a worker. What YouTube's player would be asked, asked of a player that turns text round."""
    with ytdlp.YtDlpSession(folder, DownloadOptions()) as site:
        runtime = site._ydl._js_runtimes["deno"].info
    player = "_result.n = text => [...text].reverse().join('')"
    question = {"type": "preprocessed", "preprocessed_player": player}
    question |= {"requests": [{"type": "n", "challenges": ["abc"]}]}
    program = f"{solver.lib()}\nObject.assign(globalThis, lib);\n{solver.core()}\n"
    program += f"console.log(JSON.stringify(jsc({json.dumps(question)})));"
    done = subprocess.run([runtime.path, "run", "-"], input=program, capture_output=True, text=True)
    return f"{runtime.supported} {done.stdout or done.stderr}"


def test_the_scripts_that_youtube_asks_for_run_within_a_worker_s_memory(tmp_path: Path) -> None:
    ((_, outcome),) = worker_pool.map_clips(
        scripts_answer, [("a", (tmp_path,))], workers=1, timeout_s=60, memory_mb=4096
    )
    assert outcome.value.startswith("True")
    assert '"abc":"cba"' in outcome.value


@pytest.mark.parametrize(
    "place",
    [
        "file:///etc/passwd", "FILE:///etc/passwd", "ftp://127.0.0.1/x.mp4", "data:video/mp4;base64,AAAA",
        "gopher://127.0.0.1/x", "javascript:alert(1)", "http://[::1",
    ],
)  # fmt: skip
def test_a_redirect_to_what_is_not_the_web_is_refused_for_good(place: str, server: BadServer, tmp_path: Path) -> None:
    url = server.url("elsewhere.mp4?to=" + quote(place, safe=""))
    assert cause(url, WHOLE, tmp_path) == "bad_url"
    assert not failure_causes.is_retryable("failed", "bad_url")


GUARDED = replace(PATIENT, private_addresses=False)


@pytest.mark.parametrize("part", [WHOLE, PART])
def test_a_list_from_the_web_cannot_make_this_machine_ask_itself(
    part: tuple[float | None, float | None], server: BadServer, tmp_path: Path
) -> None:
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0"):
        url = server.url("good.mp4").replace("127.0.0.1", host)
        assert cause(url, part, tmp_path, GUARDED) == "bad_url"
    assert not server.asked
    assert cause(server.url("good.mp4"), part, tmp_path, PATIENT) == ""


@pytest.mark.parametrize("part", [WHOLE, PART])
def test_nor_can_a_redirect(
    part: tuple[float | None, float | None], server: BadServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.1 stands for the web here, and localhost, by another of its addresses, for the inside."""
    monkeypatch.setattr(private_addresses, "is_public", lambda text: text == "127.0.0.1")
    assert cause(server.url("good.mp4"), part, tmp_path, GUARDED) == ""
    (tmp_path / "clip.mp4").unlink()
    asked = server.asked["good.mp4"]
    inside = server.url("good.mp4").replace("127.0.0.1", "127.0.0.2")
    assert cause(server.url("elsewhere.mp4?to=" + quote(inside, safe="")), part, tmp_path, GUARDED) == "bad_url"
    assert server.asked["good.mp4"] == asked


def test_no_copy_of_the_cookies_is_ever_on_the_disk(server: BadServer, tmp_path: Path) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tname\tvalue\n")
    folder = tmp_path / "scratch"
    folder.mkdir()
    with ytdlp.YtDlpSession(folder, replace(PATIENT, cookies=str(cookies))) as site:
        info = site.look_up(server.url("good.mp4"))
        assert [cookie.value for cookie in site._ydl.cookiejar] == ["value"]
        site.fetch(info, None, None)
        assert not [path for path in folder.iterdir() if "cookie" in path.name or b"Netscape" in path.read_bytes()]
    assert "value" in cookies.read_text()
