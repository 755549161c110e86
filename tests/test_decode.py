from pathlib import Path

import av
import numpy as np
import pytest
from filming import film, shown

from modalens.causes import ClipError
from modalens.decode import DECODERS, _decord_frames, fit, frame_indices, read_frames
from modalens.media import probe, timeline

EVEN = [40 * k for k in range(100)]  # 4 s at 25 frames a second
needs_decord = pytest.mark.skipif("decord" not in DECODERS, reason="no decord on this platform")


def test_frames_are_those_shown_at_the_centres_of_equal_parts() -> None:
    times = np.arange(100) / 25
    assert frame_indices(times, 0, 4, 4).tolist() == [12, 37, 62, 87]  # 0.5, 1.5, 2.5, 3.5 s
    assert frame_indices(times, 1, 2, 2).tolist() == [31, 43]  # 1.25, 1.75 s


def test_time_stamps_count_not_positions() -> None:
    # One frame for 3 s, then thirty in the last second: six of eight centres lie in the first.
    times = np.concatenate([[0.0], 3 + np.arange(30) / 30])
    assert frame_indices(times, 0, 4, 8).tolist() == [0] * 6 + [8, 23]


def test_few_frames_repeat() -> None:
    assert frame_indices([0.0, 0.5], 0, 1, 8).tolist() == [0] * 4 + [1] * 4
    assert frame_indices([0.0], 0, 0.04, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("decoders", [("pyav",), pytest.param(("decord", "pyav"), marks=needs_decord)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_real_file_gives_the_frames_asked_for(tmp_path: Path, decoders: tuple[str, ...], name: str) -> None:
    path = film(tmp_path / name, EVEN)
    frames, used = read_frames(path, None, None, 4, 32, 32, decoders)
    assert (frames.shape, frames.dtype, used) == ((4, 32, 32, 3), np.uint8, decoders[0])
    assert shown(frames) == [12, 37, 62, 87]
    frames, _ = read_frames(path, 2.0, 3.0, 2, 32, 32, decoders)
    assert shown(frames) == [56, 68]  # 2.25 and 2.75 s


@pytest.mark.parametrize("decoders", [("pyav",), pytest.param(("decord", "pyav"), marks=needs_decord)])
def test_variable_frame_rate_goes_by_time(tmp_path: Path, decoders: tuple[str, ...]) -> None:
    times = [*range(0, 1000, 100), *range(1000, 2000, 20), 3000]
    path = film(tmp_path / "a.mp4", times)
    frames, _ = read_frames(path, 0.0, 3.0, 6, 32, 32, decoders)
    assert shown(frames) == [2, 7, 22, 47, 59, 59]  # 0.25, 0.75, 1.25, 1.75, 2.25, 2.75 s


@needs_decord
def test_decord_and_pyav_see_the_same_pixels(shared: Path) -> None:
    names = ["clips/mmaction2__demo.mp4", "clips/video_features__v_GGSY1Qvo990.mp4", "clips/moviepy__example2.mp4"]
    turned = ["bad_inputs/decord__video_90.mov", "bad_inputs/decord__video_180.mov", "bad_inputs/decord__video_270.mov"]
    for name in [*names, *turned]:
        ours, used = read_frames(shared / name, None, None, 3, 64, 64)
        assert used == "decord", name
        assert np.array_equal(ours, read_frames(shared / name, None, None, 3, 64, 64, ("pyav",))[0]), name


@needs_decord
def test_decord_is_not_trusted_where_it_is_wrong(shared: Path) -> None:
    # A programme stream: decord's frames are shifted by 12, and the last one repeats.
    path = sorted((shared / "grid" / "video").glob("*.mpg"))[0]
    line = timeline(path, None, None)
    for wanted in (np.array([4, 23, 42, 60]), np.arange(60, 75)):
        assert _decord_frames(path, line, wanted, 64, 64) is None
    assert read_frames(path, None, None, 8, 64, 64)[1] == "pyav"


def test_a_window_beyond_the_end_is_too_short(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", EVEN)
    for start, end in ((5.0, 6.0), (3.0, 8.0), (2.0, 2.0)):
        with pytest.raises(ClipError) as error:
            read_frames(path, start, end, 4, 32, 32)
        assert error.value.cause == "too_short"
    assert len(read_frames(path, 0.0, 4.1, 4, 32, 32)[0]) == 4  # annotations are rounded


def test_causes_of_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "page.mp4").write_text("<html>This video is unavailable</html>")
    (tmp_path / "head.mp4").write_bytes(film(tmp_path / "a.mp4", EVEN).read_bytes()[:600])
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:10,\nhttp://localhost:1/a.ts\n")
    wanted = {"nothing.mp4": "missing", "empty.mp4": "not_media", "page.mp4": "not_media", "head.mp4": "damaged"}
    for name, cause in {**wanted, "list.m3u8": "not_media"}.items():
        for look in (probe, lambda path: read_frames(path, None, None, 2, 32, 32)):
            with pytest.raises(ClipError) as error:
                look(tmp_path / name)
            assert error.value.cause == cause, name


def test_a_sampled_frame_that_does_not_decode_is_damage_and_others_do_not_matter(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", EVEN, codec="mjpeg")
    content = bytearray(path.read_bytes())
    images = [at for at in range(len(content) - 2) if content[at : at + 3] == b"\xff\xd8\xff"]
    assert len(images) == 100
    content[images[50] : images[50] + 600] = bytes(600)
    path.write_bytes(content)
    assert shown(read_frames(path, None, None, 4, 32, 32)[0]) == [12, 37, 62, 87]
    with pytest.raises(ClipError, match=r"2\.00 s") as error:
        read_frames(path, None, None, 100, 32, 32)
    assert error.value.cause == "damaged"


def test_frames_drawn_on_top_of_a_damaged_one_are_damaged_too(tmp_path: Path, shared: Path) -> None:
    source = shared / "clips" / "mmaction2__demo.mp4"
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        base = float(packets[0].time_base)
        broken, keys = packets[100], [packet.pts * base for packet in packets if packet.is_keyframe]
        at, position, size = broken.pts * base, broken.pos, broken.size
    content = bytearray(source.read_bytes())
    content[position + size // 3 : position + size] = bytes(size - size // 3)
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    until = min(key for key in keys if key > at)
    with pytest.raises(ClipError) as error:
        read_frames(path, at + 0.2, until, 1, 32, 32, ("pyav",))
    assert error.value.cause == "damaged"
    for start, end in ((0.0, at - 0.5), (until, 10.0)):
        frames, _ = read_frames(path, start, end, 4, 32, 32, ("pyav",))
        assert np.array_equal(frames, read_frames(source, start, end, 4, 32, 32, ("pyav",))[0])


def test_a_file_cut_off_is_sampled_where_frames_are(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", EVEN, codec="mjpeg")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert probe(path)["duration_s"] == pytest.approx(2, abs=0.2)
    assert max(shown(read_frames(path, None, None, 8, 32, 32)[0])) < 50
    with pytest.raises(ClipError) as error:
        read_frames(path, 0.0, 4.0, 8, 32, 32)
    assert error.value.cause == "too_short"


def test_the_shorter_side_is_resized_and_the_centre_kept() -> None:
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 255
    assert fit(wide, 50, 50).shape == (50, 50, 3)
    assert fit(wide, 50, 40).min() == 255
    assert fit(np.ascontiguousarray(wide.transpose(1, 0, 2)), 50, 40).min() == 255


def test_every_odd_file_gets_frames_or_a_cause(shared: Path) -> None:
    expected = {
        "file-type__fixture-dash.mp4": "damaged",
        "media__sample_audio_only.mp4": "no_video",
        "media__sample_fragmented_clearkey.mp4": "unsupported",
        "moviepy__result.webm": "not_media",
        "mp4parse-rust__invalid_userdata.mp4": "damaged",
        "mp4parse-rust__short-cenc.mp4": "unsupported",
        "mp4parse-rust__test_case_1185230.mp4": "damaged",
        "small__Mpeg4.mp4": "no_video",
    }
    for name, cause in expected.items():
        with pytest.raises(ClipError) as error:
            read_frames(shared / "bad_inputs" / name, None, None, 8, 64, 64)
        assert error.value.cause == cause, (name, error.value.detail)
    for name in ("media__sample_fragmented.mp4", "torchcodec__test_non_zero_start.mp4", "decord__unordered.mov"):
        assert len(read_frames(shared / "bad_inputs" / name, None, None, 8, 64, 64)[0]) == 8
