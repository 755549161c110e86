from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from ffmpeg import ffmpeg
from filming import film, shown
from PIL import Image
from test_fuzz import damaged

from modalens.media import timestamps, video
from modalens.media.container import open_media, packets, stream_of
from modalens.media.failure_causes import ClipError
from modalens.media.probe import probe
from modalens.media.pyav_video import (
    Pen,
    _by_dependence,
    _from_key,
    _in_order,
    _prefix,
    _reader,
    _unreferenced,
    frames_at,
    square,
)
from modalens.media.reading import FrameDamage, decoded
from modalens.media.timestamps import timeline
from modalens.media.video import DECODERS, _decord_frames, fit, frame_indices, read_frames, read_key_frames
from modalens.modalities import load_modality
from modalens.utils.errors import UserError

EVEN = [40 * k for k in range(100)]  # 4 s at 25 frames a second
ENCODINGS = {
    "references among B-frames": ("a.mp4", {"bf": "3", "g": "30", "x264-params": "b-adapt=0"}),
    "B-frames only by themselves": ("a.mkv", {"bf": "8", "g": "30", "x264-params": "b-adapt=0:b-pyramid=none"}),
    "temporal prediction": ("a.mp4", {"bf": "3", "g": "30", "x264-params": "direct=temporal:b-pyramid=strict"}),
    "open groups": ("a.mp4", {"bf": "3", "g": "15", "x264-params": "b-adapt=0:open-gop=1:scenecut=0"}),
    "no key frame but the first": ("a.mkv", {"bf": "2", "g": "15", "x264-params": "intra-refresh=1"}),
    "interlaced": ("a.mp4", {"bf": "3", "g": "30", "x264-params": "tff=1"}),
    "start codes": ("a.ts", {"bf": "3", "g": "30"}),
}
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


