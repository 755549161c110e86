"""Features of one's own, from HDF5 or Parquet by clip id, or a row with a cause."""

import h5py
import numpy as np
import pandas as pd
import pytest

from modalens.config import resolve
from modalens.media.failure_causes import ClipError
from modalens.modalities import load_modality
from modalens.utils.errors import UserError

IDS = ["a", "b", "ünï/c"]
ROWS = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)


def read(path, clip_id):
    modality = load_modality("features", {"file": str(path)})
    ((function, settings),) = modality.attempts()
    row, _ = function(clip_id, *settings)
    assert (row.shape, row.dtype) == (modality.blank().shape, np.float32)
    return row


def written(tmp_path, kind, rows=ROWS, ids=IDS):
    path = tmp_path / ("a.parquet" if "parquet" in kind else "a.h5")
    if kind == "parquet of lists":
        pd.DataFrame({"clip_id": ids, "row": [row.tolist() for row in rows]}).to_parquet(path)
    elif kind == "parquet of columns":
        pd.DataFrame(rows).add_prefix("x").assign(clip_id=ids).to_parquet(path)
    elif kind == "hdf5 of rows":
        with h5py.File(path, "w") as file:
            file["ids"], file["data"] = ids, rows
    else:
        with h5py.File(path, "w") as file:
            for name, row in zip(ids, rows, strict=True):
                file[name.replace("/", "_")] = row
    return path


@pytest.mark.parametrize("kind", ["parquet of lists", "parquet of columns", "hdf5 of rows", "hdf5 of clips"])
def test_every_layout_gives_a_clip_its_row(tmp_path, kind):
    rows = ROWS[:, 0] if kind == "parquet of columns" else ROWS
    path = written(tmp_path, kind, rows)
    for name, row in zip(IDS, rows, strict=True):
        name = name.replace("/", "_") if kind == "hdf5 of clips" else name
        np.testing.assert_array_equal(read(path, name), row)


def test_a_clip_without_a_row_or_with_another_shape_or_no_numbers_has_a_cause(tmp_path):
    lists = [[1.0, 2.0], [1.0], [1.0, float("nan")], [1.0, 1e30], None]
    names = ["good", "short", "hole", "large", "none"]
    pd.DataFrame({"clip_id": names, "row": lists}).to_parquet(tmp_path / "a.parquet")
    told = {"gone": ("absent", "no row"), "short": ("damaged", r"shape \(2,\) of the first row, got \(1,\)")}
    told |= {
        "hole": ("damaged", "1 of 2 values"),
        "large": ("damaged", "half precision"),
        "none": ("damaged", "numbers"),
    }
    assert read(tmp_path / "a.parquet", "good").tolist() == [1, 2]
    for name, (cause, detail) in told.items():
        with pytest.raises(ClipError, match=detail) as caught:
            read(tmp_path / "a.parquet", name)
        assert caught.value.cause == cause


def test_a_file_that_changes_is_read_anew(tmp_path):
    path = written(tmp_path, "hdf5 of rows")
    before = read(path, "a")
    path.unlink()
    assert (read(written(tmp_path, "hdf5 of rows", 2 * ROWS[:, :3]), "a") == 2 * before[:3]).all()


def broken(tmp_path):
    """Files that are no features, and what is said of each."""
    (tmp_path / "words.h5").write_text("no HDF5")
    yield "words.h5", "damaged|signature"
    pd.DataFrame({"id": IDS, "x": 1.0}).to_parquet(tmp_path / "b.parquet")
    yield "b.parquet", "expected a column clip_id, got id, x"
    pd.DataFrame({"clip_id": ["a", "a"], "x": 1.0}).to_parquet(tmp_path / "c.parquet")
    yield "c.parquet", "'a' is there twice"
    pd.DataFrame({"clip_id": ["a"], "x": ["red"]}).to_parquet(tmp_path / "d.parquet")
    yield "d.parquet", "expected rows of numbers"
    pd.DataFrame({"clip_id": [], "x": []}).to_parquet(tmp_path / "e.parquet")
    yield "e.parquet", "holds no row"
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["ids"], file["data"] = IDS, ROWS[:2]
    yield "f.h5", "expected ids"
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file["ids"], file["data"] = IDS, np.array([b"x", b"y", b"z"])
    yield "g.h5", "expected rows of numbers"
    with h5py.File(tmp_path / "h.h5", "w") as file:
        file["ids"], file["data"] = IDS, h5py.ExternalLink("/etc/passwd", "data")
    yield "h.h5", "lies in another file"
    yield "gone.h5", "not found"


def test_a_file_that_is_none_of_features_is_one_line(tmp_path):
    for name, line in broken(tmp_path):
        with pytest.raises(UserError, match=line) as caught:
            load_modality("features", {"file": str(tmp_path / name)})
        assert "\n" not in str(caught.value)


def config(**entry):
    study = {"name": "x", "dataset": {"name": "folder", "csv": "a.csv"}, "tasks": ["y"]}
    return resolve.resolve({**study, "modalities": {"view": entry, "other": entry}})["modalities"]["view"]


def test_a_config_names_a_file_and_its_axes(tmp_path):
    path = written(tmp_path, "hdf5 of rows")
    entry = config(features=str(path), axes=["time", "channel"])
    assert (entry["kind"], entry["encoder"]) == ("features", "given")
    assert (entry["options"], entry["decode"]) == ({"axes": ["time", "channel"]}, {"file": str(path)})
    assert "column" not in entry


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"features": "gone.h5"}, r"modalities\.view\.decode: features: not found: gone\.h5"),
        ({"features": "a.h5", "encoder": "given"}, "leave the key 'encoder' out"),
        ({"axes": ["channel"], "encoder": "given"}, "the key 'features' is missing"),
        ({"kind": "video"}, "the key 'encoder' is missing"),
        ({"kind": "image", "encoder": "given"}, "the encoder given reads features, but image is decoded to images"),
        ({"kind": "table", "encoder": "fields"}, "the key 'columns' is missing"),
        ({"kind": "table", "encoder": "fields", "column": "a"}, "table reads several columns; expected columns"),
        (
            {"kind": "table", "encoder": "fields", "columns": ["a"], "decode": {"categories": ["b"]}},
            "categories: 'b' is none of the columns a",
        ),
        ({"kind": "table", "encoder": "fields", "columns": ["a"], "decode": {"categories": "a"}}, "expected Sequence"),
    ],
)
def test_an_entry_that_cannot_be_is_one_line(entry, line):
    with pytest.raises(UserError, match=line):
        config(**entry)
