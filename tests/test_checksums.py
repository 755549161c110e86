"""Stored files with a bit flipped: each is refused in one line, or says what it said before."""

import numpy as np
import pandas as pd
import pytest
import torch

from modalens.models import TrainedModel, build, load_model
from modalens.utils import checksums, hdf5, parquet, torch_file
from modalens.utils.errors import UserError

SHAPES = {"audio": {"mel": 8, "time": 16}, "video": {"time": 2, "channel": 6}}
SMALL = {"spectrogram_size": 8, "sequence_size": 6, "step_size": 8, "hidden": [8, 8], "channels": 2}


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def outcomes(path, read, bits):
    """How many of the one-bit flips were refused, and how many changed what is read."""
    content, before = path.read_bytes(), read(path)
    refused = changed = 0
    for bit in bits:
        path.write_bytes(flipped(content, bit))
        try:
            changed += read(path) != before
        except UserError as error:
            said = str(error)
            refused += said.startswith(str(path)) and "\n" not in said and said.endswith("delete it and run again")
    path.write_bytes(content)
    return refused, changed


def some_bits(path, count):
    return np.random.default_rng(0).choice(8 * path.stat().st_size, count, replace=False).tolist()


def save_model(path, modalities=("audio", "video")):
    torch.manual_seed(0)
    model = build("late_fusion", {name: SHAPES[name] for name in modalities}, 3, SMALL)
    means = {modality: torch.zeros(2) for modality in model.modalities}
    TrainedModel(model, ["a", "b", "c"], {}, means, means).save(path)


def read_model(path):
    trained = load_model(path)
    state = {name: values.numpy().tobytes() for name, values in trained.model.state_dict().items()}
    return state, trained.labels, trained.model.options


def table():
    draw = np.random.default_rng(0)
    rows = {"clip_id": [f"clip-{i % 60}" for i in range(900)], "seed": np.arange(900) % 5}
    return pd.DataFrame(rows | {"log_probability": draw.normal(size=900), "p_a": draw.random(900).astype(np.float32)})


def read_table(path):
    found = parquet.read(path, ["clip_id", "seed", "log_probability", "p_a"], [("seed", "in", [0, 3])])
    return found.to_csv()


@pytest.mark.parametrize("modalities", [("audio", "video"), ("audio",)])
def test_no_flipped_bit_of_a_model_is_another_model(tmp_path, modalities):
    save_model(tmp_path / "model.pt", modalities)
    bits = some_bits(tmp_path / "model.pt", 120)
    assert outcomes(tmp_path / "model.pt", read_model, bits) == (120, 0)


def test_no_flipped_bit_of_predictions_is_another_value(tmp_path):
    path = tmp_path / "m.parquet"
    parquet.write(path, table())
    refused, changed = outcomes(path, read_table, some_bits(path, 300))
    # In the 16 bytes that announce the digest a flip makes it a table without one; its content is untouched.
    assert changed == 0
    assert refused >= 295


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 40])
def test_no_flipped_bit_of_features_is_another_row_or_id(tmp_path, rows):
    path = tmp_path / "x.h5"
    values = np.random.default_rng(0).normal(size=(rows, 3, 5)).astype(np.float16)
    with hdf5.write(path, {"encoder": "e", "options": {"a": [1, 2]}}) as writer:
        for index, row in enumerate(values):
            writer.append(f"clip-{index}é", row, f"key-{index}")
        writer.leave("elsewhere", "key")

    def read(path):
        rows = hdf5.read(path).tobytes(), hdf5.read(path, ["clip-0é"]).tobytes()
        return hdf5.attributes(path), hdf5.keys(path), hdf5.elsewhere(path), rows

    refused, changed = outcomes(path, read, some_bits(path, 600))
    assert changed == 0
    assert refused > 100  # a file of few rows is half unused space


