"""Files of public data sets as their owners lay them out -> what the studies read."""

import importlib.util
import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

PATH = Path(__file__).resolve().parents[1] / "benchmarks/studies.py"


@pytest.fixture(scope="module")
def studies():
    spec = importlib.util.spec_from_file_location("studies", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
