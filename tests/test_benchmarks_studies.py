"""Files of public data sets as their owners lay them out -> what the studies read."""

import importlib
import itertools
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def studies(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("studies")


@pytest.fixture
def letters(tmp_path):
    """780 clips of two frames, as MATLAB and HTK write them: pixel (row, column) of frame t is row + 100 t."""
    frames = np.arange(60.0)[None, :, None] + 100 * np.arange(2.0)[:, None, None] + np.zeros((2, 60, 80))
    vid = np.stack([frame.ravel(order="F") for frame in frames], axis=1)
    mfcc = np.arange(3 * 26, dtype=">f4").reshape(3, 26)
    (tmp_path / "Lips").mkdir()
    (tmp_path / "Audio/mfcc/Clean").mkdir(parents=True)
    for letter, number, talker in itertools.product("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "123", range(10)):
        name = f"{letter}{number}_T{talker}"
        savemat(tmp_path / f"Lips/{name}-lips.mat", {"vid": vid, "siz": [60.0, 80.0, 2.0]})
        header = struct.pack(">iihh", 3, 200_000, 104, 6)
        (tmp_path / f"Audio/mfcc/Clean/{name}.mfcc").write_bytes(header + mfcc.tobytes())
    return tmp_path


def test_avletters_is_read_as_its_authors_lay_it_out(studies, letters, tmp_path):
    output = tmp_path / "made"
    output.mkdir()
    table = studies.avletters(letters, output)
    assert len(table) == 780
    assert table["letter"].nunique() == 26
    assert table["talker"].nunique() == 10
    assert table["repetition_split"].value_counts().to_dict() == {"train": 520, "test": 260}
    with np.load(output / table["recording"][0]) as stored:
        # Each of 15 rows is the mean of four: 1.5, 5.5, ...
        assert stored["lips"].shape == (2, 300)
        assert stored["lips"][1].reshape(15, 20)[:, 7].tolist() == [100 + 1.5 + 4 * row for row in range(15)]
        assert stored["mfcc"].tolist() == np.arange(78.0).reshape(3, 26).tolist()


def test_an_avletters_that_is_not_whole_is_one_line(studies, letters, tmp_path):
    path = letters / "Audio/mfcc/Clean/A1_T0.mfcc"
    path.write_bytes(path.read_bytes()[:-4])
    (tmp_path / "made").mkdir()
    with pytest.raises(SystemExit, match=r"A1_T0\.mfcc: expected 3 steps of 104 bytes"):
        studies.avletters(letters, tmp_path / "made")
    (letters / "Lips/A1_T0-lips.mat").unlink()
    with pytest.raises(SystemExit, match=r"expected 780 files such as A1_Anya-lips\.mat, got 779"):
        studies.avletters(letters, tmp_path / "made")


ROWS = {"avletters": 780, "basic_motions": 80, "flipkart": 1047, "uci_multifeature": 2000, "utd_mhad": 861}


def fake(study: str, data: Path, rows: int) -> Path:
    """An archive of one clip's content, whose list names it again and again under other names."""
    cells = {
        "avletters": {"letter": "A", "repetition": "1", "speaker": "T0"},
        "basic_motions": {"activity": "Walking", "split": "train"},
        "flipkart": dict.fromkeys(
            ("category", "title", "description", "subcategory", "brand", "retail_price", "discounted_price"), "a"
        ),
        "uci_multifeature": {"digit": "7"},
        "utd_mhad": {"action": "clap", "subject": "s1", "split": "train"},
    }
    stored = {
        "avletters": {"lips": np.zeros((2, 30, 40), np.uint8), "mfcc": np.zeros((3, 26))},
        "basic_motions": dict.fromkeys(("accelerometer", "gyroscope"), np.zeros((80, 3, 100))),
        "utd_mhad": {
            "depth": np.zeros((16, 48, 64), np.uint16),
            "inertial": np.zeros((5, 6)),
            "skeleton": np.ones((3, 20, 3)),
        },
    }
    data.mkdir()
    table = pd.DataFrame([cells[study]] * rows)
    files = [f"clip{place}.npz" for place in range(rows)]
    if study in ("avletters", "utd_mhad"):
        np.savez(data / files[0], **stored[study])
        for file in files[1:]:
            (data / file).hardlink_to(data / files[0])
        table["file"] = files
    if study == "basic_motions":
        np.savez(data / "data.npz", **stored[study])
    if study == "flipkart":
        (data / "images").mkdir()
        (data / "images/one.jpg").touch()
        table = table.assign(id=files, image="images/one.jpg")
    if study == "uci_multifeature":
        for view, width in {"fac": 216, "fou": 76, "kar": 64, "mor": 6, "pix": 240, "zer": 47}.items():
            names = ",".join(map(str, range(width + 1)))
            (data / f"mfeat-{view}.csv").write_text(f"{names}\n" + ("7," * width + "7\n") * rows)
    table.to_csv(data / "labels.csv", index=False)
    return data


@pytest.mark.parametrize("study", ROWS)
def test_an_archive_that_is_not_whole_is_one_line_and_leaves_nothing(studies, tmp_path, study):
    output = tmp_path / "data" / "made"
    for name, rows, said in [
        ("none", None, "none: expected the folder of"),
        ("empty", 0, "(labels.csv|empty): "),
        ("short", 1, r"labels\.csv: expected [\d,]+( to 1,050)? rows, got 1; is the archive whole\?"),
    ]:
        data = tmp_path / name
        if rows == 0:
            data.mkdir()
        elif rows:
            fake(study, data, rows)
        with pytest.raises(SystemExit, match=said) as caught:
            studies.made(study, data, output)
        assert "\n" not in str(caught.value)
        assert not output.exists()
        assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())


DAMAGE = [
    ("avletters", "clip7.npz", None, "clip7.npz: not found"),
    ("avletters", "clip7.npz", b"PK\3\4 broken", "clip7.npz: cannot be read"),
    ("basic_motions", "data.npz", b"", "data.npz: cannot be read"),
    ("basic_motions", "labels.csv", b"", "labels.csv: cannot be read"),
    ("flipkart", "images/one.jpg", None, "1,047 of 1,047 pictures not found, first images/one.jpg"),
    ("uci_multifeature", "mfeat-fac.csv", b"a,b\n1,x\n", "mfeat-fac.csv: cannot be read"),
    (
        "uci_multifeature",
        "mfeat-fac.csv",
        b"a,b\n1,7\n",
        "mfeat-fac.csv: expected 2,000 rows of 217 numbers, got (1, 2)",
    ),
]


@pytest.mark.parametrize(("study", "name", "content", "said"), DAMAGE)
def test_a_damaged_file_is_one_line(studies, tmp_path, study, name, content, said):
    data = fake(study, tmp_path / "data", ROWS[study])
    path = data / name
    path.unlink()  # a hard link is others' file, too
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as caught:
        studies.made(study, data, tmp_path / "made")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["data"]


def test_after_a_wrong_call_the_right_one_works_and_a_second_replaces_nothing(studies, tmp_path):
    data, output = fake("basic_motions", tmp_path / "data", 80), tmp_path / "made"
    with pytest.raises(SystemExit):
        studies.made("utd_mhad", data, output)
    assert len(studies.made("basic_motions", data, output)) == 80
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []
    with pytest.raises(SystemExit, match="made is there already; remove it, or name another folder"):
        studies.made("basic_motions", data, output)


def test_arrays_of_another_shape_are_one_line(studies, tmp_path):
    data = fake("utd_mhad", tmp_path / "data", ROWS["utd_mhad"])
    (data / "clip0.npz").unlink()
    np.savez(data / "clip0.npz", depth=np.zeros((16, 48, 64)), inertial=np.zeros((5, 6)), skeleton=np.zeros((0, 20, 3)))
    with pytest.raises(SystemExit, match=r"clip0\.npz: skeleton: expected numbers of shape \(n, 20, 3\), got"):
        studies.made("utd_mhad", data, tmp_path / "made")


def test_matlab_s_file_without_content_is_one_line(studies, letters, tmp_path):
    path = letters / "Lips/A1_T0-lips.mat"
    path.write_bytes(b"")
    with pytest.raises(SystemExit, match=r"A1_T0-lips\.mat: cannot be read"):
        studies.made("avletters", letters, tmp_path / "out")
    savemat(path, {"video": np.zeros((4800, 2))})
    with pytest.raises(SystemExit, match=r"A1_T0-lips\.mat: cannot be read \(KeyError"):
        studies.made("avletters", letters, tmp_path / "out")


def test_a_figure_stands_in_the_middle_and_tells_how_far_it_is(studies):
    joints = np.zeros((2, 20, 3))
    joints[..., 2] = 2.5
    joints[:, 0, 1] = 0.6  # a head 60 cm above the hip
    joints[1, 7] = [0.3, 0.0, 2.0]  # a hand that is nearer
    shown = studies.figure(joints)
    assert shown.shape == (2, 48, 64)
    assert shown[0, 24, 32] == 2500
    assert shown[0, 12, 32] == 2500  # 60 cm of 2.4 m is a quarter of 48 rows
    assert shown[0, 24, 38] == 0
    assert shown[1, 24, 38] == 2000
