import json

import numpy as np
import pytest

from modalens.encoders.log_mel import FLOOR
from modalens.evaluation import baselines
from modalens.modalities.video import GREY, Video
from modalens.stages import replacements
from modalens.utils import cli, hdf5
from modalens.utils.errors import UserError

AUDIO = {"sample_rate": 16000, "seconds": 0.1}
VIDEO = {"count": 2, "resize": 40, "crop": 32}


def run(folder, encoder, options, modality, decode):
    output = folder / f"{encoder}.h5"
    line = ["--encoder", encoder, "--options", json.dumps(options), "--modality", modality]
    line += ["--decode", json.dumps(decode)]
    line += ["--output", str(output), "--device", "cpu", "--record", str(folder / "record.json")]
    cli.call(replacements, line)
    return output


def test_silence_goes_through_the_encoder_and_noises_are_distinct_and_repeatable(tmp_path):
    path = run(tmp_path, "log_mel", {}, "audio", AUDIO)
    assert hdf5.ids(path) == [baselines.BLANK, *baselines.NOISES]
    np.testing.assert_allclose(hdf5.read(path, ["blank"]), np.float16(np.log(FLOOR)), rtol=1e-3)
    noises = hdf5.read(path, baselines.NOISES)
    assert len(np.unique(noises.reshape(16, -1), axis=0)) == 16
    run(tmp_path, "log_mel", {}, "audio", AUDIO)
    np.testing.assert_array_equal(hdf5.read(path, baselines.NOISES), noises)


def test_black_frames_go_through_the_encoder_under_the_features_attributes(tmp_path):
    path = run(tmp_path, "resnet50", {"weights": "untrained", "precision": "float32"}, "video", VIDEO)
    blank = hdf5.read(path, ["blank"])
    assert blank.shape == (1, 2, 2048)
    np.testing.assert_allclose(blank[0, 0], blank[0, 1], rtol=2e-3, atol=1e-3)
    assert hdf5.attributes(path)["preprocessing"] == {
        "form": "frames",
        **VIDEO,
        "sampling": "uniform",
        "rate": 0.0,
        "region": [0.0, 0.0, 1.0, 1.0],
    }
    assert hdf5.attributes(path)["weights"] == "untrained seed 0"


def test_noise_frames_fill_the_range_around_grey():
    video = Video(**VIDEO)
    frames = video.noise(np.random.default_rng(0))
    assert frames.shape == (2, 32, 32, 3)
    assert abs(frames.mean() - GREY) < 3
    assert video.blank().max() == 0


def test_preprocessing_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected the form waveforms, got frames"):
        run(tmp_path, "log_mel", {}, "video", VIDEO)
