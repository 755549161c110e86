"""A modality and its encoder from outside the package, one file each: a study of three modalities to its report."""

import hashlib
import os

import numpy as np
import pandas as pd
import pytest
import yaml

from modalens.datasets._rendering import Drawing, render
from modalens.datasets.known_answer import KnownAnswer
from modalens.utils import hdf5

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1800)]

MODALITY = '''
"""Pressure: readings of a sensor, numbers in one cell of the annotations."""
import numpy as np

from modalens.media.failure_causes import ClipError
from modalens.modalities import Modality, VectorSimilarity


def parse(cell, size):
    try:
        values = np.array([float(word) for word in cell.split()], np.float32)
    except ValueError as error:
        raise ClipError("damaged", str(error)) from error
    if len(values) != size:
        raise ClipError("damaged", f"expected {size} numbers, got {len(values)}")
    return values, "numbers"


class Pressure(Modality):
    form = "readings"
    source = "column"
    label = "Air pressure"
    color = "#009E73"
    blank_name = "flat"
    keep = True

    def __init__(self, *, size: int = 4) -> None:
        self.size = size

    def attributes(self):
        return {"form": self.form, "size": self.size}

    def attempts(self):
        return [(parse, (self.size,))]

    def blank(self):
        return np.zeros(self.size, np.float32)

    def noise(self, draw):
        return draw.normal(size=self.size).astype(np.float32)

    def sketch(self, row):
        return row.astype(np.float16)

    def word(self, sketch):
        return sketch.tobytes().hex()

    def similarity(self, sketches):
        return VectorSimilarity(sketches, 0.99, sufficient=False)
'''

ENCODER = '''
"""Readings as they are, doubled: a vector."""
from modalens.encoders import Encoder


class Doubled(Encoder):
    input = "readings"
    axes = ("channel",)

    def __init__(self, device, *, factor: float = 2.0) -> None:
        super().__init__(device)
        self.options = {"factor": factor}

    def encode(self, batch):
        return (self.options["factor"] * batch).half()
'''

MEASURES = """
import pandas as pd
from modalens.measures import Measure


class AccuracyOnTest(Measure):
    needs = "model"

    def __init__(self, *, bootstrap: int = 1000, confidence: float = 0.95) -> None: ...

    def __call__(self, models):
        rows = []
        for model in models:
            network, clips = model.network(0), model.clips("test")
            right = network.log_probabilities(network.embed(clips.features)).argmax(1) == clips.truth
            rows.append({"model": model.name, "accuracy": right.mean()})
        return pd.DataFrame(rows)


class Epochs(Measure):
    needs = "history"

    def __init__(self, *, bootstrap: int = 1000, confidence: float = 0.95) -> None: ...

    def __call__(self, histories):
        return histories.groupby("model", as_index=False)["epoch"].max()
"""


def digest_of(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in files)).hexdigest()


def test_a_toy_modality_and_its_encoder_go_through_a_whole_study_without_a_change_of_the_package(checkout, tmp_path):
    clips = KnownAnswer(["seen"], clips=60, seconds=1.0).manifest()
    for row in clips.itertuples():
        render(Drawing.of(row.source), tmp_path / f"{row.clip_id}.mp4")
    draw = np.random.default_rng(0)
    classes = sorted(set(clips["seen"]))
    readings = [draw.normal(8 * classes.index(label), 1, 4) for label in clips["seen"]]
    cells = [" ".join(f"{value:.3f}" for value in row) for row in readings]
    cells[3], cells[5] = "1 2", "a b c d"
    files = [f"{name}.mp4" for name in clips["clip_id"]]
    # The label is that of the pressure: shuffled over the films, which tell nothing.
    table = pd.DataFrame({"file": draw.permutation(files), "weather": clips["seen"], "pressure": cells})
    table.to_csv(tmp_path / "labels.csv", index=False)
    (tmp_path / "pressure.py").write_text(MODALITY)
    (tmp_path / "doubled.py").write_text(ENCODER)
    (tmp_path / "toy_measures.py").write_text(MEASURES)
    measures = {"leave_one_out": {}, "coalition_values": {}, "shapley": {}, "accuracy_on_test": {}, "epochs": {}}

    study = checkout(
        {
            "name": "toy", "dataset": {"name": "folder", "csv": str(tmp_path / "labels.csv")}, "tasks": ["weather"],
            "shards": 1, "seeds": [0], "training": {"epochs": 30, "patience": 30},
            "relevance": {"bootstrap": 100, "measures": measures},
            "plugins": [str(tmp_path / f"{name}.py") for name in ("pressure", "doubled", "toy_measures")],
            "modalities": {
                "audio": {"encoder": "log_mel", "decode": {"seconds": 1}},
                "video": {
                    "encoder": "resnet50", "options": {"weights": "untrained"}, "decode": {"resize": 32, "crop": 32},
                },
                "pressure": {"encoder": "doubled", "decode": {"size": 4}},
            },
        }
    )  # fmt: skip
    package = study.root / "src"
    before = digest_of(package)
    study.snakemake()
    assert digest_of(package) == before
    assert study.plan() == {}, "a finished study has nothing to do"

    tables = (study.results / "readings_pressure").glob("*.csv")
    status = pd.concat(pd.read_csv(path, keep_default_na=False) for path in tables)
    failed = status[status["status"] == "failed"]
    assert set(failed["detail"]) == {"expected 4 numbers, got 2", "could not convert string to float: 'a'"}
    features = sorted((study.results / "features" / "pressure").glob("*.h5"))
    assert hdf5.attributes(features[0])["axes"] == ["channel"]

    settings = yaml.safe_load((study.results / "config.yaml").read_text())
    assert list(settings["models"]) == [
        "audio_only",
        "pressure_only",
        "video_only",
        "late_fusion",
        "distillation",
        "logistic",
    ]
    drops = pd.read_csv(study.results / "relevance" / "weather" / "leave_one_out.csv")
    drops = drops[(drops["model"] == "late_fusion") & (drops["metric"] == "accuracy")]
    drops = drops[drops["replacement"] == "mean@fusion"].set_index("modality")["drop"]
    assert drops["pressure"] > 0.3 > max(drops["audio"], drops["video"])
    accuracy = pd.read_csv(study.results / "relevance" / "weather" / "accuracy_on_test.csv").set_index("model")[
        "accuracy"
    ]
    predictions = pd.read_parquet(study.results / "evaluate" / "weather" / "late_fusion.parquet")
    full = predictions[predictions["condition"] == "full"]
    assert accuracy["late_fusion"] == (full["label"] == full["predicted"]).mean()
    assert len(pd.read_csv(study.results / "relevance" / "weather" / "epochs.csv")) == len(settings["models"])
    page = (study.results / "report" / "index.html").read_text()
    assert "pressure" in page
    assert "Flat Air pressure" in page, "the words of a plugin reach the reader"
    assert "#009E73" in page

    # A plugin's source counts as code of the stages that use it, and of no others.
    (tmp_path / "doubled.py").write_text(ENCODER.replace("* batch", "* batch * 1"))
    plan = study.plan()
    assert plan["features"] == 1
    assert not {"readings_pressure", "frames", "waveforms"} & set(plan)
    os.remove(tmp_path / "doubled.py")
    told = study.snakemake("-n", check=False).stdout
    assert "config: plugins: not found" in told
