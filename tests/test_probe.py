"""The probe tells a sub-network that lost a modality from one that keeps it."""

import _study
import numpy as np
import pandas as pd
import pytest
from _models import Linear, Studied, clips
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from modalens.measures import probe
from modalens.measures.probe import Probe
from modalens.stages import relevance
from modalens.utils import cli
from modalens.utils.errors import UserError

QUICK = {"bootstrap": 100}
SAME = np.eye(6)
BLIND = np.diag([0.0, 0, 0, 1, 1, 1])  # of what tells the label
STRENGTHS = {"audio": 2.0, "video": 2.0}


def models(audio=SAME, video=SAME, alone=("audio", "video")):
    found = [Studied("joint", {"audio": audio, "video": video}, STRENGTHS)]
    return [*found, *(Studied(f"{name}_only", {name: SAME}, STRENGTHS) for name in alone)]


def test_a_modality_lost_inside_the_joint_model_is_found_and_one_that_is_kept_is_the_same():
    table = Probe(**QUICK)(models(audio=BLIND)).set_index(["modality", "metric"])
    assert table.loc[("audio", "accuracy"), "high"] < -0.2
    assert table.loc[("audio", "log_probability"), "high"] < 0
    assert table.loc[("video", "accuracy"), "difference"] == pytest.approx(0, abs=1e-9)
    assert table.loc[("video", "accuracy"), "low"] < 0 < table.loc[("video", "accuracy"), "high"]
    assert table.loc[("audio", "accuracy"), "inside"] < 0.5 < table.loc[("audio", "accuracy"), "alone"]
    assert set(table["alone_model"]) == {"audio_only", "video_only"}
    assert (table[["clips", "groups", "seeds"]] == [60, 60, 3]).all(axis=None)


def test_a_probe_does_not_care_how_an_embedding_is_turned_or_scaled():
    """What is known is what counts, not how the head of its own model reads it."""
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    table = Probe(**QUICK)(models(audio=100 * turn)).set_index(["modality", "metric"])
    assert table.loc[("audio", "accuracy"), "difference"] == pytest.approx(0, abs=0.06)


def test_it_is_scikit_learns_logistic_regression_with_the_penalty_that_validation_prefers():
    train, validation, test = (clips(split, STRENGTHS) for split in ("train", "validation", "test"))
    scaler = StandardScaler().fit(train.features["audio"].astype(float))
    rows = [scaler.transform(part.features["audio"].astype(float)) / 6**0.5 for part in (train, validation, test)]
    fitted = [LogisticRegression(C=c, max_iter=1000).fit(rows[0], train.truth) for c in probe.STRENGTHS]
    told = [one.predict_log_proba(rows[1])[np.arange(45), validation.truth].mean() for one in fitted]
    expected = (fitted[int(np.argmax(told))].predict(rows[2]) == test.truth).mean()
    table = Probe(**QUICK)(models()).set_index(["modality", "metric"])
    assert table.loc[("audio", "accuracy"), "alone"] == pytest.approx(expected)
    assert 0 < int(np.argmax(told)) < len(told) - 1, "a choice that is neither the least nor the most penalty"


def test_test_labels_choose_nothing(monkeypatch):
    """With other test labels the probe's answers are the same."""
    answers = []
    real = probe.counted
    monkeypatch.setattr(probe, "counted", lambda part, found, axes: answers.append(found) or real(part, found, axes))
    Probe(**QUICK)(models(alone=()))
    original = Studied.clips

    def swapped(self, split="test"):
        part = original(self, split)
        if split == "test":
            part.truth = np.roll(part.truth, 1)
        return part

    monkeypatch.setattr(Studied, "clips", swapped)
    Probe(**QUICK)(models(alone=()))
    for one, other in zip(answers[:2], answers[2:], strict=True):
        assert all(np.array_equal(one[seed], other[seed]) for seed in one)


def test_the_same_seed_is_paired_and_a_model_alone_is_probed_once():
    joint, audio, *_ = chosen = models()
    Probe(**QUICK)([*chosen, Studied("other", joint.matrices, STRENGTHS)])
    assert audio.asked == [0, 1, 2]
    other = Studied("audio_only", {"audio": SAME}, STRENGTHS, seeds=(5, 6, 7))
    table = Probe(**QUICK)([joint, other])
    assert set(table["alone_model"]) == {""}


def test_without_a_model_trained_alone_there_is_no_difference_and_a_model_of_one_modality_has_no_row():
    table = Probe(**QUICK)(models(alone=["audio"]))
    rows = table[table["metric"] == "accuracy"].set_index("modality")
    assert np.isnan(rows.loc["video", "difference"])
    assert rows.loc["video", "inside"] > 0.5
    assert rows.loc["video", "alone_model"] == ""
    assert set(table["model"]) == {"joint"}
    assert set(Probe().headline(table)) == {"inside/audio", "inside/video", "difference/audio"}
    assert list(Probe(**QUICK)(models()[1:]).columns)[:2] == ["model", "modality"]