def test_frames_at_a_rate_are_of_the_middle_and_of_a_shorter_clip_spread_over_it(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", EVEN)
    assert shown(read_frames(path, None, None, 16, 32, 32, ("pyav",), 12.5)[0]) == list(range(35, 66, 2))
    assert shown(read_frames(path, 2.0, 3.0, 2, 32, 32, ("pyav",), 0.5)[0]) == [56, 68], "two seconds are more than one"


def test_a_region_is_cut_out_before_the_picture_is_scaled() -> None:
    frame = np.zeros((100, 200, 3), np.uint8)
    frame[60:80, 80:120] = 255
    assert (fit(frame, 16, 16, (0.4, 0.6, 0.6, 0.8)) == 255).all()
    assert not fit(frame, 16, 16, (0.0, 0.0, 0.4, 0.6)).any()
    assert fit(frame, 16, 16, (0.999, 0.999, 1.0, 1.0)).shape == (16, 16, 3), "a pixel at least"
    assert np.array_equal(fit(frame, 64, 32, (0.0, 0.0, 1.0, 1.0)), fit(frame, 64, 32))


@pytest.mark.parametrize(
    "options",
    [{"rate": -1}, {"rate": float("inf")}, {"rate": 5, "sampling": "keyframe"}, {"region": [0.5, 0, 0.5, 1]},
     {"region": [0, 0, 1.2, 1]}, {"region": [0, 1]}],
)  # fmt: skip
def test_a_rate_or_a_region_that_cannot_be_is_one_line(options) -> None:
    with pytest.raises(UserError, match=r"video: (rate|region): expected"):
        load_modality("video", options)


@pytest.mark.parametrize("decoders", [("pyav",), pytest.param(("decord", "pyav"), marks=needs_decord)])
def test_variable_frame_rate_goes_by_time(tmp_path: Path, decoders: tuple[str, ...]) -> None:
    times = [*range(0, 1000, 100), *range(1000, 2000, 20), 3000]
    path = film(tmp_path / "a.mp4", times)
    frames, _ = read_frames(path, 0.0, 3.0, 6, 32, 32, decoders)
    assert shown(frames) == [2, 7, 22, 47, 59, 59]  # 0.25, 0.75, 1.25, 1.75, 2.25, 2.75 s


def texture(path: Path, options: dict[str, str], count: int = 75) -> Path:
    """H.264 of noise that moves: every frame is like no other one, and is drawn from others."""
    noise = np.kron(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for index in range(count):
            picture = np.ascontiguousarray(noise[index % 64 : index % 64 + 96, index // 2 : index // 2 + 96])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def all_frames(path: Path, limit: int = 1000) -> dict[int, av.VideoFrame]:
    """Frames by tick, each as one gets it by decoding everything."""
    found = {}
    with open_media(path) as container:
        for frame in decoded(container, stream_of(container, "video")):
            found[frame.pts] = frame
            if len(found) == limit:
                break
    return found


def pixels(frame: av.VideoFrame, aspect: Fraction = Fraction(1)) -> np.ndarray:
    return np.rot90(square(frame.to_ndarray(format="rgb24"), aspect), (frame.rotation // 90) % 4)


def unreferenced(path: Path) -> list[int]:
    """Ticks of the packets that no other frame depends on."""
    with open_media(path) as container:
        stream = stream_of(container, "video")
        prefix = _prefix(stream.codec_context)
        return [p.pts for p in packets(container, [stream]) if prefix and _unreferenced(memoryview(p), prefix)]


def assert_same_frames(path: Path, limit: int = 1000) -> None:
    everything, line = all_frames(path, limit), timeline(path, None, None)
    # Of the last ones before the limit, some are missing: they are not in order yet.
    there = np.array(sorted(everything)[: -20 if len(everything) == limit else None])
    rng = np.random.default_rng(0)
    for _ in range(2):
        ticks = np.unique(rng.choice(there, 6))
        for frame, tick in zip(frames_at(path, line, ticks), ticks.tolist(), strict=True):
            assert np.array_equal(frame, pixels(everything[tick], line.aspect)), (path.name, tick)


@pytest.mark.parametrize("name", ENCODINGS)
def test_what_no_frame_depends_on_is_left_out_and_the_pixels_stay(tmp_path: Path, name: str) -> None:
    path = texture(tmp_path / ENCODINGS[name][0], ENCODINGS[name][1])
    assert bool(unreferenced(path)) == (name != "start codes")
    assert len(unreferenced(path)) < 75
    assert_same_frames(path)
    line = timeline(path, None, None)
    found = list(_by_dependence(path, line, line.ticks, Pen(Fraction(1))))
    # Where decoding cannot begin anywhere, or a frame may be in two halves, all of it is decoded in order.
    assert (len(found) == 75) == (name not in ("no key frame but the first", "interlaced"))


def test_only_pictures_that_are_whole_and_unreferenced_are_left_out() -> None:
    def unit(header: int) -> bytes:
        return b"\0\0\0\3" + bytes([header, 0x9A, 0x80])

    slice_, reference, sei, parameters = 0x01, 0x41, 0x06, 0x68
    for headers, left_out in {
        (slice_,): True,
        (sei, slice_, slice_): True,
        (reference,): False,
        (slice_, reference): False,
        (parameters, slice_): False,  # later pictures need them
        (sei,): False,
        (0,): False,
        (0x81,): False,  # forbidden_zero_bit
    }.items():
        assert _unreferenced(memoryview(b"".join(map(unit, headers))), 4) is left_out, headers
    assert not _unreferenced(memoryview(unit(slice_)[:-1]), 4)


@pytest.mark.slow
def test_the_pixels_of_real_clips_are_those_of_decoding_everything(shared: Path) -> None:
    clips = [path for path in sorted((shared / "clips").glob("*.*")) if path.suffix != ".csv"]
    for path in [*clips, *sorted((shared / "grid" / "video").glob("*.mpg"))[:2]]:
        assert_same_frames(path, limit=40)


@pytest.mark.parametrize("kept", [True, False])
def test_a_file_is_read_up_to_the_frame_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    if not kept:
        monkeypatch.setattr(timestamps, "KEPT_BYTES", 0)
    path = texture(tmp_path / "a.mp4", {"bf": "3", "g": "30", "x264-params": "b-adapt=0:scenecut=0"})
    line, everything = timeline(path, None, None), all_frames(path)
    assert bool(line.packets) == kept
    with _reader(path, line) as (codec, packets_from):
        assert codec.thread_count == 1  # the cores have clips of their own; frame threads look ahead
        order = [packet.pts for packet in packets_from(int(line.keys[0]))]
        for index in (20, 50, 40):
            tick, key = int(line.ticks[index]), int(line.keys[index // 30])
            queue = packets_from(key)
            (frame,) = _from_key(codec, queue, key, [tick], Pen(Fraction(1)))
            assert np.array_equal(frame, pixels(everything[tick]))
            assert next(queue).pts == order[order.index(tick) + 1]


@pytest.mark.parametrize("find", [_by_dependence, partial(_in_order, seek=True), partial(_in_order, seek=False)])
def test_frames_closer_together_than_usual_are_told_apart(tmp_path: Path, find: Callable) -> None:
    path = film(tmp_path / "a.mp4", [*range(0, 400, 40), 405, 410, *range(440, 800, 40)])
    line = timeline(path, None, None)
    wanted = [3, 9, 10, 11, 12, 15]
    assert shown(np.stack(list(find(path, line, line.ticks[wanted], Pen(Fraction(1)))))) == wanted


def test_avi_without_time_stamps_gives_the_frame_and_not_the_one_before(shared: Path) -> None:
    path = shared / "clips" / "media__sample.avi"
    line, everything = timeline(path, None, None), all_frames(path, 60)
    ticks = line.ticks[[7, 31]]
    for frame, tick in zip(_in_order(path, line, ticks, Pen(Fraction(1)), seek=True), ticks.tolist(), strict=True):
        assert np.array_equal(frame, pixels(everything[tick]))


def test_damage_to_what_is_left_out_is_none_and_a_reference_is_never_left_out_for_damage(tmp_path: Path) -> None:
    path = texture(tmp_path / "a.mp4", {"bf": "3", "g": "250", "x264-params": "b-adapt=0:scenecut=0"})
    line, spare = timeline(path, None, None), unreferenced(path)
    with open_media(path) as container:
        places = {p.pts: (p.pos, p.size) for p in packets(container, [stream_of(container, "video")])}
    last = line.ticks[[70]]
    before = list(frames_at(path, line, last))
    content = path.read_bytes()
    for tick, fatal in ((next(t for t in spare if t > line.ticks[30]), False), (line.ticks[32], True)):
        at, size = places[int(tick)]
        # Of the reference, what says that it is one is lost too.
        kept = at + 4 if fatal else at + 5
        path.write_bytes(content[:kept] + bytes(at + size - kept) + content[at + size :])
        if fatal:
            assert tick not in spare
            with pytest.raises(ClipError, match="does not decode"):
                list(frames_at(path, timeline(path, None, None), last))
        else:
            assert np.array_equal(list(frames_at(path, timeline(path, None, None), last)), before)


def test_key_frames_are_the_nearest_ones_and_say_how_far_off_they_are(tmp_path: Path) -> None:
    path = texture(tmp_path / "a.mp4", {"bf": "2", "g": "12", "x264-params": "scenecut=0"}, count=100)
    line = timeline(path, None, None)
    assert np.searchsorted(line.ticks, line.keys).tolist() == list(range(0, 100, 12))  # every 0.48 s
    frames, used, error_s, pictures = read_key_frames(path, None, None, 4, 32, 32)
    assert (frames.shape, frames.dtype, used) == ((4, 32, 32, 3), np.uint8, "pyav")
    # 0.5, 1.5, 2.5, 3.5 s are nearest to 0.48, 1.44, 2.4, 3.36.
    assert (error_s, pictures) == (0.14, 4)
    assert np.array_equal(frames, all_of(path, [12, 36, 60, 84]))
    # 2.25 and 2.75 s: 2.4 and 2.88.
    frames, _, error_s, pictures = read_key_frames(path, 2.0, 3.0, 2, 32, 32)
    assert (error_s, pictures) == (0.15, 2)
    assert np.array_equal(frames, all_of(path, [60, 72]))
    # 0.285 s: 0.48 is nearer than 0, but shows what comes after the part.
    frames, _, error_s, _ = read_key_frames(path, 0.1, 0.47, 1, 32, 32)
    assert error_s == 0.285
    assert np.array_equal(frames, all_of(path, [0]))


def test_one_key_frame_is_every_frame(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", EVEN[:20], keys=250)
    frames, _, error_s, pictures = read_key_frames(path, None, None, 4, 32, 32)
    assert (shown(frames), error_s, pictures) == ([0] * 4, 0.7, 1)


def test_a_key_frame_that_is_none_is_not_believed(shared: Path) -> None:
    # Four of the five key frames of its index are drawn on top of the frames before them.
    path = shared / "clips" / "mp4parser__MOV00006.3gp"
    assert_same_frames(path)
    frames, _, _, pictures = read_key_frames(path, None, None, 8, 32, 32)
    line, everything = timeline(path, None, None), all_frames(path)
    assert pictures == len(line.keys) == 5
    seen = {frame.tobytes() for frame in frames}
    assert seen == {fit(pixels(everything[tick], line.aspect), 32, 32).tobytes() for tick in line.keys.tolist()}


def all_of(path: Path, indices: list[int]) -> np.ndarray:
    everything, line = all_frames(path), timeline(path, None, None)
    return np.stack([fit(pixels(everything[tick]), 32, 32) for tick in line.ticks[indices].tolist()])


@needs_decord
def test_decord_and_pyav_see_the_same_pixels(shared: Path) -> None:
    names = [
        "clips/decord__flipping_a_pancake.mkv",
        "clips/video_features__v_GGSY1Qvo990.mp4",
        "clips/moviepy__example2.mp4",
    ]
    turned = ["bad_inputs/decord__video_90.mov", "bad_inputs/decord__video_180.mov", "bad_inputs/decord__video_270.mov"]
    for name in [*names, *turned]:
        ours, used = read_frames(shared / name, None, None, 3, 64, 64, DECODERS)
        assert used == "decord", name
        assert np.array_equal(ours, read_frames(shared / name, None, None, 3, 64, 64, ("pyav",))[0]), name


@needs_decord
def test_decord_is_not_trusted_where_it_is_wrong(shared: Path) -> None:
    # A programme stream: decord's frames are shifted by 12, and the last one repeats.
    path = sorted((shared / "grid" / "video").glob("*.mpg"))[0]
    line = timeline(path, None, None)
    for wanted in (np.array([4, 23, 42, 60]), np.arange(60, 75)):
        assert _decord_frames(path, line, wanted, 64, 64) is None
    assert read_frames(path, None, None, 8, 64, 64, DECODERS)[1] == "pyav"


@needs_decord
@pytest.mark.parametrize("name", ["a.ts", "a.mpg"])
def test_decord_is_not_asked_for_mpeg_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It spins for a minute on some, and was wrong about the others."""

    def asked(*_: object) -> None:
        raise AssertionError("decord was asked")

    monkeypatch.setattr(video, "_by_decord", asked)
    path, source = tmp_path / name, film(tmp_path / "a.mp4", EVEN)
    ffmpeg("-i", source, "-c:v", "mpeg2video", "-qscale:v", 2, "-bf", 0, path)
    frames, used = read_frames(path, None, None, 4, 32, 32, DECODERS)
    assert used == "pyav"
    # Programme streams begin some milliseconds late: a centre may fall on the frame before.
    assert np.abs(np.array(shown(frames)) - [12, 37, 62, 87]).max() <= 1


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


@pytest.mark.parametrize("size", [(480, 854), (101, 333), (96, 96), (340, 256)])
def test_only_the_centre_is_computed_and_it_is_that_of_the_whole(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    scale = 64 / min(size)
    whole = Image.fromarray(frame).resize((round(size[1] * scale), round(size[0] * scale)), Image.Resampling.BILINEAR)
    left, top = (whole.width - 56) // 2, (whole.height - 56) // 2
    apart = np.abs(np.asarray(whole)[top : top + 56, left : left + 56].astype(int) - fit(frame, 64, 56))
    assert apart.max() <= 1  # rounding


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


def test_what_is_shown_before_a_damaged_frame_and_drawn_from_it_is_damaged(tmp_path: Path) -> None:
    path = texture(tmp_path / "a.mp4", {"bf": "3", "g": "30", "x264-params": "b-adapt=0:b-pyramid=none"})
    with open_media(path) as container:
        queue = packets(container, [stream_of(container, "video")])
        order = [(packet.pts, packet.pos, packet.size) for packet in queue]
    # In decoding order the sixth frame is a P-frame; the three after it are shown before it.
    (tick, position, size), after = order[5], order[6:9]
    assert all(shown_at < tick for shown_at, _, _ in after)
    content = bytearray(path.read_bytes())
    content[position + size // 2 : position + size] = bytes(size - size // 2)
    path.write_bytes(content)
    line = timeline(path, None, None)
    clean = [shown_at for shown_at, _, _ in order[:5]]
    assert len(list(frames_at(path, line, np.array(sorted(clean))))) == 5
    for shown_at, _, _ in after:
        with pytest.raises(ClipError, match="does not decode"):
            list(frames_at(path, line, np.array([shown_at])))
    assert set(all_frames(path)) & {shown_at for shown_at, _, _ in after} == set()


@pytest.mark.parametrize("seed", [70, 91, 103, 115, 145])
def test_a_vp8_picture_that_depends_on_what_was_in_memory_is_damaged(shared: Path, tmp_path: Path, seed: int) -> None:
    """FFmpeg finds no fault with these."""
    content = (shared / "clips" / "moviepy__big_buck_bunny_432_433.webm").read_bytes()
    path = tmp_path / "a.webm"
    path.write_bytes(damaged(content, ["flips", "zeros", "noise"][seed % 3], np.random.default_rng(seed)))
    with pytest.raises(ClipError, match="does not decode") as caught:
        read_frames(path, None, None, 4, 48, 48)
    assert caught.value.cause == "damaged"


def test_damage_reaches_what_was_decoded_after_it_until_a_key_frame() -> None:
    damage = FrameDamage(sought=False)
    damage.starts += [(0, 0), (9, 90)]
    damage.bad = [(4, 70), (11, 80)]
    assert not damage.reaches(3, 30)
    # Shown before the damage, but drawn from it.
    assert damage.reaches(5, 40)
    assert damage.reaches(8, 85)
    # The next key frame puts an end to it, and is drawn from nothing that is shown before it.
    assert not damage.reaches(9, 90)
    assert not damage.reaches(12, 120)
    # Shown before the key frame, decoded after it: drawn from both sides.
    assert damage.reaches(10, 78)


def test_nothing_before_the_first_key_frame_is_trusted_where_that_was_sought() -> None:
    damage = FrameDamage(sought=True)
    assert damage.reaches(0, 0)
    damage.starts.append((2, 20))
    assert damage.reaches(1, 10)
    assert not damage.reaches(3, 30)
