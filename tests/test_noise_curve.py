"""Noise in what tells the label lowers the metrics, noise in what does not leaves them."""

import numpy as np
import pandas as pd
import pytest
from _models import Studied, clips

from modalens.measures.noise_curve import NoiseCurve
from modalens.utils.errors import UserError

QUICK = {"bootstrap": 100}
SAME, NOTHING = np.eye(6), np.zeros((6, 6))
STRENGTHS = {"audio": 2.0, "video": 3.0}


def model(name="late_fusion", audio=SAME, video=SAME):
    return Studied(name, {"audio": audio, "video": video}, STRENGTHS)


def curve(table, modality, metric="accuracy", model="late_fusion"):
    rows = table[(table["modality"] == modality) & (table["metric"] == metric) & (table["model"] == model)]
    return rows[rows["quantity"] == "curve"].set_index("level")["value"]


def test_without_noise_it_is_the_models_accuracy_and_noise_in_what_it_looks_at_lowers_it():
    table = NoiseCurve(**QUICK)([model(audio=NOTHING)])
    part = clips("test", STRENGTHS)
    right = (part.features["video"][:, :3].argmax(1) == part.truth).mean()
    assert curve(table, "video")[0.0] == pytest.approx(right)
    assert curve(table, "video")[4.0] < right - 0.2
    assert (np.diff(curve(table, "video", "log_probability")) < 0).all()
    assert np.allclose(curve(table, "audio"), right)
    assert np.allclose(curve(table, "audio,video"), curve(table, "video"))


def test_the_noise_has_the_deviation_of_the_training_features_and_is_the_same_for_all_models_and_seeds():
    seen = []

    class Watched(Studied):
        def network(self, seed):
            network = super().network(seed)
            real = network.embed
            network.embed = lambda features: seen.append(features) or real(features)
            return network

    NoiseCurve(levels=[0, 2], **QUICK)([Watched(name, {"audio": SAME, "video": SAME}, STRENGTHS) for name in "ab"])
    noisy = [one["video"].astype(float) for one in seen if set(one) == {"video"}]
    part, train = clips("test", STRENGTHS), clips("train", STRENGTHS)
    added = noisy[0] - part.features["video"]
    scale = train.features["video"].astype(float).std(0)
    assert added.std(0) == pytest.approx(2 * scale, rel=0.35)
    assert np.std(added / scale) == pytest.approx(2, rel=0.05)
    assert len(noisy) == 6
    assert all(np.array_equal(one, noisy[0]) for one in noisy)


def test_effective_robustness_compares_with_the_baseline_whatever_the_order_of_the_models():
    """A model that does not look at the audio loses nothing by its noise."""
    deaf = model("deaf", audio=NOTHING)
    table = NoiseCurve(**QUICK)([deaf, model()])
    effective = table[table["quantity"] == "effective"].set_index(["model", "modality", "metric"])
    assert set(effective.index.get_level_values("model")) == {"deaf"}
    assert effective.loc[("deaf", "audio", "accuracy"), "low"] > 0
    assert set(NoiseCurve(baseline="other", **QUICK)([deaf])["quantity"]) == {"curve", "relative"}
    pd.testing.assert_frame_equal(table, NoiseCurve(**QUICK)([model(), deaf]))


def test_features_that_are_no_real_numbers_have_no_noise(monkeypatch):
    real = Studied.clips

    def tokens(self, split="test"):
        part = real(self, split)
        part.features["audio"] = part.features["audio"].astype(np.int64)
        return part

    monkeypatch.setattr(Studied, "clips", tokens)
    assert set(NoiseCurve(**QUICK)([model()])["modality"]) == {"video"}


def test_noise_that_half_precision_cannot_hold_is_large_and_finite():
    table = NoiseCurve(levels=[0, 1e6], **QUICK)([model()])
    assert np.isfinite(table["value"]).all()


def test_headline_and_options():
    table = NoiseCurve(**QUICK)([model()])
    assert set(NoiseCurve().headline(table)) == {"relative/audio", "relative/video", "relative/audio.video"}
    with pytest.raises(UserError, match="noise_curve: levels: expected numbers that rise from 0"):
        NoiseCurve(levels=[1, 2])
    with pytest.raises(UserError, match="noise_curve: metrics: no metric 'acc'"):
        NoiseCurve(metrics=["acc"])