def test_steps_are_averaged_and_a_class_without_a_training_clip_is_no_mistake(monkeypatch):
    def stepped(_, features):
        return {name: np.stack([values.astype(float), values.astype(float)], 1) for name, values in features.items()}

    whole = Probe(**QUICK)(models())
    monkeypatch.setattr(Linear, "embed", stepped)
    rows = Probe(**QUICK)(models())
    assert np.allclose(rows["alone"], whole["alone"], atol=0.05)
    original = Studied.clips

    def without_c(self, split="test"):
        part = original(self, split)
        if split == "train":
            keep = part.truth != 2
            part.truth, part.features = part.truth[keep], {name: values[keep] for name, values in part.features.items()}
        return part

    monkeypatch.setattr(Studied, "clips", without_c)
    accuracy = Probe(**QUICK)(models()).set_index(["modality", "metric"]).loc[("audio", "accuracy")]
    assert accuracy["alone"] <= 2 / 3


def test_clips_that_lack_the_modality_take_no_part(monkeypatch):
    """Of audio a third of the clips has only a stand-in, which would tell the probe what it should not know."""
    original = Studied.clips

    def lacking(drop):
        def of(self, split="test"):
            part = original(self, split)
            lacks = np.arange(len(part.truth)) % 3 == 1
            part.table = part.table.assign(lacks=np.where(lacks, "audio", ""))
            if "audio" in part.features:
                part.features["audio"] = np.where(lacks[:, None], part.truth[:, None], part.features["audio"])
            if drop:
                part.table, part.truth = part.table[~lacks].drop(columns="lacks"), part.truth[~lacks]
                part.features = {name: values[~lacks] for name, values in part.features.items()}
            return part

        return of

    tables = []
    for drop in (False, True):
        monkeypatch.setattr(Studied, "clips", lacking(drop))
        tables.append(Probe(**QUICK)(models()).set_index(["modality", "metric"]))
    pd.testing.assert_frame_equal(tables[0].loc[["audio"]], tables[1].loc[["audio"]])
    assert (tables[0].loc["audio", "clips"] == 40).all()
    assert (tables[0].loc["video", "clips"] == 60).all()


def test_a_modality_that_no_training_clip_has_is_one_line(monkeypatch):
    original = Studied.clips

    def lacking(self, split="test"):
        part = original(self, split)
        part.table = part.table.assign(lacks="audio" if split == "train" else "")
        return part

    monkeypatch.setattr(Studied, "clips", lacking)
    with pytest.raises(UserError, match="probe: audio: no clip of the train split has it"):
        Probe(**QUICK)(models())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metrics": ["acuracy"]}, "no metric 'acuracy'; did you mean 'accuracy'"),
        ({"strengths": [0]}, "numbers above 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(UserError, match=said):
        Probe(**options)


@pytest.mark.slow
def test_the_stage_asks_trained_models_again_and_reads_their_histories(tmp_path):
    """The video tells the label and is learned; the audio is noise and is not."""
    root, task = _study.make(tmp_path), tmp_path / "train" / "t"
    for model in ("audio_only", "late_fusion", "video_only"):
        _study.trained(root, model, seeds=[0, 1], output="train/t", dynamics=True)
    models = ["--models", *task.glob("*"), "--seeds", 0, 1, "--splits", root / "splits", "--device", "cpu"]
    models += ["--modalities", *(f"{name}={root}/features/{name}" for name in _study.SHAPES)]
    tables = {}
    for measure in ("probe", "noise_curve", "dynamics"):
        given = ["--histories", *task.glob("*/*/history.csv")] if measure == "dynamics" else models
        line = ["--measure", measure, "--options", '{"bootstrap": 50}', *given]
        line += ["--output", tmp_path / "out.csv", "--record", tmp_path / "out.json"]
        cli.call(relevance, [str(part) for part in line])
        tables[measure] = pd.read_csv(tmp_path / "out.csv").query("model == 'late_fusion'")
    accuracy = tables["probe"].query("metric == 'accuracy'").set_index("modality")
    assert accuracy.loc["video", "inside"] > 0.8
    assert accuracy.loc["video", "alone_model"] == "video_only"
    assert accuracy.loc["video", "low"] < 0.1
    noise = tables["noise_curve"].query("metric == 'accuracy' and level == 4").set_index("modality")["value"]
    assert noise["video"] < noise["audio"]
    best = tables["dynamics"].query("quantity == 'best'").set_index("modality")["value"]
    assert best["video"] > best["audio"]
