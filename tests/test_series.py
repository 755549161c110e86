"""Series from any file that holds numbers by step, brought to one rate and length, or a row with a cause."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile

from modalens.media.failure_causes import ClipError, ClipNote
from modalens.modalities import load_modality
from modalens.utils.errors import UserError

WALK = np.random.default_rng(0).normal(size=(20, 2)).cumsum(0)
NAMES = ["x", "y"]


def read(path, **options):
    """The row, steps that the file gave, values that were filled, causes that were noted."""
    modality = load_modality("series", {"channels": 2, "steps": 20, **options})
    ((function, settings),) = modality.attempts()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ClipNote)
        row, _, steps, filled = function(str(path), *settings)
    assert (row.shape, row.dtype) == (modality.blank().shape, np.float32)
    return row, steps, filled, [one.message.cause for one in said if isinstance(one.message, ClipNote)]


def written(tmp_path: Path, kind: str, values=WALK, rate=10) -> Path:
    path = tmp_path / f"a.{kind}"
    table = pd.DataFrame(values, columns=NAMES)
    if kind == "npy":
        np.save(path, values)
    elif kind == "npz":
        np.savez(path, walk=values, other=np.zeros(3))
    elif kind == "wav":
        wavfile.write(path, rate, values.astype(np.float32))
    elif kind == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "npy", "npz", "parquet", "wav"])
def test_every_kind_of_file_gives_the_same_row(tmp_path, kind):
    row, steps, filled, notes = read(written(tmp_path, kind), array="walk")
    np.testing.assert_allclose(row, WALK, rtol=1e-6)
    assert (steps, filled, notes) == (20, 0, [])


def test_a_wav_of_whole_numbers_is_in_parts_of_full_scale(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8, np.array([[-(2**15), 2**14]] * 4, np.int16))
    row, steps, *_ = read(tmp_path / "a.wav")
    assert row[0].tolist() == [-1, 0.5]
    assert steps == 4
    assert not row[4:].any(), "the rest is zero"


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (7, 7), (30, 20)])
def test_longer_series_are_cut_and_shorter_ones_filled_up(tmp_path, count, kept):
    row, steps, *_ = read(written(tmp_path, "npy", np.ones((count, 2))))
    assert steps == count
    assert row[:kept].all()
    assert not row[kept:].any()


@pytest.mark.parametrize("count", [1, 7, 30])
def test_a_series_is_stretched_to_all_steps(tmp_path, count):
    line = np.stack([np.linspace(0, 1, count), np.full(count, 3.0)], 1)
    row, *_ = read(written(tmp_path, "npy", line), length="stretch")
    np.testing.assert_allclose(row[:, 1], 3)
    if count > 1:
        np.testing.assert_allclose(row[2:-2, 0], np.linspace(0, 1, 20)[2:-2], atol=1e-6)


@pytest.mark.parametrize("rate", [50, 100, 400])
def test_unequal_rates_become_one(tmp_path, rate):
    seconds = np.arange(rate) / rate  # one second
    wave = np.stack([np.sin(2 * np.pi * 2 * seconds), seconds], 1)
    wavfile.write(tmp_path / "a.wav", rate, wave)
    row, steps, *_ = read(tmp_path / "a.wav", rate=50, steps=45)
    assert steps == rate
    wanted = np.sin(2 * np.pi * 2 * np.arange(45) / 50)
    np.testing.assert_allclose(row[2:, 0], wanted[2:], atol=0.02)
    np.testing.assert_allclose(row[2:, 1], np.arange(45)[2:] / 50, atol=1e-3)


def test_what_is_too_fast_for_the_new_rate_does_not_turn_up_as_something_slow(tmp_path):
    seconds = np.arange(1000) / 1000
    wavfile.write(tmp_path / "a.wav", 1000, np.stack([np.sin(2 * np.pi * 101 * seconds)] * 2, 1))
    row, *_ = read(tmp_path / "a.wav", rate=20, steps=20)
    assert np.abs(row[1:-1]).max() < 0.1, "every 50th step alone would be a sine of amplitude 1"


def test_times_of_a_column_count_and_not_positions(tmp_path):
    times = np.array([0, 0.1, 0.2, 1.2, 2.2])
    pd.DataFrame({"t": times + 100, "x": 2 * times, "y": 0}).to_csv(tmp_path / "a.csv", index=False)
    row, *_ = read(tmp_path / "a.csv", time="t", rate=2, steps=6)
    np.testing.assert_allclose(row[:, 0], [0, 1, 2, 3, 4, 0], atol=1e-6)


def test_gaps_are_interpolated_and_counted_or_refused(tmp_path):
    holes = WALK.copy()
    holes[3:5, 0], holes[0, 1], holes[19, 1] = np.nan, np.inf, np.nan
    row, _, filled, notes = read(written(tmp_path, "npy", holes))
    assert (filled, notes) == (4, ["filled"])
    np.testing.assert_allclose(row[3, 0], WALK[2, 0] + (WALK[5, 0] - WALK[2, 0]) / 3, rtol=1e-5)
    assert row[0, 1] == row[1, 1]
    (tmp_path / "a.csv").write_text("x,y\n0,1\n,\n4,5\n")
    row, steps, filled, _ = read(tmp_path / "a.csv")
    assert (row[:3].tolist(), steps, filled) == ([[0, 1], [2, 3], [4, 5]], 3, 2)
    with pytest.raises(ClipError, match="4 of 40 values are no numbers"):
        read(tmp_path / "a.npy", gaps="refuse")


@pytest.mark.parametrize(
    ("content", "options", "cause", "detail"),
    [
        ("x,y\n", {}, "absent", "has a header and no rows"),
        ("", {}, "absent", "a.csv is empty"),
        ("x,y\n1,2\nred,3\n", {}, "damaged", "'red' in row 2 is no number"),
        ("x,y,z\n1,2,3\n", {}, "damaged", "expected 2 channels, got 3"),
        ("x,y\n1,2\n", {"names": ["x", "w"]}, "unsupported", "expected a column 'w', got x, y"),
        ("x,y\n1,\n2,NaN\n", {}, "damaged", "channel 1 holds no number"),
        ("t,x,y\n1,1,1\n1,2,2\n", {"time": "t", "rate": 5}, "damaged", "times must rise"),
        ("x,y\n1,2,3,4\n1,2\n", {}, "damaged", "line 2: 4 cells under 2 columns"),
    ],
)
def test_a_broken_csv_has_a_cause(tmp_path, content, options, cause, detail):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ClipError, match=detail) as caught:
        read(tmp_path / "a.csv", **options)
    assert caught.value.cause == cause


def test_other_broken_files_have_a_cause_and_nothing_in_them_is_run(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=WALK, b=WALK)
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    (tmp_path / "cut.npy").write_bytes(written(tmp_path, "npy").read_bytes()[:200])
    for name in ("a.wav", "a.parquet", "a.npz"):
        (tmp_path / name).write_bytes(b"RIFF" + b"\0" * 30)
    (tmp_path / "a.xls").write_text("1")
    told = {"objects.npy": "damaged", "two.npz": "unsupported", "words.npy": "unsupported", "cut.npy": "damaged"}
    told |= {"a.wav": "damaged", "a.parquet": "damaged", "a.npz": "damaged", "a.xls": "unsupported", "b.csv": "missing"}
    for name, cause in told.items():
        with pytest.raises(ClipError) as caught:
            read(tmp_path / name)
        assert caught.value.cause == cause, name


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"channels": 0}, "expected at least 1, got 0"),
        ({"length": "strech"}, "length: expected cut or stretch"),
        ({"gaps": "ignore"}, "gaps: expected interpolate or refuse"),
        ({"names": ["x"]}, "names: expected 2, one a channel, got 1"),
        ({"rate": 5, "length": "stretch"}, "has no rate"),
        ({"rate": -5}, "expected at least 0"),
    ],
)
def test_options_that_cannot_be_are_one_line(options, line):
    with pytest.raises(UserError, match=line):
        load_modality("series", {"channels": 2, "steps": 20, **options})


def test_real_inertial_series_are_read(shared):
    for path in sorted((shared / "utd_mhad" / "clips").glob("*.npz"))[:5]:
        for array, channels in (("inertial", 6), ("skeleton", 60)):
            row, steps, filled, _ = read(path, channels=channels, steps=64, length="stretch", array=array)
            assert row.std() > 0
            assert steps > 30
            assert filled == 0
