"""Faces and mouths of talkers: what is done with what a detector finds, and the detector itself on real talkers."""

import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from _checkout import ROOT
from filming import film
from PIL import Image

from modalens.media import faces
from modalens.media.failure_causes import ClipError, ClipNote
from modalens.media.video import read_frames, read_key_frames
from modalens.modalities import load_modality
from modalens.utils.errors import UserError

GRID = sorted((ROOT.parent / "shared" / "data" / "grid" / "video").glob("*.mpg"))
HELD = ROOT / ".weights" / faces.PACKAGE
with_faces = pytest.mark.skipif(not GRID, reason="needs ../shared/data/grid")
with_detector = pytest.mark.skipif(
    not (HELD.is_dir() or find_spec(faces.PACKAGE)), reason="needs facenet-pytorch (`make weights`)"
)


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def face(x, y, side=40.0):
    """Box and landmarks of a face around (x, y): eyes `side / 2` apart, the mouth as far below them."""
    box = [x - side / 2, y - side / 2, x + side / 2, y + side / 2]
    quarter = side / 4
    points = [
        (x - quarter, y - quarter),
        (x + quarter, y - quarter),
        (x, y),
        (x - 8, y + quarter),
        (x + 8, y + quarter),
    ]
    return box, points


def answer(*found):
    boxes, points = zip(*found, strict=True) if found else ((), ())
    return np.array(boxes, float).reshape(-1, 4), np.array(points, float).reshape(-1, 5, 2)


def seen(monkeypatch, answers, part, height=200, width=400):
    """Regions, and the notes."""
    monkeypatch.setattr(faces, "found_in", lambda _: answers)
    frames = [np.zeros((height, width, 3), np.uint8)] * len(answers)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = faces.regions(frames, part)
    return np.array(found) * [width, height, width, height], [(one.message.cause, one.message.detail) for one in said]


def test_a_face_lost_in_a_frame_is_interpolated_between_its_neighbours_and_counted(monkeypatch):
    answers = [answer(), answer(face(100, 80)), answer(), answer(), answer(face(160, 110, 80.0)), answer()]
    found, said = seen(monkeypatch, answers, "face")
    assert (found[:, 0] + found[:, 2]).tolist() == pytest.approx([200, 200, 240, 280, 320, 320])
    assert (found[:, 1] + found[:, 3]).tolist() == pytest.approx([160, 160, 180, 200, 220, 220])
    assert (found[:, 2] - found[:, 0]).tolist() == pytest.approx([50, 50, 50 + 50 / 3, 50 + 100 / 3, 100, 100])
    assert said == [("lost_face", "face found in 2 of 6 frames")]


def test_where_every_frame_has_a_face_nothing_is_noted(monkeypatch):
    assert seen(monkeypatch, [answer(face(100, 80))] * 3, "face")[1] == []


def test_a_clip_without_any_face_has_a_cause(monkeypatch):
    with pytest.raises(ClipError) as error:
        seen(monkeypatch, [answer()] * 4, "mouth")
    assert (error.value.cause, error.value.detail) == ("no_face", "no face in any of 4 frames")


def test_of_several_faces_the_largest_is_followed(monkeypatch):
    """The second grows larger later: it is another one."""
    answers = [answer(face(300, 100, 30.0), face(100, 100)), answer(face(300, 100, 90.0), face(104, 102))]
    found, _ = seen(monkeypatch, answers, "face")
    assert ((found[:, 0] + found[:, 2]) / 2).tolist() == pytest.approx([100, 104])


def test_the_mouth_is_in_the_middle_of_squares_of_one_size(monkeypatch):
    answers = [answer(face(100, 80)), answer(face(120, 80, 44.0)), answer(face(140, 80))]
    found, _ = seen(monkeypatch, answers, "mouth")
    sides = found[:, 2:] - found[:, :2]
    assert sides == pytest.approx(np.full((3, 2), faces.MOUTH * 20))
    assert (found[:, :2] + sides / 2).tolist() == [pytest.approx(at) for at in ([100, 90], [120, 91], [140, 90])]


def test_a_square_that_would_leave_the_picture_is_moved_back_and_one_larger_than_it_made_smaller(monkeypatch):
    (found,), _ = seen(monkeypatch, [answer(face(10, 195))], "face")
    assert found == pytest.approx([0, 150, 50, 200])
    (found,), _ = seen(monkeypatch, [answer(face(200, 100, 300.0))], "face")
    assert found == pytest.approx([100, 0, 300, 200])


def test_a_word_for_a_region_is_one_of_two_and_scales_to_the_crop():
    made = load_modality("video", {"region": "mouth", "crop": 80})
    assert made.attributes()["resize"] == 80
    assert made.environment == "faces"
    assert load_modality("video", {"region": "face", "crop": 300}).blank().shape == (8, 300, 300, 3)
    with pytest.raises(UserError, match=r"video: region: expected face or mouth, or four shares, got 'nose'"):
        load_modality("video", {"region": "nose"})


