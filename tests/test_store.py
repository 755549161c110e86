import h5py
import numpy as np
import pytest

from modalens.utils import hdf5
from modalens.utils.errors import UserError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.h5"
    with hdf5.write(path, {"encoder": "e", "options": {"b": 1, "a": [1, 2]}}) as writer:
        for index in range(7):
            writer.append(f"clip-{index}", np.full((2, 3), index, np.float16))
    return path


def test_rows_come_back_by_id_in_the_order_asked_for(path):
    rows = hdf5.read(path, ["clip-5", "clip-0", "clip-3"])
    assert rows[:, 0, 0].tolist() == [5, 0, 3]
    assert rows.dtype == np.float16


@pytest.mark.parametrize("shape", [(0,), (2, 0), (), (3,)])
def test_rows_of_any_shape_come_back_also_those_without_numbers(shape, tmp_path):
    with hdf5.write(tmp_path / "x.h5", {}) as writer:
        for name in "ab":
            writer.append(name, np.ones(shape, np.float16))
    assert hdf5.ids(tmp_path / "x.h5") == ["a", "b"]
    assert hdf5.read(tmp_path / "x.h5", ["b", "a"]).shape == (2, *shape)


@pytest.mark.parametrize("row", [np.ones((1, 3), np.float16), np.ones(3, np.float16), np.ones((2, 3), np.float64)])
def test_a_row_of_another_shape_or_dtype_is_refused_and_not_stretched(row, tmp_path):
    with hdf5.write(tmp_path / "x.h5", {}) as writer:
        writer.append("a", np.zeros((2, 3), np.float16))
        with pytest.raises(ValueError, match="'b': expected float16"):
            writer.append("b", row)
    assert hdf5.ids(tmp_path / "x.h5") == ["a"]


def test_batches_walk_every_row_once(path):
    names = [name for names, rows in hdf5.batches(path, 3) for name in names]
    assert names == hdf5.ids(path)


def test_attributes_come_back_as_written(path):
    assert hdf5.attributes(path) == {"encoder": "e", "options": {"b": 1, "a": [1, 2]}}


def test_an_absent_id_is_named(path):
    with pytest.raises(UserError, match="clip-9"):
        hdf5.read(path, ["clip-0", "clip-9"])


def test_a_flipped_byte_is_an_error_and_not_a_number(path):
    with h5py.File(path) as file:
        offset = file["data"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match="delete it"):
        hdf5.read(path, ["clip-0"])


def test_a_file_cut_short_is_an_error(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"is damaged .*truncated file"):
        hdf5.ids(path)


def test_nothing_appears_when_the_writer_fails(tmp_path):
    with pytest.raises(RuntimeError), hdf5.write(tmp_path / "y.h5", {}) as writer:
        writer.append("a", np.zeros(3))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_empty_shard_is_a_file_with_no_rows(tmp_path):
    with hdf5.write(tmp_path / "y.h5", {}):
        pass
    assert hdf5.ids(tmp_path / "y.h5") == []
    assert len(hdf5.read(tmp_path / "y.h5")) == 0


def test_a_clip_written_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="twice"), hdf5.write(tmp_path / "y.h5", {}) as writer:
        writer.append("a", np.zeros(3))
        writer.append("a", np.zeros(3))


@pytest.mark.parametrize("kind", ["external link", "soft link", "external file", "virtual data set"])
def test_nothing_of_another_file_is_read(path, tmp_path, kind):
    """A list from elsewhere may come with features: what they show must not be a file of whoever reads them."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data"] = np.full((7, 2, 3), 9, np.float16)
    (tmp_path / "secret.bin").write_bytes(secret.read_bytes())
    with h5py.File(path, "r+") as file:
        del file["data"]
        if kind == "external link":
            file["data"] = h5py.ExternalLink(str(secret), "data")
        elif kind == "soft link":
            file["data"] = h5py.SoftLink("/ids")
        elif kind == "external file":
            file.create_dataset("data", (7, 2, 3), np.float16, external=[(str(tmp_path / "secret.bin"), 0, 84)])
        else:
            layout = h5py.VirtualLayout((7, 2, 3), np.float16)
            layout[:] = h5py.VirtualSource(str(secret), "data", (7, 2, 3))
            file.create_virtual_dataset("data", layout)
    for read in (hdf5.read, hdf5.attributes, hdf5.keys, hdf5.shape):
        with pytest.raises(UserError, match="expected 'data' in this file, got"):
            read(path)


@pytest.mark.parametrize("name", ["ids", "keys", "elsewhere"])
def test_a_file_that_is_none_of_ours_is_one_line(path, name):
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(UserError, match=r"is damaged \(.*\); delete it and run again"):
        hdf5.read(path)
    with h5py.File(path, "w") as file:
        file["other"] = [1]
    with pytest.raises(UserError, match=r"is damaged \(it has no checksum\)"):
        hdf5.attributes(path)
