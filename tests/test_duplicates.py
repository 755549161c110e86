"""Planted copies across splits are found, nothing else is, and the study stops where its config says so."""

import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from _forms import FORMS
from test_fingerprints import AUDIO, RATE, VIDEO, melody, noise_film

from modalens.curation.duplicates import Decoded, found_pairs, identical
from modalens.curation.near_duplicates import near_duplicate_pairs
from modalens.modalities import load_modality
from modalens.stages import duplicates, fingerprints
from modalens.tracking import records
from modalens.utils import cli, hdf5
from modalens.utils.errors import UserError

CLIPS = 30


def delayed(sound: np.ndarray, seconds: float) -> np.ndarray:
    """The same sound cut so much later: what is missing at the end is silence."""
    start = round(RATE * seconds)
    return np.concatenate([sound[start:], np.zeros(start, np.int16)])


def coded(sound: np.ndarray, seed: int = 0) -> np.ndarray:
    """Another loudness, and a coder's noise."""
    return (0.7 * sound + np.random.default_rng(seed).normal(0, 40, len(sound))).clip(-32768, 32767).astype(np.int16)


def grainy(film: np.ndarray) -> np.ndarray:
    grain = np.random.default_rng(5).integers(-8, 9, film.shape)
    return (film.astype(int) + grain).clip(0, 255).astype(np.uint8)


@pytest.fixture
def study(tmp_path):
    """Decode-level rows of 30 unlike clips and planted ones, fingerprinted; even ones train, odd ones test."""
    names: list[str] = []

    def fingerprint(rows):
        for place, (stage, attributes) in enumerate(
            {"frames": {"form": "frames"}, "waveforms": {"form": "waveforms", "sample_rate": RATE}}.items()
        ):
            with hdf5.write(tmp_path / stage / "0.h5", attributes) as writer:
                for name, row in rows.items():
                    writer.append(name, row[place])
        (tmp_path / "clips").mkdir(exist_ok=True)
        pd.DataFrame({"clip_id": list(rows), "status": "ok"}).to_csv(tmp_path / "clips" / "0.csv", index=False)
        command = ["--clips", tmp_path / "clips" / "0.csv", "--decoded", f"frames={tmp_path / 'frames' / '0.h5'}"]
        command += [f"waveforms={tmp_path / 'waveforms' / '0.h5'}", "--output", tmp_path / "fingerprints"]
        command += ["--record", tmp_path / "fingerprints" / "0.json", "--forms", json.dumps(FORMS)]
        cli.call(fingerprints, [str(part) for part in command])

    def make(planted: dict[str, tuple[np.ndarray, np.ndarray, str]], *more: str, tasks=("seen",)):
        rows = {f"clip-{index:02d}": (noise_film(index), melody(index), ["train", "test"][index % 2])
                for index in range(CLIPS)} | planted  # fmt: skip
        if names != list(rows):  # the same clips have the same fingerprints; `duplicates` runs anew
            names[:] = rows
            fingerprint(rows)
        table = pd.DataFrame({"clip_id": list(rows), "shard": "0", "group": list(rows), "label": "a"})
        split = pd.Series([row[2] for row in rows.values()])
        for task in tasks:
            (tmp_path / "splits" / task).mkdir(parents=True, exist_ok=True)
            for name in ("train", "validation", "test"):
                table[split == name].to_csv(tmp_path / "splits" / task / f"{name}.csv", index=False)
        out = tmp_path / "duplicates"
        command = ["--study", str(tmp_path), "--tasks", *tasks, "--output", str(out), "--forms", json.dumps(FORMS)]
        cli.call(duplicates, [*command, "--record", str(out / "record.json"), *more])
        return pd.read_csv(out / f"{tasks[0]}.csv", dtype=str)

    return make


