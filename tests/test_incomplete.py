"""Clips that lack a modality and stay: what stands for it, and that it can be withheld from none of them."""

import json

import _study
import numpy as np
import pandas as pd
import pytest
import torch

from modalens.curation.splitting import keep_incomplete
from modalens.stages import splits, train
from modalens.stages.train import setup
from modalens.training.fit_job import embedding_statistics
from modalens.utils import cli, hdf5
from modalens.utils.errors import UserError

LACKING = ("clip-03", "clip-17", "clip-24", "clip-38", "clip-41", "clip-48", "clip-51", "clip-55")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Some clips of each split lack audio, one of them another modality than its neighbour."""
    root = _study.make(tmp_path_factory.mktemp("study"))
    for modality, gone in (("audio", LACKING), ("video", ("clip-10",))):
        for path in (root / "features" / modality).glob("*.h5"):
            rows = {name: row for name, row in zip(hdf5.ids(path), hdf5.read(path), strict=True) if name not in gone}
            with hdf5.write(path, hdf5.attributes(path)) as writer:
                for name, row in rows.items():
                    writer.append(name, row)
    for path in (root / "splits").glob("[tv]*.csv"):
        table = pd.read_csv(path, dtype=str)
        lacks = {**dict.fromkeys(LACKING, "audio"), "clip-10": "video"}
        table.assign(lacks=table["clip_id"].map(lacks).fillna("")).to_csv(path, index=False)
    return root


@pytest.fixture(scope="module")
def job(study):
    return setup.read(cli.parse(train, _study.train_line(study)))


def test_clips_that_lack_some_modalities_stay_and_those_that_lack_all_do_not():
    clips = pd.DataFrame({"clip_id": list("abcd"), "split": ["train"] * 3 + ["test"], "label": "x"})
    clips = clips.assign(cause=["", "absent", "missing", ""], stage=["", "texts", "clips", ""])
    lacks = pd.DataFrame(
        {"clip_id": list("abcd"), "audio": ["", "", "missing", ""], "text": ["", "absent", "absent", ""]}
    )
    found, table = keep_incomplete(clips, lacks)
    assert found[["cause", "stage", "lacks"]].to_numpy().tolist() == [
        ["", "", ""],
        ["", "", "text"],
        ["missing", "clips", ""],
        ["", "", ""],
    ]
    assert table.to_dict("records") == [
        {"split": "train", "label": "x", "modality": "text", "cause": "absent", "clips": 1}
    ]


def test_the_stage_lists_what_each_clip_lacks_and_what_no_clip_has_is_lost(tmp_path):
    names = [f"c{place:02d}" for place in range(40)]
    labels = pd.DataFrame({"clip_id": names, "shard": "0", "group": names, "split": ""})
    labels = labels.assign(label=["x", "y"] * 20)
    status = pd.DataFrame({"clip_id": names, "status": "ok", "cause": "", "detail": ""})
    for stage, gone in (("clips", ()), ("waveforms", range(0, 20)), ("texts_text", range(16, 22))):
        table = status.copy()
        failed = table.index.isin(gone)
        table = table.assign(status=np.where(failed, "failed", "ok"), cause=np.where(failed, "absent", ""))
        (tmp_path / stage).mkdir()
        table.to_csv(tmp_path / stage / "0.csv", index=False)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    line = ["--labels", "labels.csv", "--study", ".", "--stages", "clips", "waveforms", "texts_text"]
    line += ["--incomplete", "audio=waveforms", "text=texts_text", "--output", "out", "--record", "out.json"]
    line = [str(tmp_path / word) if word in ("labels.csv", ".", "out", "out.json") else word for word in line]
    splits.main(cli.parse(splits, line))
    kept = pd.concat(pd.read_csv(tmp_path / "out" / f"{name}.csv") for name in ("train", "validation", "test"))
    lacks = kept.fillna("").set_index("clip_id")["lacks"]
    assert len(lacks) == 36
    assert {lacks[name] for name in names[:16]} == {"audio"}
    assert {lacks[name] for name in names[20:22]} == {"text"}
    assert {lacks[name] for name in names[22:]} == {""}
    lost = pd.read_csv(tmp_path / "out" / "attrition.csv").dropna(subset="cause")
    assert lost["clips"].sum() == 4
    told = pd.read_csv(tmp_path / "out" / "incomplete.csv").groupby("modality")["clips"].sum()
    assert told.to_dict() == {"audio": 16, "text": 2}
    metrics = json.loads((tmp_path / "out.json").read_text())["runs"][0]["metrics"]
    assert (metrics["lacking/audio"], metrics["lacking/text"]) == (16, 2)


@pytest.mark.parametrize("incomplete", [["--incomplete", "text=texts_text", "table=tables"], []])
def test_a_modality_that_no_clip_has_is_told_with_its_commonest_cause_and_the_table_of_it(tmp_path, incomplete):
    names = [f"c{place:02d}" for place in range(9)]
    labels = pd.DataFrame({"clip_id": names, "shard": "0", "group": names, "split": "", "label": list("xy" * 4 + "x")})
    labels.to_csv(tmp_path / "mood.csv", index=False)
    good = pd.DataFrame({"clip_id": names, "status": "ok", "cause": "", "detail": ""})
    bad = good.assign(status="failed", cause=["absent"] + ["damaged"] * 8, detail=["all empty"] + ["no number"] * 8)
    for stage, table in (("texts_text", good), ("tables", bad)):
        (tmp_path / stage).mkdir()
        table.to_csv(tmp_path / stage / "0.csv", index=False)
    line = ["--labels", tmp_path / "mood.csv", "--study", tmp_path, "--stages", "texts_text", "tables", *incomplete]
    line += ["--output", tmp_path / "out", "--record", tmp_path / "out.json"]
    said = r"mood: tables: .* all 9 failed, 8 times with the cause 'damaged' \(no number\); see \S+/tables/0\.csv"
    with pytest.raises(UserError, match=said):
        splits.main(cli.parse(splits, line))


def test_the_mean_of_the_training_clips_that_have_it_stands_for_what_a_clip_lacks(study, job):
    table = pd.read_csv(study / "splits" / "train.csv", dtype=str).sort_values("clip_id", ignore_index=True)
    lacks = np.array(table["clip_id"].isin(LACKING))
    rows = job.train.features["audio"].float()
    wanted = rows[~lacks].mean(dim=(0, 2))
    assert lacks.sum() == 3
    for row in rows[lacks]:
        torch.testing.assert_close(row, wanted.unsqueeze(1).expand_as(row), atol=2e-3, rtol=2e-3)
    assert job.validation.lacks["audio"].sum() == 2
    assert torch.equal(job.validation.features["audio"][job.validation.lacks["audio"]][0], rows[lacks][0].half())
    assert job.train.lacks["video"].sum() == 1
    assert "video" not in job.validation.lacks


def test_what_stands_in_changes_no_statistic_of_training(job):
    model = setup._new(job, 0, None)
    values = job.train.present("audio").float()
    mean = model.normalizers["audio"].mean.flatten()
    torch.testing.assert_close(mean, values.mean(dim=(0, 2)), atol=1e-4, rtol=1e-4)
    scale = model.normalizers["audio"].scale.flatten()
    std = values.transpose(1, 2).flatten(0, 1).std(0, correction=0)
    torch.testing.assert_close(scale, 1 / std, atol=1e-3, rtol=1e-3)
    means, _ = embedding_statistics(model.eval(), job.train, torch.device("cpu"))
    own = model.embed({"audio": job.train.present("audio")})["audio"]
    torch.testing.assert_close(means["audio"], own.mean(0), atol=1e-5, rtol=1e-5)


def test_a_modality_cannot_be_withheld_from_a_clip_that_lacks_it(study):
    table = _study.evaluated(study, _study.trained(study))
    gone = table[table["clip_id"].isin(LACKING)].set_index("clip_id")
    assert set(gone["lacks"]) == {"audio"}
    assert set(table.loc[~table["clip_id"].isin(LACKING), "lacks"]) == {""}
    full = gone[gone["replacement"] == ""]["log_probability"]
    for kind, rows in gone[gone["coalition"] == "video"].groupby("replacement"):
        np.testing.assert_array_equal(rows["log_probability"].reindex(full.index), full, err_msg=str(kind))
    there = table[~table["clip_id"].isin(LACKING)].set_index("clip_id")
    full = there[there["replacement"] == ""]["log_probability"]
    for kind, rows in there[there["coalition"] == "video"].groupby("replacement"):
        assert (rows["log_probability"].reindex(full.index) != full).mean() > 0.9, kind


def test_a_modality_that_no_training_clip_has_is_one_line(study, tmp_path):
    (tmp_path / "splits").mkdir()
    for path in (study / "splits").glob("*.csv"):
        table = pd.read_csv(path, dtype=str)
        if "clip_id" in table:
            table["lacks"] = "audio"
        table.to_csv(tmp_path / "splits" / path.name, index=False)
    (tmp_path / "features").symlink_to(study / "features")
    with pytest.raises(UserError, match="features/audio: expected features of some clips, but all 36 lack them"):
        setup.read(cli.parse(train, _study.train_line(tmp_path)))


def test_a_clip_that_lacks_two_modalities_is_counted_once(tmp_path):
    from types import SimpleNamespace

    from modalens.reporting import attrition

    folder = tmp_path / "splits" / "mood"
    folder.mkdir(parents=True)
    (folder / "incomplete.csv").write_text(
        "split,label,modality,cause,clips\ntrain,x,text,absent,2\ntrain,x,table,absent,1\n"
    )
    for name, lacks in (("train", ['"table,text"', "text", ""]), ("validation", [""]), ("test", [""])):
        rows = [f"{name}{place},x,{one}" for place, one in enumerate(lacks)]
        (folder / f"{name}.csv").write_text("\n".join(["clip_id,label,lacks", *rows, ""]))
    study = SimpleNamespace(root=tmp_path, tasks=["mood"])
    assert attrition.incomplete(study)["all"].sum() == 3
    assert attrition.lacking(study) == {"mood": 2}


def test_what_is_lost_and_what_is_kept_without_a_modality_is_one_sentence():
    from modalens.reporting.caveats import lost_clips

    def said(lost, kept):
        rows = [("mood", "", 20), ("mood", "damaged", lost)]
        return lost_clips(pd.DataFrame(rows, columns=["task", "cause", "clips"]), kept)

    rest = "stayed without one of the modalities: see clips that lack a modality."
    without = f"2 clips {rest}"
    assert said(0, {"mood": 2}) == f"No clip was left out; {without}"
    assert said(5, {"mood": 2}) == f"5 of 25 clips (20.0%) could not be used: see clips lost; {without}"
    assert said(0, {"mood": 2, "age": 2}) == f"No clip was left out; 2 clips of each task {rest}"
    assert said(0, {"mood": 2, "age": 1}) == f"No clip was left out; 2 clips of mood, 1 clip of age {rest}"
    assert said(0, {}) == "No clip was lost."
