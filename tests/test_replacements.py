import json

import numpy as np
import pytest

from modalens import replacements, store
from modalens.cli import UserError
from modalens.encoders.log_mel import FLOOR

SOUND = {"kind": "waveforms", "sample_rate": 16000, "seconds": 0.1}
PICTURE = {"kind": "frames", "count": 2, "resize": 40, "crop": 32, "sampling": "uniform"}


def run(folder, encoder, options, preprocessing):
    output = folder / f"{encoder}.h5"
    line = ["--encoder", encoder, "--options", json.dumps(options), "--preprocessing", json.dumps(preprocessing)]
    line += ["--output", str(output), "--device", "cpu", "--record", str(folder / "record.json")]
    replacements.main(replacements.command_line().parse_args(line))
    return output


def test_silence_goes_through_the_encoder_and_noises_are_distinct_and_repeatable(tmp_path):
    path = run(tmp_path, "log_mel", {}, SOUND)
    assert store.ids(path) == [replacements.BLANK, *replacements.NOISES]
    np.testing.assert_allclose(store.read(path, ["blank"]), np.float16(np.log(FLOOR)), rtol=1e-3)
    noises = store.read(path, replacements.NOISES)
    assert len(np.unique(noises.reshape(16, -1), axis=0)) == 16
    run(tmp_path, "log_mel", {}, SOUND)
    np.testing.assert_array_equal(store.read(path, replacements.NOISES), noises)


def test_black_frames_go_through_the_encoder_under_the_features_attributes(tmp_path):
    path = run(tmp_path, "resnet50", {"weights": "untrained", "precision": "float32"}, PICTURE)
    blank = store.read(path, ["blank"])
    assert blank.shape == (1, 2, 2048)
    np.testing.assert_allclose(blank[0, 0], blank[0, 1], rtol=2e-3, atol=1e-3)
    assert store.attributes(path)["preprocessing"] == PICTURE
    assert store.attributes(path)["weights"] == "untrained seed 0"


def test_noise_frames_fill_the_range_around_grey():
    frames = replacements.frames(PICTURE, np.random.default_rng(0))
    assert frames.shape == (2, 32, 32, 3)
    assert abs(frames.mean() - replacements.GREY) < 3
    assert replacements.frames(PICTURE, None).max() == 0


def test_preprocessing_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match="encodes waveforms"):
        run(tmp_path, "log_mel", {}, PICTURE)