PLANTED = {
    "copied": (noise_film(0), melody(0), "test"),
    "recoded": (grainy(noise_film(1)), coded(melody(1)), "train"),
    "later": (noise_film(2), delayed(melody(2), 1.0), "test"),
    "earlier-recoded": (grainy(noise_film(3)), coded(delayed(melody(3), 0.73)), "train"),
    "same-split": (noise_film(4), melody(4), "train"),
    "other-sound": (noise_film(6), melody(600), "test"),
    "other-picture": (noise_film(800), melody(8), "test"),
    "silent": (noise_film(10), np.zeros_like(melody(10)), "test"),
    "silent-too": (noise_film(10), np.zeros_like(melody(10)) + np.int16(1), "train"),
}


def test_copies_across_splits_are_found_and_nothing_else(study, tmp_path):
    pairs = study(PLANTED, "--allow-overlap")
    found = {(row["clip_id"], row["other"], row["kind"]) for _, row in pairs.iterrows()}
    assert found == {
        ("clip-00", "copied", "identical"),
        ("clip-01", "recoded", "near-identical"),
        ("clip-02", "later", "near-identical"),
        ("clip-03", "earlier-recoded", "near-identical"),
    }
    assert pairs["kind"].iloc[0] == "identical"
    assert pairs[["split", "other_split"]].iloc[0].tolist() == ["train", "test"]
    stage, (run,) = records.read(tmp_path / "duplicates" / "record.json")
    assert stage == "duplicates"
    assert run.metrics == {"pairs_identical": 1, "pairs_near_identical": 3}


def test_identical_content_stops_the_study_and_the_pairs_are_kept(study, tmp_path):
    with pytest.raises(UserError, match=r"seen: pairs .* identical: 1, first 'clip-00' in train and 'copied' in test"):
        study(PLANTED)
    assert not (tmp_path / "duplicates" / "record.json").exists()
    refused = pd.read_csv(tmp_path / "duplicates" / "refused.csv")
    assert refused["other"].tolist() == ["copied"]
    study({})
    assert not (tmp_path / "duplicates" / "refused.csv").exists()


def test_near_identical_clips_stop_it_only_when_the_config_says_so(study):
    planted = {"recoded": PLANTED["recoded"]}
    assert len(study(planted)) == 1
    with pytest.raises(UserError, match=r"near-identical: 1.*near_duplicates: report"):
        study(planted, "--near", "stop")
    assert study(planted, "--near", "ignore").empty
    assert study(planted, "--threshold", "0.9999").empty


def test_each_task_has_its_own_splits(study, tmp_path):
    study(PLANTED, "--allow-overlap", tasks=("seen", "heard"))
    for name, keep in (("train", True), ("test", False)):
        path = tmp_path / "splits" / "heard" / f"{name}.csv"
        table = pd.concat(pd.read_csv(tmp_path / "splits" / "seen" / f"{n}.csv", dtype=str) for n in ("train", "test"))
        table[(table["clip_id"] != "clip-05") == keep].to_csv(path, index=False)
    command = ["--study", str(tmp_path), "--tasks", "seen", "heard", "--output", str(tmp_path / "out")]
    command += ["--forms", json.dumps(FORMS)]
    cli.call(duplicates, [*command, "--allow-overlap", "--record", str(tmp_path / "r.json")])
    assert len(pd.read_csv(tmp_path / "out" / "seen.csv")) == 4
    assert pd.read_csv(tmp_path / "out" / "heard.csv").empty


def test_a_hundred_copies_make_a_hundred_pairs_and_not_thousands():
    places = np.array([index % 2 for index in range(100)])[:, None]
    pairs = list(identical(["black"] * 100, places))
    assert len(pairs) == 99
    assert {clip for pair in pairs for clip in pair} == set(range(100))


def test_a_clip_outside_a_task_is_in_no_pair_of_it():
    assert list(identical(["x", "x"], np.array([[0], [-1]]))) == []


