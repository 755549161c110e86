"""MM-SHAP at the input: what is masked goes through the encoder, and only decoded rows that fit the model are read."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from _study import SMALL, TRAINING

from modalens.config.resolve import resolve
from modalens.encoders import encode_file, load_encoder
from modalens.evaluation import baselines
from modalens.modalities import load_modality
from modalens.stages import relevance, train
from modalens.utils import cli, hdf5
from modalens.utils.errors import UserError

ENTRIES = {
    "audio": {"kind": "audio", "encoder": "log_mel", "options": {"mels": 16}, "decode": {"seconds": 0.1}},
    "readings": {"kind": "table", "encoder": "fields", "options": {}, "decode": {"columns": ["a", "b", "c"]}},
}
FORMS = {"audio": "waveforms", "readings": "table"}
LABELS = ["high", "low"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The first reading tells the label; the pitch of a tone is right in three clips of four."""
    root = tmp_path_factory.mktemp("study")
    draw = np.random.default_rng(0)
    classes = draw.integers(0, 2, 60)
    names = [f"c{index:02d}" for index in range(60)]
    time = np.arange(1600) / 16_000
    for name, entry in ENTRIES.items():
        modality = load_modality(entry["kind"], entry["decode"])
        encoder = load_encoder(entry["encoder"], entry["options"], torch.device("cpu"))
        with hdf5.write(root / FORMS[name] / "0.h5", modality.attributes()) as writer:
            for clip, told in zip(names, classes, strict=True):
                if name == "audio":
                    told = told if draw.random() < 0.75 else 1 - told
                    tone = 8000 * np.sin(2 * np.pi * (400, 3000)[told] * time) + 500 * draw.normal(size=1600)
                    writer.append(clip, tone.astype(np.int16))
                else:
                    row = np.stack([draw.normal(size=3), np.ones(3), np.zeros(3)], axis=1).astype(np.float32)
                    row[0, 0] += 6 * told
                    writer.append(clip, row)
        encode_file(entry["encoder"], encoder, root / FORMS[name] / "0.h5", root / "features" / name / "0.h5")
        baselines.write(entry["encoder"], encoder, modality, root / "replacements" / f"{name}.h5")
    table = pd.DataFrame({"clip_id": names, "shard": 0, "group": names, "label": np.array(LABELS)[classes]})
    (root / "splits").mkdir()
    for split, part in {"train": table[:36], "validation": table[36:46], "test": table[46:]}.items():
        part.to_csv(root / "splits" / f"{split}.csv", index=False)
    pd.DataFrame({"label": LABELS, "train": 18}).to_csv(root / "splits" / "classes.csv", index=False)
    line = ["--model", "late_fusion", "--options", json.dumps(SMALL), "--training", json.dumps(TRAINING)]
    line += ["--seeds", 0, "--modalities", *(f"{name}={root}/features/{name}" for name in ENTRIES)]
    line += ["--splits", root / "splits", "--output", root / "train" / "t" / "late_fusion"]
    cli.call(train, [*line, "--record", root / "train.json"])
    return root


def measured(study, tmp_path, measure, options, entries=None, decoded=None):
    line = ["--measure", measure, "--options", json.dumps({"bootstrap": 100, "examples": 14, **options})]
    line += ["--models", study / "train" / "t" / "late_fusion", "--seeds", 0, "--splits", study / "splits"]
    line += ["--modalities", *(f"{name}={study}/features/{name}" for name in ENTRIES)]
    line += ["--replacements", *(f"{name}={study}/replacements/{name}.h5" for name in ENTRIES)]
    line += ["--entries", json.dumps(entries or ENTRIES), "--device", "cpu"]
    line += ["--decoded", *(f"{name}={decoded or study}/{form}" for name, form in FORMS.items())]
    cli.call(relevance, [*line, "--output", tmp_path / "out.csv", "--record", tmp_path / "out.json"])
    return pd.read_csv(tmp_path / "out.csv", keep_default_na=False)


