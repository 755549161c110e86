"""One window of a clip for every modality that reads its media file."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _forms import options
from filming import RATE, film, shown

from modalens.config import modalities
from modalens.config.resolve import resolve
from modalens.media.status import causes, noted
from modalens.media.windows import AtMost, shortened, window
from modalens.reporting.study_results import Study
from modalens.stages import decode
from modalens.utils import cli, hdf5

LENGTHS_S, STARTS_S, SECONDS = (2, 6), (None, 0.5, 1.5), 2.5


def at(k: int) -> float:
    """Pitch of the k-th tenth of a second."""
    return 500.0 + 50 * k


def clip(path: Path, seconds: float) -> Path:
    """Frame k, of ten a second, shows k while the pitch says k."""
    count = round(10 * seconds)
    time = np.arange(RATE // 10) / RATE
    sound = np.concatenate([0.5 * np.sin(2 * np.pi * at(k) * time) for k in range(count)])
    return film(path, [100 * k for k in range(count)], sound=sound, keys=5)


def heard(samples: np.ndarray, when_s: float) -> int:
    """Which tenth of a second sounds there, -1 for silence."""
    part = samples[round(when_s * RATE) - 400 : round(when_s * RATE) + 400].astype(float)
    if np.abs(part).max() < 500:
        return -1
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 16 * len(part)))
    return round((spectrum.argmax() * RATE / (16 * len(part)) - 500) / 50)


def decoded(folder: Path, rows: list[str], *more: object) -> dict[str, tuple[dict[str, np.ndarray], pd.DataFrame]]:
    """Rows by clip, and the status table, of each modality."""
    folder.mkdir(exist_ok=True)
    clips = folder / "clips.csv"
    clips.write_text("\n".join(["clip_id,status,cause,detail,path,start_s,end_s,duration_s,sha256", *rows, ""]))
    found = {}
    for kind, given in ("video", {"count": 5, "resize": 32, "crop": 32}), ("audio", {"seconds": SECONDS}):
        place = folder / kind
        place.mkdir(exist_ok=True)
        files = ["--output", place / "0.h5", "--status", place / "0.csv", "--record", place / "0.json"]
        cli.call(decode, [*options(kind, **given), *map(str, ["--clips", clips, *files, *more])])
        status = pd.read_csv(place / "0.csv", dtype=str, keep_default_na=False).set_index("clip_id")
        ids = hdf5.ids(place / "0.h5")
        found[kind] = dict(zip(ids, hdf5.read(place / "0.h5", ids), strict=True)) if ids else {}, status
    return found


def test_frames_and_audio_are_of_the_same_seconds_whatever_the_length_and_the_start(tmp_path: Path) -> None:
    paths = {seconds: clip(tmp_path / f"{seconds}.mp4", seconds) for seconds in LENGTHS_S}
    cases = list(itertools.product(LENGTHS_S, STARTS_S, (None, 5.0)))
    cases = [(length, start, end) for length, start, end in cases if end is None or end <= length]
    rows = [
        f"{number},ok,,,{paths[length]},{'' if start is None else start},{'' if end is None else end},{length},x"
        for number, (length, start, end) in enumerate(cases)
    ]
    found = decoded(tmp_path / "study", rows, "--longest", SECONDS)
    (frames, seen), (audio, heard_of) = found["video"], found["audio"]
    for number, (length, start, end) in enumerate(cases):
        begin, last = start or 0.0, min(length, (start or 0.0) + SECONDS, end or length)
        centres = [begin + (k + 0.5) * (last - begin) / 5 for k in range(5)]
        assert shown(frames[str(number)]) == [int(10 * when + 1e-6) for when in centres]
        for when in centres:
            assert heard(audio[str(number)], when - begin) == pytest.approx(10 * when - 0.5, abs=0.6)
        cut = (end or length) - begin - SECONDS
        for status in (seen, heard_of):
            expected = f"{begin:.2f} to {begin + SECONDS:.2f} s are used, {cut:.2f} s after them are not"
            assert tuple(status.loc[str(number), ["status", "cause", "detail"]]) == (
                ("ok", "window_cut", expected) if cut > 0 else ("ok", "", "")
            )
    metrics = json.loads((tmp_path / "study" / "video" / "0.json").read_text())["runs"][0]["metrics"]
    assert metrics["flagged_window_cut"] == (seen["cause"] == "window_cut").sum() > 3
    refused = decoded(tmp_path / "study", rows, "--longest", SECONDS, "--reject", "window_cut")["video"][1]
    assert (refused["status"] == "failed").tolist() == (seen["cause"] == "window_cut").tolist()


def test_a_stream_that_ends_before_the_window_does_is_read_to_its_end(tmp_path: Path) -> None:
    time = np.arange(6 * RATE) / RATE
    path = film(tmp_path / "a.mp4", [100 * k for k in range(20)], sound=0.5 * np.sin(2 * np.pi * 500 * time), keys=5)
    frames, status = decoded(tmp_path / "study", [f"a,ok,,,{path},,,6,x"], "--longest", SECONDS)["video"]
    assert shown(frames["a"]) == [2, 6, 10, 14, 18]
    assert status.loc["a", "status"] == "ok"
    asked = decoded(tmp_path / "study", [f"a,ok,,,{path},0,4,6,x"], "--longest", SECONDS)["video"][1]
    assert asked.loc["a", "cause"] == "too_short"  # the annotation wants what the video has not


def test_only_clips_that_a_window_cuts_are_read_anew_when_it_changes(tmp_path: Path) -> None:
    rows = [f"{n},ok,,,{clip(tmp_path / f'{n}.mp4', n)},,,{n},{n}" for n in (2, 4)]
    decoded(tmp_path / "study", rows)
    decoded(tmp_path / "study", rows, "--longest", 3)
    record = json.loads((tmp_path / "study" / "video" / "0.json").read_text())
    assert record["runs"][0]["metrics"]["decoded"] == 1


def test_a_studys_window_is_the_shortest_that_its_modalities_can_hold() -> None:
    config = {"name": "a", "dataset": {"name": "folder", "csv": "x.csv"}, "tasks": ["t"]}

    def longest(**modality: object) -> object:
        return modalities.window_s(resolve({**config, "modalities": modality}))

    audio = {"encoder": "log_mel"}
    assert longest(video="resnet50") is None
    assert longest(video="resnet50", audio=audio) == 10
    assert longest(video="resnet50", audio={**audio, "decode": {"seconds": 3}}) == 3
    both = {"audio": {**audio, "decode": {"seconds": 3}}, "other": {**audio, "kind": "audio"}}
    assert longest(**both, video="resnet50") == 3
    forms = modalities.forms(resolve({**config, "modalities": {"video": "resnet50", "audio": audio}}))
    assert {form["longest"] for form in forms.values()} == {10}


def test_a_window_is_cut_only_where_more_than_a_rounding_is_lost() -> None:
    assert shortened(None, None, 30.0, None) == (None, "")
    assert shortened(None, None, None, 10.0) == (None, "")
    assert shortened(3.0, 13.0, 300.0, 10.0) == (13.0, "")
    end, said = shortened(None, None, 10.02, 10.0)
    assert isinstance(end, AtMost)
    assert (end, said) == (10, "")
    assert shortened(5.0, 25.0, None, 10.0) == (15.0, "5.00 to 15.00 s are used, 10.00 s after them are not")
    assert window(None, AtMost(10), 0.0, 4.0) == (0.0, 4.0)


def test_every_cause_that_was_noted_of_a_clip_counts_in_the_report(tmp_path: Path) -> None:
    detail = noted([("muted", ""), ("window_cut", "0.00 to 10.00 s are used")])
    assert causes("ok", "muted", detail) == ["muted", "window_cut"]
    assert causes("ok", "window_cut", noted([("window_cut", "0 s")])) == ["window_cut"]
    assert causes("failed", "damaged", "x; muted: y") == ["damaged"]
    assert causes("ok", "", "") == []
    (tmp_path / "waveforms").mkdir()
    table = pd.DataFrame({"clip_id": ["a", "b", "c"], "status": "ok", "cause": ["muted", "window_cut", ""]})
    table = table.assign(detail=[detail, "0 s", ""], decoder="pyav", seconds=1.0)
    table.to_csv(tmp_path / "waveforms" / "0.csv", index=False)
    study = object.__new__(Study)
    study.root = tmp_path
    study.__dict__["forms"] = ["waveforms"]
    counts = study.decoding().set_index("cause")["clips"].to_dict()
    assert counts == {"": 1, "muted": 1, "window_cut": 2}
