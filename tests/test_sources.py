"""Where the modalities of a row are: cells, files that cells name, a file of all clips, or the media file."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from modalens.config import modalities, resolve
from modalens.datasets import Reads
from modalens.datasets.folder import Folder
from modalens.media import fetch_log
from modalens.stages import clips, decode
from modalens.utils import cli, hdf5
from modalens.utils.csv_tables import read_table
from modalens.utils.errors import UserError

ENTRIES = {
    "facts": {"kind": "table", "encoder": "fields", "columns": ["price", "brand"], "decode": {"categories": ["brand"]}},
    "view": {"features": "a.h5", "axes": ["channel"]},
}


def manifest(tmp_path, content, reads, tasks=("kind",), **options):
    (tmp_path / "list.csv").write_text(content)
    dataset = Folder([*tasks, *reads.columns], csv=str(tmp_path / "list.csv"), **options)
    dataset.reads = reads
    return dataset.manifest()


def test_a_list_without_media_files_needs_ids_and_no_file(tmp_path):
    reads = Reads(["title", "picture"], ["picture"], "none")
    found = manifest(tmp_path, "clip_id,title,picture,kind\n1,Towel,p/1.jpg,a\n2,,,b\n", reads)
    assert found["source"].tolist() == ["", ""]
    assert found["group"].tolist() == ["1", "2"]
    assert found["picture"].tolist() == [f"{tmp_path}/p/1.jpg", ""]
    assert found["title"].tolist() == ["Towel", ""]
    with pytest.raises(UserError, match="no column 'clip_id'"):
        manifest(tmp_path, "title,picture,kind\nTowel,1.jpg,a\n", reads)


def test_a_file_that_no_modality_reads_names_clips_and_groups_and_is_not_fetched(tmp_path):
    reads = Reads(["title"], [], "none")
    found = manifest(tmp_path, "file,title,kind\nx/1.mp4,Towel,a\n,Cup,b\n".replace(",Cup", "x/2.mp4,Cup"), reads)
    assert found[["clip_id", "source", "group"]].to_numpy().tolist() == [["1", "", "x/1.mp4"], ["2", "", "x/2.mp4"]]


def test_a_clip_may_lack_the_media_file_where_other_modalities_are_elsewhere(tmp_path):
    content = "clip_id,file,title,kind\n1,a.mp4,Towel,a\n2,,Cup,b\n"
    found = manifest(tmp_path, content, Reads(["title"], [], "optional"))
    assert found["source"].tolist() == [f"{tmp_path}/a.mp4", ""]
    assert found["group"].tolist() == ["a.mp4", "2"]
    with pytest.raises(UserError, match="line 3: no file is named"):
        manifest(tmp_path, content, Reads())
    with pytest.raises(UserError, match="line 2: neither clip_id nor file"):
        manifest(tmp_path, "clip_id,file,title,kind\n,,Towel,a\n", Reads(["title"], [], "optional"))


def test_paths_count_from_the_folder_of_the_list_or_from_media(tmp_path):
    reads = Reads(["depth"], ["depth"], "none")
    content = "clip_id,depth,kind\n1,d/1.png|d/2.png,a\n2,/data/all.npz,b\n3,./d//3,c\n"
    wanted = [f"{tmp_path}/d/1.png|{tmp_path}/d/2.png", "/data/all.npz", f"{tmp_path}/d/3"]
    assert manifest(tmp_path, content, reads)["depth"].tolist() == wanted
    assert manifest(tmp_path, content, reads, media="m")["depth"][0] == "m/d/1.png|m/d/2.png"


@pytest.mark.parametrize("cell", ["../a.png", "/etc/passwd", "d/../../a.png", "ok.png|../a.png", r"C:\a.png", r"..\a"])
def test_a_list_from_the_web_may_not_lead_out_of_the_folder(tmp_path, cell, monkeypatch):
    from modalens.utils import csv_input

    content = f"clip_id,picture,kind\n1,{cell},a\n".encode()
    monkeypatch.setattr(csv_input, "download", lambda _: content)
    dataset = Folder(["kind", "picture"], csv="https://example.org/list.csv", media=str(tmp_path))
    dataset.reads = Reads(["picture"], ["picture"], "none")
    with pytest.raises(UserError, match="leads out of the media folder"):
        dataset.manifest()


def test_a_study_knows_what_its_modalities_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with hdf5.write("a.h5", {}) as writer:
        writer.append("1", np.zeros(4, np.float32))
    study = {"name": "x", "dataset": {"name": "folder", "csv": "a.csv"}, "tasks": ["kind"]}
    config = resolve.resolve({**study, "modalities": ENTRIES})
    assert modalities.columns(config) == ["brand", "price"]
    assert modalities.file_columns(config) == []
    assert modalities.media(config) == "none"
    forms = modalities.forms(config)
    assert {name: (one["columns"], one["store"]) for name, one in forms.items()} == {
        "features_view": ([], "a.h5"),
        "table_facts": (["price", "brand"], ""),
    }
    assert resolve.resolve(config) == config
    both = resolve.resolve({**study, "modalities": {**ENTRIES, "audio": "log_mel"}})
    assert modalities.media(both) == "optional"
    assert modalities.media(resolve.resolve({**study, "modalities": {"audio": "log_mel"}})) == "required"


def fetched(tmp_path, sources):
    table = pd.DataFrame({"clip_id": list(sources), "source": list(sources.values()), "start_s": "", "end_s": ""})
    table.to_csv(tmp_path / "shard.csv", index=False)
    line = ["--dataset", "folder", "--shard", "shard.csv", "--media", "media", "--runs", "runs.json"]
    line += ["--output", "clips.csv", "--metadata", "clips.jsonl", "--record", "clips.json", "--workers", "1"]
    clips.main(cli.parse(clips, line))
    return read_table(tmp_path / "clips.csv").set_index("clip_id")


def decoded(tmp_path, modality, options, *more):
    line = ["--modality", modality, "--options", json.dumps(options), "--clips", "clips.csv", *more, "--workers", "1"]
    line += ["--output", f"{modality}/0.h5", "--status", f"{modality}/0.csv", "--record", f"{modality}/0.json"]
    decode.main(cli.parse(decode, line))
    return read_table(tmp_path / modality / "0.csv").set_index("clip_id")


def test_rows_are_read_from_cells_files_and_one_file_of_all_clips_and_what_is_not_there_is_a_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (fetched(tmp_path, {"1": "", "2": "", "3": ""})["status"] == "ok").all()
    assert fetch_log.run_number(tmp_path / "runs.json", 3) == 0, "there is nothing to try again"
    Image.new("RGB", (40, 40), "red").save("a.png")
    cells = {"picture": ["a.png", "gone.png", ""], "price": ["3", "", "x"], "brand": ["Acme", "", "Acme"]}
    pd.DataFrame({"clip_id": ["1", "2", "3"], **cells}).to_csv("cells.csv", index=False)
    with hdf5.write("own.h5", {}) as writer:
        writer.append("1", np.ones(4, np.float32))
        writer.append("3", np.full(4, 3, np.float32))

    status = decoded(tmp_path, "image", {"size": 16}, "--cells", "cells.csv", "--columns", "picture")
    assert status["cause"].to_dict() == {"1": "", "2": "missing", "3": "absent"}
    options = {"columns": ["price", "brand"], "categories": ["brand"]}
    status = decoded(tmp_path, "table", options, "--cells", "cells.csv", "--columns", "price", "brand")
    assert status["cause"].to_dict() == {"1": "", "2": "absent", "3": "damaged"}
    assert status["detail"]["3"] == "price: expected a number, got 'x'; or name it in `categories`"
    status = decoded(tmp_path, "features", {"file": "own.h5"}, "--store", "own.h5")
    assert status["cause"].to_dict() == {"1": "", "2": "absent", "3": ""}
    assert hdf5.read("features/0.h5", ["3"])[0].tolist() == [3, 3, 3, 3]
    status = decoded(tmp_path, "audio", {"seconds": 1.0})
    assert set(status["cause"]) == {"absent"}


def test_a_row_stays_until_its_cell_or_its_file_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fetched(tmp_path, {"1": "", "2": ""})
    for name in ("a", "b"):
        Image.new("RGB", (40, 40), "red").save(f"{name}.png")
    pd.DataFrame({"clip_id": ["1", "2"], "picture": ["a.png", "b.png"]}).to_csv("cells.csv", index=False)

    def count():
        decoded(tmp_path, "image", {"size": 16}, "--cells", "cells.csv", "--columns", "picture")
        return json.loads((tmp_path / "image" / "0.json").read_text())["runs"][0]["metrics"]["decoded"]

    assert [count(), count()] == [2, 0]
    Image.new("RGB", (40, 40), "blue").save("b.png")
    assert [count(), count()] == [1, 0]
    assert hdf5.read("image/0.h5", ["2"])[0, 0, 0].tolist() == [0, 0, 255]
