"""A plugin from outside that breaks its contract, or breaks down, in a stage: one line with its name and its file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _study import evaluated, make, trained
from test_rehearsal import problems

from modalens import plugins
from modalens.plugins import blame, registry
from modalens.stages import features, manifest, relevance
from modalens.utils import cli, hdf5
from modalens.utils.errors import UserError

PLUGINS = """
import numpy as np, pandas as pd, torch
from modalens.datasets import Dataset
from modalens.encoders import Encoder
from modalens.fusions import Fusion
from modalens.measures import Measure

class Numbers(Dataset):
    def manifest(self):
        return 7

class Short(Dataset):
    def manifest(self):
        return pd.DataFrame({"clip_id": ["a"], "source": [""]})

class Counted(Dataset):
    def manifest(self):
        texts = {name: ["x", "y"] for name in ("source", "start_s", "end_s", "group", "split", "text", "t")}
        return pd.DataFrame({"clip_id": [1, 2], **texts})

class Listed(Encoder):
    input = "waveforms"
    axes = ("channel",)
    def encode(self, batch):
        return [1.0] * len(batch)

class Fewer(Listed):
    def encode(self, batch):
        return torch.zeros(len(batch) - 1, 3)

class Infinite(Listed):
    def encode(self, batch):
        return torch.full((len(batch), 3), torch.nan)

class Growing(Listed):
    batch_size = width = 1
    def encode(self, batch):
        self.width += 1
        return torch.zeros(len(batch), self.width)

class Raising(Listed):
    def encode(self, batch):
        return {}["x"]

class Wide(Fusion):
    stages = ("intermediate",)
    size = 5
    def __init__(self, sizes):
        super().__init__(sizes)
    def forward(self, features):
        return torch.cat([features[name] for name in self.modalities], 1)

class Nothing(Measure):
    def __call__(self, table):
        return None

class Nameless(Measure):
    def __call__(self, table):
        return pd.DataFrame({"x": [1]})
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Path of the plugins' file."""
    path = tmp_path / "own.py"
    path.write_text(PLUGINS)
    monkeypatch.setenv(plugins.files.ENVIRONMENT, "")
    registry.use([path])
    yield path
    registry.use([])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("numbers", "expected a table with the columns clip_id, .*, t, got int"),
        ("short", ".*got one without start_s, end_s, group, split, text, t"),
        ("counted", "expected text in every cell of 'clip_id', got int64"),
    ],
)
def test_a_data_set(own, tmp_path, name, said):
    line = ["--dataset", json.dumps({"name": name}), "--tasks", "t", "--output", tmp_path / "manifest"]
    with pytest.raises(UserError, match=rf"^the dataset {name} \({own}\): {said}"):
        cli.call(manifest, line)
    assert not list((tmp_path / "manifest").glob("*.csv"))


def encode(tmp_path: Path, name: str) -> list[object]:
    with hdf5.write(tmp_path / "0.h5", {"form": "waveforms"}) as writer:
        for clip_id in "abc":
            writer.append(clip_id, np.zeros(4, np.int16))
    line = ["--encoder", name, "--input", tmp_path / "0.h5", "--output", tmp_path / "features.h5", "--device", "cpu"]
    return [*line, "--record", tmp_path / "record.json"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("listed", r"expected features \(3, channel\), got list"),
        ("fewer", r"expected features \(3, channel\), got \(2, 3\)"),
        ("infinite", "gave not-a-number"),
        ("growing", r"'b': expected float16 \(2,\) like the clips before, got float16 \(3,\)"),
    ],
)
def test_an_encoder(own, tmp_path, name, said):
    with pytest.raises(UserError, match=rf"^the encoder {name} \({own}\):? {said}"):
        cli.call(features, encode(tmp_path, name))
    assert not (tmp_path / "features.h5").exists()


def test_a_fusion_before_anything_runs(own):
    (line,) = problems(plugins=[str(own)], models={"late_fusion": {"options": {"fusion": "wide"}}})
    assert f"the fusion wide ({own}): expected vectors (clips, size) (4, 5), got (4, 912)" in line


@pytest.mark.parametrize(("name", "got"), [("nothing", "NoneType"), ("nameless", "the columns x")])
def test_a_measure(own, tmp_path, name, got):
    root = make(tmp_path / "study")
    evaluated(root, trained(root, epochs=1))
    line = ["--measure", name, "--predictions", root / "out" / "late_fusion.parquet", "--output", tmp_path / "out.csv"]
    with pytest.raises(UserError, match=rf"^the measure {name} \({own}\): expected a table .*, got {got}$"):
        cli.call(relevance, [*line, "--record", tmp_path / "record.json"])
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.slow
def test_what_a_plugin_raises_is_one_line_with_its_place(own, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(features.__file__).parents[2])}
    line = [sys.executable, "-m", "modalens", "features", *map(str, encode(tmp_path, "raising"))]
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    number = 1 + PLUGINS.splitlines().index('        return {}["x"]')
    assert done.stderr.splitlines()[-1] == f"modalens: {own}, line {number}, in encode: KeyError: 'x'"
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("own")
def test_an_error_of_this_program_blames_no_plugin():
    with pytest.raises(KeyError) as caught:
        pd.DataFrame()["x"]
    assert blame.blamed(caught.value) == ""
