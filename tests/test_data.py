import pandas as pd
import pytest
import torch

from modalens.training import dataset
from modalens.utils import hdf5
from modalens.utils.errors import UserError

CPU = torch.device("cpu")
ROWS = torch.arange(24).view(6, 2, 2).half()


def clips():
    return dataset.FeatureDataset({"video": ROWS}, torch.arange(6))


@pytest.mark.parametrize("rows", [slice(1, 4), torch.tensor([5, 0, 5])])
def test_a_batch_holds_the_rows_that_were_asked_for(rows):
    features, labels = clips().batch(rows, CPU)
    assert torch.equal(features["video"], ROWS[rows])
    assert torch.equal(labels, torch.arange(6)[rows])
    assert features["video"].dtype == torch.float16


@pytest.mark.parametrize(("free", "there"), [(10_000, True), (100, False)])
def test_clips_live_on_the_device_where_it_holds_them_twice(free, there, monkeypatch):
    """24 numbers of 2 bytes and 6 labels of 8 are 96 bytes."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, free))
    moved = []
    monkeypatch.setattr(torch.Tensor, "to", lambda values, device: moved.append(device) or values)
    placed = clips().to_device(torch.device("cuda"))
    assert moved == ([torch.device("cuda")] * 2 if there else [])
    assert torch.equal(placed.features["video"], ROWS)


def test_pieces_are_views_in_order():
    found = list(dataset.Pieces(ROWS, 4))
    assert [len(piece) for piece in found] == [4, 2]
    assert torch.equal(torch.cat(found), ROWS)
    assert found[1].data_ptr() == ROWS[4].data_ptr()


def features(folder, shards):
    """shards: {number: ids}; a clip's row is its number."""
    for shard, names in shards.items():
        with hdf5.write(folder / f"{shard}.h5", {"encoder": "e"}) as writer:
            for name in names:
                writer.append(name, torch.full((2,), float(name[1:])).numpy())


def test_features_are_joined_by_id_across_shards(tmp_path):
    features(tmp_path, {0: ["c4", "c1"], 1: ["c3", "c0", "c2"]})
    table = pd.DataFrame({"clip_id": ["c0", "c1", "c3", "c4"], "shard": ["1", "0", "1", "0"]})
    assert dataset.read_features(tmp_path, table)[:, 0].tolist() == [0, 1, 3, 4]


def test_shards_of_different_shapes_are_refused(tmp_path):
    features(tmp_path, {0: ["c1"]})
    with hdf5.write(tmp_path / "1.h5", {"encoder": "e"}) as writer:
        writer.append("c2", torch.zeros(3).numpy())
    with pytest.raises(UserError, match="differ in shape"):
        dataset.read_features(tmp_path, pd.DataFrame({"clip_id": ["c1", "c2"], "shard": ["0", "1"]}))


def test_a_split_that_names_a_clip_twice_is_refused(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("clip_id,shard,group,label\nb,0,g,x\na,0,g,x\nb,0,g,x\n")
    with pytest.raises(UserError, match="names a clip twice: 'b'"):
        dataset.read_split(path)


def test_a_label_that_the_task_has_not_is_named(tmp_path):
    table = pd.DataFrame({"label": ["cat", "cow"]})
    assert dataset.label_values(table[:1], ["ant", "cat"], tmp_path).tolist() == [1]
    with pytest.raises(UserError, match="'cow', which is none of the task's 2 classes"):
        dataset.label_values(table, ["ant", "cat"], tmp_path)