def test_a_file_cut_short_or_made_longer_is_refused(tmp_path):
    save_model(tmp_path / "model.pt")
    parquet.write(tmp_path / "m.parquet", table())
    for path, read in ((tmp_path / "model.pt", read_model), (tmp_path / "m.parquet", read_table)):
        content = path.read_bytes()
        cases = [content[:-1], content[:100], content[:3], b"", content + b"x", content[: len(content) // 2]]
        for changed in cases:
            path.write_bytes(changed)
            with pytest.raises(UserError, match=r"is damaged \(.*\); delete it and run again"):
                read(path)


def test_other_programs_read_what_bears_a_digest(tmp_path):
    parquet.write(tmp_path / "m.parquet", table())
    assert pd.read_parquet(tmp_path / "m.parquet", filters=[("seed", "==", 1)])["seed"].tolist() == [1] * 180
    torch_file.write(tmp_path / "x.pt", {"a": torch.arange(3)})
    assert torch.load(tmp_path / "x.pt", weights_only=True)["a"].tolist() == [0, 1, 2]


def test_a_table_that_another_program_wrote_is_read_and_its_missing_column_is_named(tmp_path):
    table().to_parquet(tmp_path / "m.parquet")
    assert parquet.read(tmp_path / "m.parquet", ["seed"])["seed"].nunique() == 5
    with pytest.raises(UserError, match=r"expected the column 'label', got clip_id, seed"):
        parquet.read(tmp_path / "m.parquet", ["label"])


def test_what_is_not_there_names_the_stage_that_writes_it(tmp_path):
    with pytest.raises(UserError, match=r"not found: .*m\.parquet \(run the evaluate stage first\)"):
        parquet.read(tmp_path / "m.parquet", ["seed"])
    with pytest.raises(UserError, match=r"not found: .*model\.pt \(run the train stage first\)"):
        load_model(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state": {}}, "got a file without 'name'"),
        ({"weights": torch.zeros(3)}, "got a file without 'name'"),
        (torch.zeros(3), "expected a mapping, got Tensor"),
    ],
)
def test_a_checkpoint_of_somebody_else_is_one_line(tmp_path, content, said):
    torch_file.write(tmp_path / "model.pt", content)
    with pytest.raises(UserError, match=said):
        load_model(tmp_path / "model.pt")
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"is damaged \(it has no checksum\)"):
        load_model(tmp_path / "model.pt")


@pytest.mark.parametrize("change", ["shape", "missing", "name", "options", "shapes"])
def test_a_model_of_other_shapes_is_one_line(tmp_path, change):
    path = tmp_path / "model.pt"
    save_model(path)
    content = torch_file.read(path)
    first = next(name for name in content["state"] if name.startswith("networks"))
    if change == "shape":
        content["state"][first] = torch.zeros(7, 7)
    elif change == "missing":
        del content["state"][first]
    else:
        content[change] = {"name": "no_such_model", "options": {"width": -1}, "shapes": {"audio": {"channel": 3}}}[
            change
        ]
    torch_file.write(path, content)
    with pytest.raises(UserError, match=r"does not fit the model .* of this version .*; delete it and run again"):
        load_model(path)


def test_equal_content_gives_equal_bytes(tmp_path):
    save_model(tmp_path / "one.pt")
    save_model(tmp_path / "other.pt")
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()


def test_nothing_appears_when_the_writer_fails(tmp_path):
    with pytest.raises(RuntimeError), checksums.sealed(tmp_path / "x.pt") as hidden:
        hidden.write_bytes(b"PK\x03\x04half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_digest_that_a_file_bears_tells_equal_models_from_others_without_reading_them(tmp_path):
    for name in ("one", "same", "other"):
        save_model(tmp_path / f"{name}.pt")
    content = torch_file.read(tmp_path / "other.pt")
    content["labels"] = [*content["labels"], "one more"]
    torch_file.write(tmp_path / "other.pt", content)
    one, same, other = (checksums.stored(tmp_path / f"{name}.pt") for name in ("one", "same", "other"))
    assert one == same != other
    assert len(one) == len(other) == 64
    (tmp_path / "foreign.pt").write_bytes(b"neither a zip nor Parquet")
    assert checksums.stored(tmp_path / "foreign.pt") == ""
