"""Frames are those that a player shows: turned, mirrored, of square pixels, of the track that it would choose."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from ffmpeg import ffmpeg, pictures

from modalens.media.probe import probe
from modalens.media.pyav_video import square, upright
from modalens.media.video import DECODERS, fit, read_frames, read_key_frames

WIDTH, HEIGHT = 96, 64
ONE = 1 << 16
# (a, b, c, d) of the display matrix: all turns by right angles, each mirrored and not.
RIGHT_ANGLES = {
    "as stored": (1, 0, 0, 1),
    "turned by 90": (0, 1, -1, 0),
    "turned by 180": (-1, 0, 0, -1),
    "turned by 270": (0, -1, 1, 0),
    "mirrored left to right": (-1, 0, 0, 1),
    "mirrored top to bottom": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "transposed the other way": (0, -1, -1, 0),
}


def quarters(path: Path, matrix: tuple[float, float, float, float], options: dict[str, str] | None = None) -> Path:
    """One second of four colours that no turn and no mirror leaves as they are, noise on top."""
    noise = np.random.default_rng(0).integers(0, 40, (HEIGHT, WIDTH, 3), np.uint8)
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[: HEIGHT // 2, : WIDTH // 2, 0] = frame[: HEIGHT // 2, WIDTH // 2 :, 1] = 200
    frame[HEIGHT // 2 :, : WIDTH // 2, 2] = frame[HEIGHT // 2 :, WIDTH // 2 :, :2] = 200
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "5", "crf": "10", **(options or {})})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        a, b, c, d = (round(number * ONE) for number in matrix)
        if matrix != (1, 0, 0, 1):
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for index in range(10):
            picture = av.VideoFrame.from_ndarray(np.roll(frame + noise, index, axis=1), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", RIGHT_ANGLES)
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_frames_are_turned_and_mirrored_as_ffmpeg_shows_them(tmp_path: Path, name: str, suffix: str) -> None:
    path = quarters(tmp_path / f"a.{suffix}", RIGHT_ANGLES[name])
    size = (HEIGHT, WIDTH) if RIGHT_ANGLES[name][0] == 0 else (WIDTH, HEIGHT)
    expected = pictures(path, size)
    for decoders in (("pyav",), DECODERS):
        frames, _ = read_frames(path, None, None, 10, 64, 64, decoders)
        assert np.abs(frames.astype(int) - [fit(frame, 64, 64) for frame in expected]).mean() < 1, decoders
    keys, _, _, _ = read_key_frames(path, None, None, 10, 64, 64)
    assert np.abs(keys[[0, -1]].astype(int) - [fit(expected[at], 64, 64) for at in (0, 5)]).mean() < 1


@pytest.mark.parametrize("degrees", [10.0, 80.0, 200.0])
def test_other_angles_are_turned_within_the_size_as_ffmpeg_does(tmp_path: Path, degrees: float) -> None:
    turn = np.deg2rad(degrees)
    path = quarters(tmp_path / "a.mp4", (np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)))
    expected = pictures(path, (WIDTH, HEIGHT))
    frames, _ = read_frames(path, None, None, 10, 64, 64)
    assert np.abs(frames[0].astype(int) - fit(expected[0], 64, 64)).mean() < 8


def test_a_matrix_that_shows_nothing_is_none() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for matrix in (None, (0, 0, 0, 0), (ONE, 0, 0, 0)):
        assert np.array_equal(upright(pixels, matrix), pixels)


@pytest.mark.parametrize(("aspect", "shown"), [("2/1", (192, 64)), ("1/2", (96, 128)), ("16/11", (140, 64))])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
def test_pixels_are_made_square(tmp_path: Path, aspect: str, shown: tuple[int, int], suffix: str) -> None:
    plain = quarters(tmp_path / "plain.mp4", RIGHT_ANGLES["as stored"])
    path = tmp_path / f"a.{suffix}"
    ffmpeg("-i", plain, "-vf", f"setsar={aspect}", "-c:v", "libx264", "-crf", "10", "-g", "5", "-bf", 0, path)
    expected = pictures(path, shown, f"scale={shown[0]}:{shown[1]}:flags=bilinear")
    for decoders in (("pyav",), DECODERS):
        frames, _ = read_frames(path, None, None, 10, 64, 64, decoders)
        assert np.abs(frames.astype(int) - [fit(frame, 64, 64) for frame in expected]).mean() < 5
    keys, _, _, _ = read_key_frames(path, None, None, 10, 64, 64)
    assert np.abs(keys[0].astype(int) - fit(expected[0], 64, 64)).mean() < 5


def test_the_aspect_is_that_of_stored_pixels_and_turns_with_them(tmp_path: Path) -> None:
    wide = tmp_path / "wide.mp4"
    ffmpeg("-i", quarters(tmp_path / "plain.mp4", (1, 0, 0, 1)), "-vf", "setsar=2/1", "-c:v", "libx264", wide)
    path = tmp_path / "a.mp4"
    ffmpeg("-display_rotation", "90", "-i", wide, "-c", "copy", path)
    expected = pictures(path, (64, 192), "scale=64:192:flags=bilinear")
    frames, _ = read_frames(path, None, None, 10, 64, 64)
    assert np.abs(frames[0].astype(int) - fit(expected[0], 64, 64)).mean() < 5


def test_squaring_only_ever_enlarges() -> None:
    pixels = np.zeros((10, 20, 3), np.uint8)
    assert square(pixels, Fraction(3, 2)).shape == (10, 30, 3)
    assert square(pixels, Fraction(1, 2)).shape == (20, 20, 3)
    assert square(pixels, Fraction(1)) is pixels


def test_the_default_track_is_read_whatever_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    colours = ["-f", "lavfi", "-i", "color=red:s=64x64:d=2:r=10", "-f", "lavfi", "-i", "color=blue:s=64x64:d=2:r=10"]
    for default, colour in ((0, 0), (1, 2)):
        ffmpeg(*colours, "-map", 0, "-map", 1, "-disposition:v", 0, f"-disposition:v:{default}", "default", path)
        for frames in (read_frames(path, None, None, 2, 32, 32)[0], read_key_frames(path, None, None, 2, 32, 32)[0]):
            assert frames.mean(axis=(0, 1, 2)).argmax() == colour


@pytest.mark.parametrize("suffix", ["webm", "mkv", "mp4", "avi"])
def test_one_frame_is_a_clip_in_any_container(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    codec = ["-c:v", "libvpx" if suffix == "webm" else "libx264"]
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64:r=25:d=0.04", *codec, path)
    assert probe(path)["duration_s"] > 0
    assert len(read_frames(path, None, None, 4, 32, 32)[0]) == 4
    # Without a length of its own in the container.
    with av.open(str(tmp_path / "bare.webm"), "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for packet in [*stream.encode(av.VideoFrame(64, 64, "yuv420p")), *stream.encode()]:
            packet.duration = 0
            container.mux(packet)
    assert probe(tmp_path / "bare.webm")["duration_s"] > 0
    assert len(read_frames(tmp_path / "bare.webm", None, None, 4, 32, 32)[0]) == 4
