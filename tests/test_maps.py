"""Maps of the test clips: of each modality's features, and of the vector in which a model joins them."""

from types import SimpleNamespace

import _study
import numpy as np
import pandas as pd
import pytest
import torch

from modalens.models import load_model
from modalens.reporting import charts, embeddings
from modalens.training import dataset
from modalens.utils import hdf5

CLIPS = [f"c{index:02d}" for index in range(16)]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Two modalities; what is drawn are the first two numbers of what is mapped."""
    monkeypatch.setattr(embeddings, "_project", lambda values: (values[:, :2], "plain"))
    for place, name in enumerate(("audio", "video")):
        with hdf5.write(tmp_path / "features" / name / "0.h5", {}) as writer:
            for index, clip in enumerate(CLIPS):
                writer.append(clip, np.full((3, 2), index + 100 * place, np.float32))
    table = pd.DataFrame({"clip_id": CLIPS, "seed": 0, "replacement": "", "p_a": 0.25, "p_b": 0.75})
    table.to_parquet(tmp_path / "fused.parquet")
    return SimpleNamespace(
        root=tmp_path, headline=lambda _: "fused", predictions=lambda _, model: tmp_path / f"{model}.parquet"
    )


def drawn(study):
    table, _ = embeddings.maps(study, "task", dict.fromkeys(CLIPS, "a"), {})
    return {name: part[["x", "y"]].to_numpy() for name, part in table.groupby("modality")}


def test_a_map_is_of_the_vector_in_which_the_model_joins_the_modalities(study, tmp_path):
    with hdf5.write(tmp_path / "fused.h5", {}) as writer:
        for index, clip in enumerate(CLIPS):
            writer.append(clip, np.array([index, -index, 7], np.float32))
    found = drawn(study)
    assert set(found) == {"audio", "video", "fused"}
    assert found["fused"].tolist() == [[index, -index] for index in range(16)]
    assert found["video"].tolist() == [[index + 100] * 2 for index in range(16)]


@pytest.mark.parametrize("written", [False, True])
def test_of_a_model_that_joins_none_it_is_of_what_it_says(study, tmp_path, written):
    if written:
        with hdf5.write(tmp_path / "fused.h5", {}):
            pass
    assert drawn(study)["fused"] == pytest.approx(np.log([[0.25, 0.75]] * 16))


def test_evaluation_keeps_the_vector_that_the_head_classifies_of_the_first_seed(tmp_path):
    _study.trained(_study.make(tmp_path), seeds=[0])
    _study.evaluated(tmp_path, tmp_path / "train" / "late_fusion", [0])
    (path,) = tmp_path.rglob("late_fusion.h5")
    test = dataset.read_split(tmp_path / "splits" / "test.csv").sort_values("clip_id")
    assert hdf5.ids(path) == test["clip_id"].tolist()
    model = load_model(tmp_path / "train" / "late_fusion" / "0" / "model.pt").model
    features = {name: dataset.read_features(tmp_path / "features" / name, test) for name in model.modalities}
    with torch.no_grad():
        wanted = model.fusion(model.embed(features))
    np.testing.assert_allclose(hdf5.read(path, hdf5.ids(path)), wanted.numpy(), atol=1e-5)


def test_of_many_classes_all_clips_are_drawn_and_the_commonest_have_a_color():
    names = ["common"] * 3 + [f"rare{index:02d}" for index in range(30)]
    table = pd.DataFrame({"modality": "audio", "label": names, "x": 0.0, "y": 1.0})
    table["clip_id"] = [f"clip{index}" for index in range(len(names))]
    spec = charts.embedding(table).to_dict()
    (rows,) = spec["datasets"].values()
    assert len(rows) == len(names)
    colored = spec["encoding"]["color"]["condition"]["scale"]["domain"]
    assert colored == ["common", *(f"rare{index:02d}" for index in range(17))]
    assert spec["encoding"]["color"]["condition"]["test"]["oneOf"] == colored
    assert spec["encoding"]["color"]["value"] == "#a8a8a8"