def test_sounds_are_compared_at_their_best_shift_and_not_where_both_are_silent():
    sketches = [AUDIO.sketch(melody(index)) for index in range(20)] + [AUDIO.sketch(delayed(melody(0), 1.0))]
    sketches.append(np.full_like(sketches[0], np.nan))
    values = AUDIO.similarity(np.stack(sketches)).of_pairs(np.array([0, 0, 0]), np.array([20, 1, 21]))
    assert values[0] > 0.97
    assert values[1] < 0.7
    assert np.isnan(values[2])


def test_memory_grows_with_the_clips_and_not_with_their_square():
    """A whole table of 8,000 x 8,000 similarities is 256 MB."""
    count = 8000
    draw = np.random.default_rng(0)
    pictures = draw.normal(size=(count, 4, 4, 3)).astype(np.float16)
    pictures[-1] = pictures[0]
    sound = draw.normal(size=(1, 40, 24)).astype(np.float16).repeat(count, axis=0)
    similarities = [VIDEO.similarity(pictures), AUDIO.similarity(sound)]
    places = (np.arange(count) % 3)[:, None].astype(np.int64)
    places[-1] = 1
    tracemalloc.start()
    found = [pair[:2] for pair in near_duplicate_pairs(similarities, places, 0.96)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(0, count - 1)]
    assert peak < 100e6


def test_a_corner_that_never_changes_does_not_count():
    draw = np.random.default_rng(0)
    pictures = np.zeros((50, 8, 8, 3), np.float16)
    pictures[:, :4] = draw.uniform(0, 255, (50, 4, 8, 3))
    pictures[:, 4:] = draw.normal(0, 0.1, (50, 4, 8, 3))
    pictures[1, :4] = pictures[0, :4]
    assert VIDEO.similarity(pictures).of_pairs(np.array([0]), np.array([1])) > 0.99


def test_video_alone_proves_nothing():
    video = VIDEO.similarity(np.stack([VIDEO.sketch(noise_film(index)) for index in (0, 0, 1)]))
    audio = AUDIO.similarity(np.stack([AUDIO.sketch(melody(index)) for index in range(3)]))
    places = np.array([[0], [1], [1]])
    assert list(near_duplicate_pairs([video, audio], places, 0.96)) == []
    assert list(near_duplicate_pairs([video], places)) == []


def test_two_modalities_that_each_suffice_must_agree():
    same = AUDIO.similarity(np.stack([AUDIO.sketch(melody(index)) for index in (0, 0, 1)]))
    other = AUDIO.similarity(np.stack([AUDIO.sketch(melody(index)) for index in (2, 3, 4)]))
    places = np.array([[0], [1], [1]])
    ((*pair, similarity),) = near_duplicate_pairs([same, same], places)
    assert pair == [0, 1]
    assert similarity > 0.99
    assert list(near_duplicate_pairs([same, other], places)) == []


@pytest.mark.parametrize(("kinds", "found"), [(["table"], 0), (["table", "series"], 1)])
def test_equal_cells_of_two_tables_are_no_copy_unless_what_is_unique_is_equal_too(tmp_path, kinds, found):
    clips = pd.DataFrame({"clip_id": ["a", "b"], "shard": "0", "split": ["train", "test"], "label": "x"})
    (tmp_path / "fingerprints").mkdir()
    pd.DataFrame({"clip_id": ["a", "b"]} | dict.fromkeys(kinds, "same")).to_csv(
        tmp_path / "fingerprints" / "0.csv", index=False
    )
    for kind in kinds:
        with hdf5.write(tmp_path / "fingerprints" / kind / "0.h5", {}) as writer:
            for name in ("a", "b"):
                writer.append(name, np.zeros(0, np.float16))
    options = {"table": {"columns": ["price"]}, "series": {"channels": 1, "steps": 2}}
    decoded = [Decoded(kind, load_modality(kind, options[kind])) for kind in kinds]
    assert len(found_pairs({"task": clips}, tmp_path, decoded, "report", None)["task"]) == found
