import itertools
import json
import os
import zlib

import _study
import numpy as np
import pandas as pd
import pytest

from modalens.evaluation import predict, trained
from modalens.evaluation.ablation import KINDS, SEED, condition, derangement
from modalens.models import load_model
from modalens.stages import evaluate
from modalens.tracking import records
from modalens.utils import cli, hdf5
from modalens.utils.errors import UserError

COALITIONS = ["", "audio", "video"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = _study.make(tmp_path_factory.mktemp("study"))
    _study.trained(root, seeds=[0, 1])
    _study.trained(root, model="video_only")
    return root


@pytest.fixture(scope="module")
def predictions(study):
    return _study.evaluated(study, study / "train" / "late_fusion", [0, 1])


def test_every_test_clip_is_scored_once_per_seed_and_condition(study, predictions):
    test = pd.read_csv(study / "splits" / "test.csv", dtype=str)
    conditions = 1 + len(COALITIONS) * len(KINDS)
    assert predictions.condition.nunique() == conditions
    assert len(predictions) == 2 * conditions * len(test)
    for _, part in predictions.groupby(["seed", "condition"]):
        assert sorted(part.clip_id) == sorted(test.clip_id)


def test_columns_are_those_of_the_contract(predictions):
    names = [
        "clip_id",
        "group",
        "seed",
        "condition",
        "replacement",
        "coalition",
        "label",
        "predicted",
        "log_probability",
        "label_rank",
    ]
    assert list(predictions.columns) == [*names, "p_007", "p_cat", "p_dog", "prior_predicted", "prior_log_probability"]
    assert predictions.p_cat.dtype == np.float32
    assert set(predictions.label) <= set(_study.LABELS)


def test_labels_and_groups_are_those_of_the_split(study, predictions):
    test = pd.read_csv(study / "splits" / "test.csv", dtype=str).set_index("clip_id")
    assert (predictions.label.to_numpy() == test.label[predictions.clip_id].to_numpy()).all()
    assert (predictions.group.to_numpy() == test.group[predictions.clip_id].to_numpy()).all()


def test_probabilities_sum_to_one_and_agree_with_the_other_columns(predictions):
    values = predictions[["p_007", "p_cat", "p_dog"]].to_numpy()
    np.testing.assert_allclose(values.sum(1), 1, rtol=1e-5)
    assert (np.array(_study.LABELS)[values.argmax(1)] == predictions.predicted).all()
    truth = values[np.arange(len(values)), [_study.LABELS.index(label) for label in predictions.label]]
    np.testing.assert_allclose(np.log(truth), predictions.log_probability, rtol=1e-3, atol=1e-4)


def test_each_coalition_meets_each_replacement_and_the_full_one_stands_once(predictions):
    pairs = predictions[["coalition", "replacement"]].drop_duplicates()
    found = set(pairs.itertuples(index=False, name=None))
    assert found == {("audio,video", ""), *itertools.product(COALITIONS, KINDS)}


def test_conditions_are_named_by_modality_and_replacement():
    assert condition([], "") == "full"
    assert condition(["video", "audio"], "blank@input") == "audio=blank,video=blank"
    assert condition(["text"], "blank@input") == "text=blank"
    assert condition(["audio"], "mean@fusion") == "audio=mean@fusion"
    assert condition(["video"], "gaussian@input") == "video=gaussian"


def test_the_batch_size_changes_no_prediction(study, predictions):
    ones = _study.evaluated(study, study / "train" / "late_fusion", [0, 1], "--batch-size", "1")
    pd.testing.assert_frame_equal(ones, predictions, rtol=1e-4, atol=1e-5)


def test_clips_are_joined_by_id_whatever_their_order_in_the_files(study, predictions, tmp_path):
    other = _study.make(tmp_path / "other", shuffle=5)
    found = _study.evaluated(other, study / "train" / "late_fusion", [0, 1])
    pd.testing.assert_frame_equal(found, predictions)


def test_withholding_the_noise_costs_nothing_and_the_picture_everything(predictions):
    hits = predictions.assign(hit=predictions.label == predictions.predicted).groupby("condition").hit.mean()
    assert hits["full"] > 0.8
    assert hits["audio=mean"] > 0.8
    assert hits["video=mean"] < 0.7
    assert hits["video=blank"] < 0.7


def test_replacements_are_what_they_are_called(study):
    loaded = load_model(study / "train" / "late_fusion" / "0" / "model.pt")
    folders = {name: study / "features" / name for name in _study.SHAPES}
    files = {name: study / "replacements" / f"{name}.h5" for name in _study.SHAPES}
    test = trained.read(loaded, study / "splits" / "test.csv", folders, files, KINDS)
    withholder = trained.ablator(loaded, test, 5)
    embed = withholder.network.embed
    own = embed(test.features)
    blank, noises = embed(test.stand_ins["blank@input"]), embed(test.stand_ins["gaussian@input"])
    for name in _study.SHAPES:
        count = len(own[name])
        found = {kind: withholder.embeddings(name, kind) for kind in ("", *KINDS)}
        np.testing.assert_allclose(found[""], own[name], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["blank@input"], blank[name].repeat(count, 0), rtol=1e-5, atol=1e-6)
        assert all(np.abs(row - noises[name]).sum(1).min() < 1e-4 for row in found["gaussian@input"])
        assert len(np.unique(found["gaussian@input"], axis=0)) > 1
        assert (found["zero@fusion"] == 0).all()
        assert found["zero@fusion"].shape == own[name].shape
        assert (found["mean@fusion"][0] == loaded.embedding_means[name].numpy()).all()
        stds = loaded.embedding_stds[name].numpy()
        noise = np.random.default_rng([SEED, zlib.crc32(name.encode())]).standard_normal((count, len(stds)))
        np.testing.assert_allclose(found["gaussian@fusion"], noise * stds, rtol=1e-5)
        np.testing.assert_array_equal(np.sort(found["shuffle@input"], 0), np.sort(own[name], 0))
    turns = [withholder.embeddings(name, "shuffle@input") for name in _study.SHAPES]
    assert not np.array_equal(turns[0], turns[1])


@pytest.mark.parametrize("count", [2, 3, 50])
def test_a_derangement_moves_every_clip(count):
    found = derangement(count, np.random.default_rng(0)).tolist()
    assert sorted(found) == list(range(count))
    assert all(index != position for position, index in enumerate(found))


@pytest.mark.parametrize("model", ["balance_mla", "joint_transformer"])
def test_embeddings_that_are_sequences_are_withheld_whole(study, model):
    small = {"width": 8, "heads": 2, "layers": 1}
    folder = _study.trained(study, model=model, options=small, epochs=1)
    loaded = load_model(folder / "0" / "model.pt")
    assert loaded.embedding_means["audio"].shape == (16, 8)
    predictions = _study.evaluated(study, folder)
    assert predictions.condition.nunique() == 1 + len(COALITIONS) * len(KINDS)
    assert predictions.log_probability.notna().all()


def test_a_unimodal_model_withholds_its_only_modality(study):
    found = _study.evaluated(study, study / "train" / "video_only")
    assert set(found.coalition) == {"", "video"}
    assert {"full", "video=blank", "video=zero@fusion"} < set(found.condition)


def test_the_record_has_the_papers_metrics_and_an_accuracy_per_condition(study):
    _study.evaluated(study, study / "train" / "late_fusion", [0], "--key", json.dumps({"model": "late_fusion"}))
    stage, (run,) = records.read(study / "out" / "late_fusion.json")
    assert stage == "evaluate"
    assert run.key == {"model": "late_fusion", "seed": 0}
    assert {"accuracy", "balanced_accuracy", "precision", "recall", "f1"} < set(run.metrics)
    assert "accuracy/audio_blank.video_blank" in run.metrics
    assert "accuracy/audio_mean_fusion" in run.metrics


def test_scores_match_a_table_worked_by_hand():
    label = pd.Series(["a"] * 6 + ["b"] * 2)
    predicted = pd.Series(["a"] * 5 + ["b", "b", "a"])
    found = predict.scores(label, predicted)
    assert found["accuracy"] == 6 / 8
    assert found["balanced_accuracy"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert found["precision"] == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_features_of_another_encoder_are_refused(study, tmp_path):
    other = _study.make(tmp_path / "other")
    with hdf5.write(other / "replacements" / "audio.h5", {"encoder": "other"}) as writer:
        writer.append("blank", np.zeros(tuple(_study.SHAPES["audio"].values())))
    with pytest.raises(UserError, match=r"audio\.h5 was made with other settings"):
        _study.evaluated(other, study / "train" / "late_fusion")


def test_an_unknown_replacement_is_refused_with_the_nearest(study):
    with pytest.raises(UserError, match="did you mean 'blank@input'"):
        _study.evaluated(study, study / "train" / "late_fusion", [0], "--conditions", "black@input")


def test_a_label_that_training_never_had_is_named(study, tmp_path):
    other = _study.make(tmp_path / "other")
    (other / "splits" / "test.csv").write_text("clip_id,shard,group,label\nclip-50,0,g,cow\n")
    with pytest.raises(UserError, match="'cow', which is none of the task's 3 classes"):
        _study.evaluated(other, study / "train" / "late_fusion")


@pytest.mark.slow
def test_of_a_task_only_the_model_that_changed_is_evaluated_again(study, tmp_path, monkeypatch):
    """With the same predictions as alone, to the last bit; what is kept is as new as what is made."""
    models = [study / "train" / name for name in ("late_fusion", "video_only")]
    made = {"video_only": {"modalities": ["video"], "code": "1"}}
    made["late_fusion"] = {"modalities": ["audio", "video"], "code": "1"}

    def evaluated(**changed):
        line = ["--models", *models, "--made", json.dumps(made | changed), "--seeds", 0, "--device", "cpu"]
        line += ["--test", study / "splits" / "test.csv", "--output", tmp_path]
        line += ["--modalities", *(f"{name}={study}/features/{name}" for name in _study.SHAPES)]
        line += ["--replacements", *(f"{name}={study}/replacements/{name}.h5" for name in _study.SHAPES)]
        cli.call(evaluate, line)
        return {model.name: (tmp_path / f"{model.name}.parquet").read_bytes() for model in models}

    first = evaluated()
    asked = []
    monkeypatch.setattr(evaluate, "load_model", lambda path: asked.append(path.parts[-3]) or load_model(path))
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1))
    assert evaluated() == first
    assert asked == []
    assert all(path.stat().st_mtime > 1 for path in tmp_path.iterdir())
    assert evaluated(late_fusion={"modalities": ["audio", "video"], "code": "2"}) == first
    assert asked == ["late_fusion"]
    for path in (study / "features" / "audio").glob("*.h5"):
        os.utime(path)
    evaluated(late_fusion={"modalities": ["audio", "video"], "code": "2"})
    assert asked == ["late_fusion"] * 2, "the other one does not look at audio"
    (tmp_path / "video_only.parquet").write_bytes(first["video_only"][:-9])
    assert evaluated(late_fusion={"modalities": ["audio", "video"], "code": "2"}) == first
    assert asked[2:] == ["video_only"], "a damaged table is no table"
