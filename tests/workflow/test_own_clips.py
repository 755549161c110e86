"""One's own clips: the configs for folders, made small, run by Snakemake over real files."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from modalens.datasets._rendering import Drawing, render
from modalens.datasets.known_answer import KnownAnswer
from modalens.media.status import media_name

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1800)]
SMALL = {
    "shards": 1,
    "seeds": [0],
    "models": {"audio_only": {}, "late_fusion": {}},
    "training": {"epochs": 2},
    "relevance": {"bootstrap": 100},
    "modalities": {
        "audio": {"encoder": "log_mel", "decode": {"seconds": 1}},
        "video": {"encoder": "resnet50", "options": {"weights": "untrained"}, "decode": {"resize": 64, "crop": 64}},
    },
}


def config(name):
    return yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())


def test_a_csv_of_five_lines_and_its_broken_files_give_a_report(checkout, tmp_path):
    clips = KnownAnswer(["seen"], clips=30, seconds=1.0).manifest()
    for row in clips.itertuples():
        render(Drawing.of(row.source), tmp_path / f"{row.clip_id}.mp4")
    rows = [(f"{row.clip_id}.mp4", row.seen) for row in clips.itertuples()]
    (tmp_path / "text.mp4").write_text("this is no video")
    whole = (tmp_path / "ka-00000.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    rows += [("text.mp4", "A"), ("half.mp4", "B"), ("gone.mp4", "C")]
    pd.DataFrame(rows, columns=["file", "mood"]).to_csv(tmp_path / "labels.csv", index=False)

    study = checkout({**config("folder"), **SMALL, "dataset": {"name": "folder", "csv": str(tmp_path / "labels.csv")}})
    study.snakemake()
    lost = pd.read_csv(study.results / "splits" / "mood" / "attrition.csv", keep_default_na=False)
    lost = lost[lost.cause != ""].set_index("label").cause.to_dict()
    assert lost == {"A": "not_media", "B": "damaged", "C": "missing"}
    page = (study.results / "report" / "index.html").read_text()
    assert "3 of 33 clips" in page
    assert "was not trained" in page, "an untrained backbone is said in plain words"
    assert study.plan() == {}


def test_real_talking_faces_go_through(checkout, shared, tmp_path):
    labels = pd.read_csv(shared / "grid" / "labels.csv")[::4]
    labels.to_csv(tmp_path / "labels.csv", index=False)
    dataset = {"name": "folder", "csv": str(tmp_path / "labels.csv"), "media": str(shared / "grid")}
    study = checkout({**config("grid"), **SMALL, "dataset": dataset, "tasks": ["command"]})
    study.snakemake()
    status = pd.read_csv(study.results / "frames" / "0.csv", keep_default_na=False)
    assert (status.status == "ok").all()
    rows = pd.read_parquet(study.results / "evaluate" / "command" / "late_fusion.parquet")
    assert set(rows.clip_id) <= set(status.clip_id)


def test_hostile_names_never_leave_the_media_folder():
    for name in ("../x", "-abc", "/etc/passwd", "a" * 5000, "ünïcode", ""):
        made = media_name(name)
        assert Path(made).name == made
        assert not made.startswith(("-", "."))
        assert len(made) < 100
