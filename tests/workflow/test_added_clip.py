"""One clip is added to a finished study: what its shard decodes and encodes, by the records of the stages."""

import json

import pytest
import yaml
from _checkout import ROOT

from modalens.utils import hdf5

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(900)]
CLIPS = 24


def metrics(path):
    return json.loads(path.read_text())["runs"][0]["metrics"]


def test_one_more_clip_is_one_clip_decoded_and_encoded_and_the_rest_stays(checkout):
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config |= {"name": "grown", "tasks": ["seen"], "shards": 1}
    config["dataset"] |= {"clips": CLIPS}
    study = checkout(config)
    targets = [study.results / name for name in ("features/video/0.h5", "features/audio/0.h5")]
    targets.append(study.results / "fingerprints" / "0.csv")
    wanted = [str(path.relative_to(study.root)) for path in targets]
    study.snakemake(*wanted)
    rows = dict(zip(hdf5.ids(targets[0]), hdf5.read(targets[0]), strict=True))
    assert len(rows) == CLIPS
    lines = targets[2].read_text().splitlines()
    assert not (study.results / "frames" / "0.h5").exists(), "frames are temporary"

    study.config["dataset"]["clips"] += 1
    study.snakemake(*wanted)
    for stage in ("frames", "waveforms"):
        found = metrics(study.results / stage / "0.json")
        assert (found["clips"], found["decoded"]) == (CLIPS + 1, 1)
    for modality in ("video", "audio"):
        found = metrics(study.results / "features" / modality / "0.json")
        assert (found["clips"], found["encoded"]) == (CLIPS + 1, 1)
    assert all((hdf5.read(targets[0], [name])[0] == row).all() for name, row in rows.items())
    assert set(lines) < set(targets[2].read_text().splitlines())
    assert "Nothing to be done" in study.snakemake("-n", *wanted).stdout
