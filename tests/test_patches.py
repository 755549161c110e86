"""What the page shows of single clips: pictures of clips that the study threw away, and patches where they lie."""

from types import SimpleNamespace

import filming
import numpy as np
import pandas as pd
import pytest

from modalens.modalities import load_modality
from modalens.reporting import patches
from modalens.reporting.evidence import listing
from modalens.reporting.others import summaries
from modalens.reporting.page import environment
from modalens.reporting.previews import Previews

VIDEO = load_modality("video", {"count": 2, "resize": 32, "crop": 32})
AUDIO = load_modality("audio", {"seconds": 1})
TABLE = load_modality("table", {"columns": ["price", "weight"]})


def rows(kind="clip", **patch_values):
    """patch_values: {modality: {patch: value}}"""
    told = {"task": "t", "model": "m", "kind": kind, "clip_id": "c" if kind == "clip" else np.nan, "label": "cat"}
    told |= {"predictions": "correct", "target": "cat", "quantity": "value" if kind == "clip" else "size"}
    return [
        told | {"modality": name, "patch": patch, "value": value}
        for name, values in patch_values.items()
        for patch, value in values.items()
    ]


def cards(table, kinds, held=None, parts=None):
    study = SimpleNamespace(measure=lambda _: pd.DataFrame(table), headline=lambda _: "m")
    return patches.drawn(study, "t", "mm_shap", SimpleNamespace(kinds=kinds, rows=held or {}, parts=parts or {}))


def test_patches_of_a_spectrogram_lie_on_it_with_low_frequencies_at_the_bottom():
    held = {"c": {"audio": np.zeros(16000, np.int16)}}
    values = {"mel 0:32, time 0:25": 0.4, "mel 32:64, time 0:25": -0.1}
    values |= {"mel 0:32, time 25:100": 0.0, "mel 32:64, time 25:100": 0.2}
    (card,) = cards(rows(audio=values), {"audio": AUDIO}, held)
    (drawing,) = card["parts"][0]["drawings"]
    assert drawing["picture"].startswith("data:image/jpeg;base64,")
    low, high, *_ = drawing["marks"]
    assert (low["x"], low["y"], low["width"], low["height"]) == (0, 50, 25, 50)
    assert (high["y"], high["value"], high["strength"]) == (0, -0.1, 0.25)


def test_patches_of_frames_along_time_are_those_frames():
    film = np.zeros((2, 32, 32, 3), np.uint8)
    film[1] = 255
    (card,) = cards(rows(video={"time 0:1": 0.3, "time 1:2": -0.6}), {"video": VIDEO}, {"c": {"video": film}})
    first, second = card["parts"][0]["drawings"]
    assert first["picture"] != second["picture"]
    assert [first["words"], second["words"]] == ["time 0", "time 1"]
    assert first["marks"][0] | {"words": ""} == {
        "x": 0.0, "y": 0.0, "width": 100.0, "height": 100.0, "value": 0.3, "strength": 0.5, "words": ""
    }  # fmt: skip


def test_columns_of_a_table_are_bars_by_name_the_greatest_first():
    (card,) = cards(rows(table={"field 0:1": 0.1, "field 1:2": -0.4}), {"table": TABLE}, parts={"c": {}})
    assert [(bar["name"], bar["value"], bar["share"]) for bar in card["parts"][0]["bars"]] == [
        ("weight", -0.4, 1.0), ("price", 0.1, 0.25)
    ]  # fmt: skip


def test_a_vector_and_tokens_without_a_picture_are_bars_too_and_hostile_names_stay_text():
    table = rows(text={"token 0:4": 0.2, "token 4:8": 0.1}, vector={"": 0.1})
    parts = {"c": {"text": {"text": "<script>alert(1)</script>"}}}
    (card,) = cards(table, {"text": load_modality("text", {})}, parts=parts)
    text, vector = card["parts"]
    assert [bar["name"] for bar in text["bars"]] == ["token 0 to 3", "token 4 to 7"]
    assert [bar["name"] for bar in vector["bars"]] == ["all of it"]
    macro = environment().get_template("macros.html.j2").module.patch_card
    html = str(macro(card))
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert html.count('class="for" style="width: ') == 3


def test_the_mean_over_clips_is_drawn_on_an_empty_picture_and_leaves_the_measures_own_table():
    table = rows("patch", audio={"mel 0:32, time 0:100": 0.2, "mel 32:64, time 0:100": 0.1})
    (card,) = cards(table, {"audio": AUDIO})
    assert card["title"] == "mean over clips"
    assert [drawing["picture"] for drawing in card["parts"][0]["drawings"]] == [""]
    whole = pd.DataFrame([*table, {"kind": "modality", "modality": "audio", "value": 0.7}])
    assert summaries(whole)["value"].tolist() == [0.7]


def test_a_clip_whose_frames_were_thrown_away_is_decoded_again_and_a_broken_one_has_no_picture(tmp_path):
    filming.film(tmp_path / "a.mp4", [40 * index for index in range(25)])
    (tmp_path / "b.mp4").write_bytes(b"no film")
    (tmp_path / "clips").mkdir()
    listed = pd.DataFrame({"clip_id": ["a", "b", "c"], "status": "ok", "start_s": "", "end_s": ""})
    listed["path"] = [str(tmp_path / name) for name in ("a.mp4", "b.mp4", "gone.mp4")]
    listed.to_csv(tmp_path / "clips" / "0.csv", index=False)
    decode = {"count": 2, "resize": 32, "crop": 32}
    entry = {"kind": "video", "encoder": "resnet50", "options": {}, "decode": decode, "keep": False}
    study = SimpleNamespace(root=tmp_path, config={"modalities": {"video": entry}})
    made = Previews(study, ["b", "a", "c"], drawn_on=["a"])
    assert list(made.parts) == ["a"]
    assert made.parts["a"]["video"]["picture"].startswith("data:image/jpeg")
    assert made.rows["a"]["video"].shape == (2, 32, 32, 3)


@pytest.mark.parametrize("asked", [True, False])
def test_the_list_of_clips_says_which_modality_a_clip_needs_where_that_was_measured(asked):
    by_clip = pd.DataFrame({
        "clip_id": ["=1", "=1"], "label": "x", "modality": ["audio", "video"], "predicted": "x", "without": ["y", "x"],
        "right": 1.0, "changed": [1.0, 0.0], "drop": [2.0, 0.1],
    })  # fmt: skip
    verdicts = {("'=1", "audio"): "needed", ("'=1", "video"): "cannot tell"} if asked else {}
    found = listing(by_clip, 10, verdicts)
    told = {column: value for column, value in zip(found["columns"], found["rows"][0], strict=True) if " is" in column}
    assert told == ({"audio is": "audio needed", "video is": "video cannot tell"} if asked else {})
