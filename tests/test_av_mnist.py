"""AV-MNIST from made pictures and recordings."""

import gzip
import json
import struct
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modalens.commands import av_mnist
from modalens.datasets import _av_mnist as made
from modalens.utils import cli
from modalens.utils.errors import UserError

SPEAKERS = ("ann", "bob", "cat", "dan")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """200 pictures of 6 x 6, 20 a digit; 3 recordings of each digit by four speakers."""
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (200, 6, 6)).astype(np.uint8)
    labels = np.repeat(np.arange(10), 20).astype(np.uint8)
    head = struct.pack(">iiii", made.IMAGES, 200, 6, 6)
    (tmp_path / "images.gz").write_bytes(gzip.compress(head + pictures.tobytes()))
    (tmp_path / "labels").write_bytes(struct.pack(">ii", made.LABELS, 200) + labels.tobytes())
    (tmp_path / "spoken").mkdir()
    for digit in range(10):
        for speaker in SPEAKERS:
            for index in range(3):
                samples = draw.integers(-3000, 3000, 400).astype(np.int16)
                made.write_wav(tmp_path / "spoken" / f"{digit}_{speaker}_{index}.wav", samples, 8000)
    return tmp_path


def make(folder: Path, *more: str, output: str = "out") -> pd.DataFrame:
    line = ["--images", f"{folder}/images.gz", "--labels", f"{folder}/labels", "--recordings", f"{folder}/spoken"]
    cli.call(av_mnist, [*line, "--output", f"{folder}/{output}", *more])
    return pd.read_csv(folder / output / "clips.csv", dtype=str)


def test_no_speaker_and_no_picture_is_in_two_splits(sources):
    clips = make(sources)
    assert len(clips) == 120
    assert len(clips[["group", "split"]].drop_duplicates()) == len(SPEAKERS)
    assert set(clips["split"]) == {"train", "validation", "test"}
    pictures = json.loads((sources / "out" / "made.json").read_text())["pictures"]
    assert len(set(pictures)) == 120


def test_a_picture_shows_the_digit_that_is_spoken(sources):
    clips = make(sources)
    pictures = json.loads((sources / "out" / "made.json").read_text())["pictures"]
    assert [str(place // 20) for place in pictures] == clips["digit"].tolist()
    assert (clips["file"].str.extract(r"audio/(\d)_")[0] == clips["digit"]).all()


def test_the_same_seed_makes_the_same_bytes_and_another_seed_other_pairs(sources):
    more = ("--audio-snr-db", "0")
    first, again, other = (
        make(sources, *more, "--seed", seed, output=name) for seed, name in (("1", "a"), ("1", "b"), ("2", "c"))
    )
    assert first.equals(again)
    for name in (*first["file"], *first["image"]):
        assert (sources / "a" / name).read_bytes() == (sources / "b" / name).read_bytes()
    assert (sources / "a" / "made.json").read_text() != (sources / "c" / "made.json").read_text()
    assert not first.equals(other) or first["file"].equals(other["file"])


@pytest.mark.parametrize("share", [0.1, 0.25, 0.75])
def test_so_much_of_the_training_variance_is_kept_and_the_mean_with_it(share):
    draw = np.random.default_rng(0)
    mixed = draw.normal(size=(500, 5)) @ draw.normal(size=(5, 36)) * 12 + 120
    pictures = mixed.clip(0, 255).astype(np.uint8).reshape(-1, 6, 6)
    training = np.arange(400)
    kept = made.degraded_pictures(pictures, training, share).astype(float)
    whole = pictures[training].astype(float)
    found = kept[training].var(axis=0).sum() / whole.var(axis=0).sum()
    assert share - 0.02 < found < share + 0.35  # whole components: the first alone may hold more than is asked for
    assert np.abs(kept[training].mean(axis=0) - whole.mean(axis=0)).max() < 2


def test_test_pictures_do_not_change_what_training_pictures_become():
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (60, 6, 6)).astype(np.uint8)
    others = pictures.copy()
    others[40:] = 255 - others[40:]
    training = np.arange(40)
    one, two = (made.degraded_pictures(each, training, 0.5)[training] for each in (pictures, others))
    assert (one == two).all()


@pytest.mark.parametrize("snr", [-5.0, 0.0, 20.0])
def test_noise_has_the_power_that_is_asked_for(snr):
    samples = (3000 * np.sin(np.arange(20_000) / 7)).astype(np.int16)
    noise = made.degraded_audio(samples, snr, np.random.default_rng(0)).astype(float) - samples
    found = 10 * np.log10(np.mean(samples.astype(float) ** 2) / np.mean(noise**2))
    assert abs(found - snr) < 0.2


def test_nothing_is_lost_where_nothing_is_degraded(sources):
    clips = make(sources, "--image-energy", "1")
    for row in clips.itertuples():
        with (
            wave.open(str(sources / "out" / row.file)) as file,
            wave.open(str(sources / "spoken" / Path(row.file).name)) as was,
        ):
            assert file.readframes(400) == was.readframes(400)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--image-energy", "0"), "image energy: expected more than 0"),
        (("--test-speakers", "3"), "speakers: expected at least one in each split, got 4"),
        (("--labels", "{folder}/images.gz"), "expected an IDX file of MNIST"),
        (("--images", "{folder}/labels"), "expected an IDX file of MNIST"),
        (("--recordings", "{folder}"), "expected recordings called DIGIT_SPEAKER_INDEX.wav"),
        (("--output", "{folder}/spoken"), "is there already"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(sources, more, said):
    before = sorted(sources.iterdir())
    with pytest.raises(UserError, match=said):
        make(sources, *(word.format(folder=sources) for word in more))
    assert sorted(sources.iterdir()) == before
