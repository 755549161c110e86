"""What the relevancy paper found, on tasks whose answer is known: Geraghty et al. 2023."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import modalens

pytestmark = pytest.mark.slow

CLIPS, SEEDS = 400, 5


def read(predictions, path, **options):
    modalens.report(predictions, path, bootstrap=200, **options)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", path.read_text()))


def clips(draw, count):
    """A symbol of two in the audio, one in the video, each independent of the other."""
    symbols = draw.integers(2, size=(2, count))
    signs = 2 * symbols - 1
    return {
        name: signs[place][:, None] + 0.3 * draw.normal(size=(count, 2))
        for place, name in enumerate(("audio", "video"))
    }, symbols


def trained(features, labels, seed, name, test, test_labels, names, **options):
    """Logistic regression on the modalities, side by side; evaluated with each coalition of them."""
    given = {key: features[key] for key in names}
    model = LogisticRegression(max_iter=300, random_state=seed).fit(np.hstack(list(given.values())), labels)
    return modalens.evaluate(
        lambda rows: model.predict_proba(np.hstack([rows[key] for key in sorted(rows)])),
        {key: test[key] for key in names}, test_labels, output="probabilities", name=name, seed=seed,
        reference=given, **options,
    )  # fmt: skip


def test_the_same_clips_with_another_label_need_another_modality(tmp_path):
    tasks = {"seen": 1, "heard": 0}
    test, symbols = clips(np.random.default_rng(99), CLIPS)
    tables = {}
    for task, which in tasks.items():
        parts = []
        for seed in range(SEEDS):
            features, labels = clips(np.random.default_rng(seed), 100)
            parts.append(trained(features, labels[which], seed, "joint", test, symbols[which], ("audio", "video")))
        tables[task] = pd.concat(parts)
    text = read(tables, tmp_path / "page.html", replacement="mean@input")
    assert "seen – video dominates" in text
    assert "heard – audio dominates" in text


def wide(draw, count):
    """Audio: two dimensions that tell the label in 94 % of the clips. Video: a thousand, larger ones, that tell it
    together; a model of 100 clips is right in 80 %."""
    labels = draw.integers(2, size=count)
    signs = 2 * labels - 1
    features = {"audio": draw.normal(size=(count, 2)), "video": draw.normal(size=(count, 1000))}
    features["audio"][:, 0] += 1.6 * signs
    features["video"][:, :20] += 0.4 * signs[:, None]
    features["video"] *= 3
    return features, labels


def test_a_good_audio_and_a_good_video_model_do_not_make_a_good_joint_one(tmp_path):
    """The setting: 100 training clips, and one modality of many more and larger dimensions than the other."""
    test, truth = wide(np.random.default_rng(99), CLIPS)
    parts = []
    for seed in range(SEEDS):
        features, labels = wide(np.random.default_rng(seed), 100)
        for name, names in {"audio_only": ("audio",), "video_only": ("video",), "joint": ("audio", "video")}.items():
            parts.append(trained(features, labels, seed, name, test, truth, names, replacements=["mean@input"]))
    table = pd.concat(parts)
    full = table[table["replacement"] == ""]
    right = (full["label"] == full["predicted"]).groupby(full["model"]).mean()
    assert right["video_only"] > 0.75
    assert right["audio_only"] > 0.92
    assert right["joint"] < right["audio_only"] - 0.05
    text = read(table, tmp_path / "page.html", model="joint")
    assert "The joint model is worse than one of audio alone" in text


def test_the_choice_of_nothing_changes_the_verdict(tmp_path):
    """The setting: audio and video both show the label, on features far from zero. Zeros are then like nothing that the
    model met: they push it to one class, and what is redundant by the training mean is synergistic in accuracy by
    zeros."""
    draw = np.random.default_rng(0)

    def shifted(count):
        labels = draw.integers(2, size=count)
        signs = (2 * labels - 1)[:, None]
        return {name: 4 + signs + 0.2 * draw.normal(size=(count, 2)) for name in ("audio", "video")}, labels

    test, truth = shifted(CLIPS)
    zeros = {"zero@input": {name: np.zeros(2) for name in ("audio", "video")}, "mean@input": None}
    parts = [
        trained(*shifted(100), seed, "joint", test, truth, ("audio", "video"), replacements=zeros)
        for seed in range(SEEDS)
    ]
    table = pd.concat(parts)
    by_mean = read(table, tmp_path / "mean.html", replacement="mean@input")
    by_zero = read(table, tmp_path / "zero.html", replacement="zero@input")
    assert "redundant: any one modality suffices" in by_mean
    assert "synergistic in accuracy, redundant in log-probability: the stand-in matters" in by_zero
    for text in (by_mean, by_zero):
        assert re.search(
            r"What stands in for the missing modality matters: .* under zero@input and by 0\.00 under mean@input", text
        )