def test_where_the_encoder_changes_nothing_both_levels_say_the_same(study, tmp_path):
    # The audio is one patch: masked, it is blank before the encoder or after.
    options = {"replacement": "blank@input", "grid": {"audio": {"time": 1}}, "clips": 0, "patches": 8}
    at_input = measured(study, tmp_path, "mm_shap_input", options)
    in_features = measured(study, tmp_path, "mm_shap", options)
    assert at_input["kind"].value_counts()["clip"] == 14 * (1 + 3)
    np.testing.assert_allclose(
        at_input["value"].astype(float), in_features["value"].astype(float), rtol=1e-3, atol=1e-6
    )
    shares = at_input[(at_input["kind"] == "modality") & (at_input["quantity"] == "share") & (at_input["label"] == "")]
    assert set(shares["modality"]) == set(ENTRIES)
    assert in_features["value"].astype(float).max() > 0.1
    readings = at_input[(at_input["kind"] == "patch") & (at_input["quantity"] == "size")].set_index("patch")["value"]
    assert float(readings["field 0:1"]) > 2 * max(float(readings["field 1:2"]), float(readings["field 2:3"]))


def test_clips_that_lack_a_modality_take_no_part(study, tmp_path):
    """Nothing of them was decoded; those that have both are measured as if there were no others."""
    root = tmp_path / "some lack"
    shutil.copytree(study, root)
    table = pd.read_csv(root / "splits" / "test.csv")
    lacks = np.where(np.arange(len(table)) % 3 == 0, "audio", "")
    with hdf5.write(root / "waveforms" / "0.h5", hdf5.attributes(study / "waveforms" / "0.h5")) as writer:
        for clip in table.loc[lacks == "", "clip_id"]:
            writer.append(clip, hdf5.read(study / "waveforms" / "0.h5", [clip])[0])
    table.assign(lacks=lacks).to_csv(root / "splits" / "test.csv", index=False)
    some = measured(root, tmp_path, "mm_shap_input", {"patches": 4, "clips": 0})
    assert some.loc[some["kind"] == "clip", "clip_id"].nunique() == (lacks == "").sum()
    each = np.where(np.arange(len(table)) % 2 == 0, "audio", "readings")
    table.assign(lacks=each).to_csv(root / "splits" / "test.csv", index=False)
    with pytest.raises(UserError, match="no test clip has all of audio, readings"):
        measured(root, tmp_path, "mm_shap_input", {"patches": 4})


def test_stretches_of_the_audio_are_silenced_before_the_encoder(study, tmp_path):
    table = measured(study, tmp_path, "mm_shap_input", {"patches": 4, "clips": 6})
    audio = table[(table["kind"] == "patch") & (table["modality"] == "audio") & (table["quantity"] == "size")]
    assert list(audio["patch"]) == ["time 0:400", "time 400:800", "time 800:1200", "time 1200:1600"]
    assert (audio["value"].astype(float) > 0).all()
    assert set(table[table["kind"] == "modality"]["replacement"]) == {"blank@input"}


def test_decoded_rows_of_other_settings_are_refused(study, tmp_path):
    other = {**ENTRIES, "audio": {**ENTRIES["audio"], "options": {"mels": 32}}}
    with pytest.raises(UserError, match="made with other settings"):
        measured(study, tmp_path, "mm_shap_input", {}, entries=other)
    with pytest.raises(UserError, match="at the input one of blank@input, gaussian@input can stand in, got"):
        measured(study, tmp_path, "mm_shap_input", {"replacement": "mean@input"})
    with pytest.raises(UserError, match=r"not found: .*waveforms/0\.h5"):
        measured(study, tmp_path, "mm_shap_input", {}, decoded=tmp_path)


def test_a_study_that_throws_decoded_rows_away_is_told_to_keep_them():
    config = {
        "name": "s", "dataset": {"name": "known_answer"}, "tasks": ["seen"],
        "relevance": {"measures": {"mm_shap_input": {}}},
        "modalities": {"audio": "log_mel", "video": {"encoder": "resnet50"}},
    }  # fmt: skip
    with pytest.raises(UserError, match=r"expected modalities\.video\.keep: true, got false"):
        resolve(config)
    config["modalities"]["video"]["keep"] = True
    assert resolve(config)["relevance"]["measures"] == {"mm_shap_input": {}}
