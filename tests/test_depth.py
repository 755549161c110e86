"""Depth frames from any file that holds them become millimetres of one size, or a row with a cause."""

import math
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from modalens.media.failure_causes import ClipError
from modalens.modalities import load_modality
from modalens.utils.errors import UserError

# A wall that comes nearer by 100 mm a frame, with an edge to what lies behind, and a place that was not seen.
FRAMES = np.full((10, 24, 32), 4000, np.uint16)
FRAMES[:, :, :16] = (3000 - 100 * np.arange(10))[:, None, None]
FRAMES[:, 20:, :] = 0


def read(cell, **options):
    modality = load_modality("depth", {"count": 5, "height": 12, "width": 12, **options})
    ((function, settings),) = modality.attempts()
    row, _ = function(str(cell), *settings)
    assert (row.shape, row.dtype) == (modality.blank().shape, np.uint16)
    return row


def written(tmp_path, kind):
    if kind == "npy":
        np.save(tmp_path / "a.npy", FRAMES)
        return tmp_path / "a.npy"
    if kind == "npz":
        np.savez(tmp_path / "a.npz", depth=FRAMES, inertial=np.zeros(3))
        return tmp_path / "a.npz"
    if kind == "mkv":
        with av.open(str(tmp_path / "a.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=Fraction(10))
            stream.width, stream.height, stream.pix_fmt = 32, 24, "gray16le"
            for frame in FRAMES:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray16le")))
            container.mux(stream.encode())
        return tmp_path / "a.mkv"
    (tmp_path / "frames").mkdir()
    paths = [tmp_path / "frames" / f"{place:02d}.png" for place in range(10)]
    for path, frame in zip(paths, FRAMES, strict=True):
        Image.fromarray(frame).save(path)
    return "|".join(map(str, paths)) if kind == "list" else tmp_path / "frames"


@pytest.mark.parametrize("kind", ["npy", "npz", "mkv", "folder", "list"])
def test_every_kind_of_file_gives_the_frames_at_the_centres_of_equal_parts(tmp_path, kind):
    row = read(written(tmp_path, kind), array="depth" if kind == "npz" else "")
    assert row[:, 0, 0].tolist() == [2900, 2700, 2500, 2300, 2100]  # frames 1, 3, 5, 7, 9
    assert set(np.unique(row)) == {0, 4000, 2900, 2700, 2500, 2300, 2100}, "no distance is mixed of two"
    assert (row[:, 10:] == 0).all()
    assert (row[:, :10, 6:] == 4000).all()


def test_units_become_millimetres_and_what_lies_beyond_16_bits_is_unseen(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[[1.5, 70.0], [np.nan, -1.0]]]))
    row = read(tmp_path / "a.npy", scale=1000.0, count=1, height=2, width=2)
    assert row[0].tolist() == [[1500, 0], [0, 0]]


def test_what_is_no_depth_has_a_cause(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "rgb.png")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (tmp_path / "words.mkv").write_text("this is no video")
    (tmp_path / "none").mkdir()
    np.save(tmp_path / "flat.npy", np.ones((4, 5)))
    np.save(tmp_path / "empty.npy", np.ones((0, 4, 5)))
    with av.open(str(tmp_path / "eight.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 32, 24, "gray"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((24, 32), np.uint8), format="gray")))
        container.mux(stream.encode())
    told = {"rgb.png": "unsupported", "cut.png": "damaged", "words.mkv": "damaged", "none": "absent"}
    told |= {"flat.npy": "unsupported", "empty.npy": "unsupported", "eight.mkv": "unsupported", "gone.png": "missing"}
    for name, cause in told.items():
        with pytest.raises(ClipError) as caught:
            read(tmp_path / name)
        assert caught.value.cause == cause, name


def test_options_that_cannot_be_are_one_line():
    above = "scale: expected a number above 0"
    for options, line in (({"count": 0}, "at least 1"), ({"scale": 0.0}, above), ({"scale": math.inf}, above)):
        with pytest.raises(UserError, match=line):
            load_modality("depth", options)


def test_a_reader_sees_the_nearer_the_brighter_and_black_where_nothing_was_seen(tmp_path):
    depth = load_modality("depth", {"count": 5, "height": 12, "width": 12})
    shown = depth.show(read(written(tmp_path, "npy")))
    assert shown.shape == (12, 12, 3)
    assert shown[0, 0, 0] > shown[0, 11, 0] > shown[11, 0, 0] == 0
    assert not depth.show(depth.blank()).any()


def test_real_depth_is_read(shared):
    for path in sorted((shared / "utd_mhad" / "clips").glob("*.npz"))[:3]:
        row = read(path, array="depth", height=48, width=64)
        assert 500 < np.median(row[row > 0]) < 5000
