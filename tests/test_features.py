from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modalens.encoders._base import Encoder, encode, load_encoder, overlapped
from modalens.stages import features
from modalens.tracking import records
from modalens.utils import cli, hdf5
from modalens.utils.errors import UserError

SOUND = {"form": "waveforms", "sample_rate": 16000, "seconds": 0.1}


def waveforms(path: Path, count: int) -> dict[str, np.ndarray[Any, Any]]:
    draw = np.random.default_rng(0)
    rows = {f"clip-{index}": draw.integers(-9000, 9000, 1600).astype(np.int16) for index in range(count)}
    with hdf5.write(path, SOUND) as writer:
        for clip_id, row in rows.items():
            writer.append(clip_id, row)
    return rows


def run(source: Path, output: Path, *more: str) -> None:
    line = ["--input", str(source), "--output", str(output), "--device", "cpu", "--record", f"{output}.json", *more]
    cli.call(features, line)


def test_each_clip_keeps_its_id_whatever_the_batch(tmp_path):
    rows = waveforms(tmp_path / "in.h5", 5)
    run(tmp_path / "in.h5", tmp_path / "out.h5", "--encoder", "log_mel", "--options", '{"batch_size": 2}')
    assert hdf5.ids(tmp_path / "out.h5") == list(rows)
    encoder = load_encoder("log_mel", {}, torch.device("cpu"))
    for clip_id, row in rows.items():
        alone = encode(encoder, row[None])[0]
        np.testing.assert_array_equal(hdf5.read(tmp_path / "out.h5", [clip_id])[0], alone)


def test_the_attributes_name_all_that_the_rows_were_made_with(tmp_path):
    waveforms(tmp_path / "in.h5", 1)
    run(tmp_path / "in.h5", tmp_path / "out.h5", "--encoder", "log_mel", "--options", '{"mels": 32}')
    assert hdf5.attributes(tmp_path / "out.h5") == {
        "encoder": "log_mel",
        "axes": ["mel", "time"],
        "options": {"mels": 32, "hop": 160},
        "preprocessing": SOUND,
        "weights": "none",
    }
    assert records.read(tmp_path / "out.h5.json")[1][0].metrics["clips"] == 1


def test_a_shard_without_clips_gives_a_file_without_rows(tmp_path):
    waveforms(tmp_path / "in.h5", 0)
    run(tmp_path / "in.h5", tmp_path / "out.h5", "--encoder", "log_mel")
    assert hdf5.ids(tmp_path / "out.h5") == []


def test_an_encoder_refuses_what_it_cannot_encode(tmp_path):
    waveforms(tmp_path / "in.h5", 1)
    with pytest.raises(UserError, match="expected the form frames, got waveforms"):
        run(tmp_path / "in.h5", tmp_path / "out.h5", "--encoder", "resnet50", "--options", '{"weights": "untrained"}')
    assert not (tmp_path / "out.h5").exists()


def test_a_misspelt_option_is_refused_with_the_nearest(tmp_path):
    waveforms(tmp_path / "in.h5", 1)
    with pytest.raises(UserError, match="did you mean 'mels'"):
        run(tmp_path / "in.h5", tmp_path / "out.h5", "--encoder", "log_mel", "--options", '{"mel": 32}')


class Counting(Encoder):
    """Encodes a clip as its first sample, and notes how many batches were begun before."""

    axes = ()
    dtype = "float16"

    def __init__(self):
        self.begun = 0

    def encode(self, batch):
        self.begun += 1
        return batch[:, 0].half()


def test_a_batch_is_begun_before_the_one_before_it_is_asked_for_and_the_order_stays():
    encoder = Counting()
    batches = [([f"clip-{first}"], np.full((1, 3), first, np.int16)) for first in range(4)]
    seen = [(ids, rows.tolist(), encoder.begun) for ids, rows in overlapped(encoder, batches)]
    assert seen == [([f"clip-{first}"], [first], min(first + 2, 4)) for first in range(4)]


def test_features_that_are_not_finite_are_refused(tmp_path, monkeypatch):
    waveforms(tmp_path / "in.h5", 2)
    infinite = Counting()
    infinite.encode = lambda batch: torch.full((len(batch), 3), torch.inf)
    infinite.axes = ("channel",)
    infinite.options, infinite.input, infinite.weights, infinite.batch_size = {}, "waveforms", "none", 1
    monkeypatch.setattr(features, "load_encoder", lambda *_: infinite)
    with pytest.raises(UserError, match="beyond the range of float16"):
        run(tmp_path / "in.h5", tmp_path / "out.h5", "--encoder", "log_mel")
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (1, 3)])
def test_features_that_do_not_fit_what_the_encoder_declares_are_one_line(shape):
    class Wrong(Encoder):
        input, axes = "waveforms", ("channel",)

        def encode(self, batch):
            del batch
            return torch.zeros(shape)

    with pytest.raises(UserError, match=r"the encoder wrong: expected features \(2, channel\), got \("):
        encode(Wrong(torch.device("cpu")), np.zeros((2, 5), np.int16))


def test_rows_of_another_rate_than_the_encoder_was_made_for_are_one_line(tmp_path):
    with hdf5.write(tmp_path / "in.h5", {**SOUND, "sample_rate": 8000}) as writer:
        writer.append("clip-0", np.zeros(800, np.int16))
    with pytest.raises(UserError, match=r"encoder log_mel: expected the sample rate 16000, got 8000 in .*in\.h5"):
        run(tmp_path / "in.h5", tmp_path / "out.h5", "--encoder", "log_mel")