def test_without_the_detector_one_line_says_what_to_install_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(faces, "find_spec", lambda _: None)
    made = load_modality("video", {"region": "mouth", "crop": 80})
    for asked in (made.check, made.attempts):
        with pytest.raises(UserError, match="pip install --no-deps facenet-pytorch") as error:
            asked()
        assert "\n" not in str(error.value)
    load_modality("video", {}).check()


@pytest.mark.parametrize("held", [{}, {"pnet.pt": b"<html>"}, {"pnet.pt": {"conv1.weight": "text"}}, {"pnet.pt": {}}])
def test_weights_of_the_detector_that_are_none_are_one_line_before_anything_runs(monkeypatch, tmp_path, held):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(faces, "find_spec", lambda _: None)
    folder = tmp_path / ".weights" / faces.PACKAGE / "data"
    folder.mkdir(parents=True)
    for name in faces.WEIGHTS:
        torch.save({"conv1.weight": torch.zeros(1)}, folder / name)
    load_modality("video", {"region": "mouth", "crop": 80}).check()
    faces._check_weights.cache_clear()
    if not held:
        (folder / "pnet.pt").unlink()
    for name, content in held.items():
        (folder / name).write_bytes(content) if isinstance(content, bytes) else torch.save(content, folder / name)
    with pytest.raises(
        UserError, match=r"pnet\.pt: expected weights of the face detector, got .*`make weights`"
    ) as error:
        load_modality("video", {"region": "mouth", "crop": 80}).check()
    assert "\n" not in str(error.value)


@pytest.mark.slow
@with_detector
@pytest.mark.parametrize("shape", [(20, 200, 3), (200, 300, 3)])
def test_the_detector_finds_no_face_where_there_is_none(shape):
    noise = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    found = faces.found_in([np.zeros(shape, np.uint8), noise])
    assert [len(boxes) for boxes, _ in found] == [0, 0]


@pytest.mark.slow
@with_faces
@with_detector
def test_real_talkers_have_a_face_in_every_frame_and_it_is_where_it_was_in_a_picture_twice_as_large():
    """Twice the size: the detector works on a smaller copy."""
    from modalens.media.pyav_video import frames_at
    from modalens.media.timestamps import timeline

    line = timeline(GRID[0], None, None)
    frames = list(frames_at(GRID[0], line, line.ticks[::15]))
    found = faces.found_in(frames)
    assert [len(boxes) for boxes, _ in found] == [1] * len(frames)
    eyes = np.array([points[0, :2] for _, points in found])
    mouth = np.array([points[0, 3:] for _, points in found])
    assert (mouth[..., 1].mean(axis=1) > eyes[..., 1].mean(axis=1) + 30).all()
    two = np.concatenate([frames[0], frames[1]], axis=1)
    mixed = faces.found_in([two, np.zeros_like(two), np.concatenate([frames[0], np.zeros_like(frames[0])], axis=1)])
    assert [len(boxes) for boxes, _ in mixed] == [2, 0, 1]
    large = [np.asarray(Image.fromarray(frame).resize((720, 576))) for frame in frames]
    for part in ("face", "mouth"):
        assert np.array(faces.regions(large, part)) == pytest.approx(np.array(faces.regions(frames, part)), abs=0.02)


@pytest.mark.slow
@with_faces
@with_detector
@pytest.mark.parametrize("reader", [read_frames, read_key_frames])
def test_mouths_of_real_talkers_are_redder_in_the_middle_and_of_the_size_asked_for(reader):
    """Lips are redder than the skin above and below them; blue is the wall behind."""
    for path in GRID[:3]:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ClipNote)
            frames = reader(path, None, None, 6, 80, 80, region="mouth")[0]
        assert frames.shape == (6, 80, 80, 3)
        red = frames[..., 0].astype(float) - frames[..., 1]
        middle, above = red[:, 30:50, 28:52].mean(axis=(1, 2)), red[:, :12, 28:52].mean(axis=(1, 2))
        assert middle.mean() > above.mean() + 3


@pytest.mark.slow
@with_faces
@with_detector
def test_a_shard_has_a_row_for_a_talker_and_a_cause_for_a_clip_without_a_face(tmp_path):
    """The decoder's own process loads the detector."""
    from modalens.media.worker_pool import map_clips

    film(tmp_path / "none.mp4", range(0, 2000, 100))
    ((read, options),) = load_modality("video", {"region": "mouth", "crop": 80, "count": 4}).attempts()
    tasks = [(path.stem, (path, None, None, *options)) for path in (GRID[0], tmp_path / "none.mp4")]
    found = dict(map_clips(read, tasks, workers=1, timeout_s=120, memory_mb=4096))
    assert found[GRID[0].stem].value[0].shape == (4, 80, 80, 3)
    assert (found["none"].cause, found["none"].detail) == ("no_face", "no face in any of 4 frames")
