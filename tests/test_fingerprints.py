"""Digests tell equal content; sketches survive coding, and their words tell a copy from another clip."""

import json

import numpy as np
import pandas as pd
import pytest
from _forms import FORMS

from modalens.curation.fingerprints import distance
from modalens.modalities.audio import Audio
from modalens.modalities.video import Video
from modalens.stages import fingerprints
from modalens.utils import cli, hdf5

RATE = 16000
AUDIO, VIDEO = Audio(sample_rate=RATE), Video()


def noise_film(seed: int, frames: int = 8, size: int = 48) -> np.ndarray:
    """Coarse coloured tiles, as different from one seed to the next as two videos."""
    tiles = np.random.default_rng(seed).integers(0, 256, (1, 6, 6, 3), np.uint8)
    return tiles.repeat(size // 6, axis=1).repeat(size // 6, axis=2).repeat(frames, axis=0)


def melody(seed: int, seconds: float = 3.0) -> np.ndarray:
    """A tone each fifth of a second, over hiss: int16."""
    draw = np.random.default_rng(seed)
    time = np.arange(int(RATE * seconds)) / RATE
    pitch = draw.uniform(250, 4000, int(seconds * 5) + 1)[(time * 5).astype(int)]
    loud = draw.uniform(0.05, 0.5, int(seconds * 5) + 1)[(time * 5).astype(int)]
    wave = loud * np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + 0.003 * draw.standard_normal(len(time))
    return (wave * 32767).astype(np.int16)


def test_a_pictures_sketch_is_the_mean_colour_of_each_cell():
    frames = np.zeros((2, 16, 24, 3), np.uint8)
    frames[0, :2, :3] = [10, 20, 30]
    frames[1, :2, :3] = [30, 40, 50]
    sketch = VIDEO.sketch(frames)
    assert sketch.shape == (8, 8, 3)
    assert sketch[0, 0].tolist() == [20, 30, 40]
    assert sketch.sum() == 90


@pytest.mark.parametrize("size", [30, 64, 112, 225])
def test_a_pictures_sketch_hardly_depends_on_the_size_it_was_decoded_at(size):
    small = np.full((8, size, size, 3), 40, np.uint8)
    small[:, : size // 2] = 200
    sketch = VIDEO.sketch(small).astype(float)
    assert sketch.shape == (8, 8, 3)
    assert sketch.mean() == pytest.approx(120, abs=3)


def test_a_sounds_sketch_has_the_tone_in_its_band_and_nothing_where_it_is_silent():
    time = np.arange(RATE) / RATE
    wave = (0.5 * np.sin(2 * np.pi * 1000 * time) * 32767).astype(np.int16)
    wave[RATE // 2 :] = 0
    sketch = AUDIO.sketch(wave).astype(float)
    edges = np.geomspace(200, 6000, 25)
    assert set(np.nanargmax(sketch[:16], axis=1)) == {int(np.searchsorted(edges, 1000)) - 1}
    assert np.isnan(sketch[20:]).all()


def test_words_of_a_copy_are_near_and_of_another_clip_far():
    film, sound = noise_film(0), melody(0)
    blurred = (film.astype(int) + np.random.default_rng(1).integers(-6, 7, film.shape)).clip(0, 255).astype(np.uint8)
    quieter = (sound * 0.6 + np.random.default_rng(2).normal(0, 30, len(sound))).astype(np.int16)
    words = [VIDEO.word(VIDEO.sketch(rows)) for rows in (film, blurred, noise_film(1))]
    assert distance(words[0], words[1]) < 0.05
    assert distance(words[0], words[2]) > 0.2
    words = [AUDIO.word(AUDIO.sketch(wave)) for wave in (sound, quieter, melody(1))]
    assert distance(words[0], words[1]) < 0.15
    assert distance(words[0], words[2]) > 0.3


def test_a_flat_picture_that_is_a_shade_darker_keeps_its_word():
    one, other = (VIDEO.word(VIDEO.sketch(np.full((8, 16, 16, 3), grey, np.uint8))) for grey in (128, 126))
    assert distance(one, other) < 0.03


def test_distance_is_the_share_of_bits():
    assert distance("ff00", "ff01") == 1 / 16
    assert distance("00", "ff") == 1


def test_equal_rows_have_equal_digests_whatever_they_are_called(tmp_path):
    film, sound = noise_film(0), melody(0, 1.0)
    for stage, row, attributes in (
        ("frames", film, {"form": "frames"}),
        ("waveforms", sound, {"form": "waveforms", "sample_rate": RATE}),
    ):
        with hdf5.write(tmp_path / stage / "0.h5", attributes) as writer:
            for name in ("one", "two"):
                writer.append(name, row)
            writer.append("other", row + row.dtype.type(1))
    status = pd.DataFrame({"clip_id": ["one", "two", "other", "gone"], "status": ["ok", "ok", "ok", "failed"]})
    status.to_csv(tmp_path / "0.csv", index=False)
    command = ["--clips", tmp_path / "0.csv", "--decoded", f"frames={tmp_path / 'frames' / '0.h5'}"]
    command += [f"waveforms={tmp_path / 'waveforms' / '0.h5'}", "--output", tmp_path / "out"]
    command += ["--record", tmp_path / "out" / "0.json", "--forms", json.dumps(FORMS)]
    cli.call(fingerprints, [str(part) for part in command])
    table = pd.read_csv(tmp_path / "out" / "0.csv", index_col="clip_id")
    assert table.index.tolist() == ["one", "two", "other"]
    assert table.loc["one"].tolist() == table.loc["two"].tolist()
    assert (table.loc["one", ["frames", "waveforms"]] != table.loc["other", ["frames", "waveforms"]]).all()
    assert hdf5.read(tmp_path / "out" / "waveforms" / "0.h5").shape == (3, 37, 24)
