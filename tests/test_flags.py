"""What a reader notes of a clip reaches its row, and what is rejected is counted as failed."""

from pathlib import Path

import pandas as pd
import pytest
from _forms import options
from ffmpeg import ffmpeg

from modalens.media.decode_shard import _flagged
from modalens.stages import decode
from modalens.utils import cli, hdf5


def test_a_clip_has_the_first_cause_and_all_details() -> None:
    notes = [("cut_short", "5.00 s of 9.00 s"), ("gaps", "1.00 s"), ("muted", "")]
    assert _flagged([("", "")], []) == {}
    assert _flagged([notes[0], ("", "")], []) == {"cause": "cut_short", "detail": "5.00 s of 9.00 s", "status": "ok"}
    assert _flagged([*notes], []) == {
        "cause": "cut_short",
        "detail": "cut_short: 5.00 s of 9.00 s; gaps: 1.00 s; muted",
        "status": "ok",
    }
    assert _flagged([*notes], ["muted"])["cause"] == "muted"
    assert _flagged([*notes], ["muted"])["status"] == "failed"
    assert _flagged([("muted", "")], []) == {"cause": "muted", "detail": "", "status": "ok"}


@pytest.mark.parametrize("reject", [[], ["cut_short"], ["still_picture"]])
def test_half_a_file_is_a_row_that_says_so(tmp_path: Path, reject: list[str]) -> None:
    whole, half = tmp_path / "whole.mkv", tmp_path / "half.mkv"
    inputs = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=8", "-f", "lavfi", "-i", "sine=440:d=8"]
    ffmpeg(*inputs, "-c:v", "libx264", "-g", 25, whole)
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    clips = tmp_path / "clips.csv"
    rows = [f"whole,ok,,,{whole},,", f"half,ok,,,{half},,", f"part,ok,,,{half},0,1.5"]
    clips.write_text("\n".join(["clip_id,status,cause,detail,path,start_s,end_s", *rows, ""]))
    for form, given in (("video", {"count": 4, "resize": 32, "crop": 32}), ("audio", {"seconds": 20})):
        output, status = tmp_path / f"{form}.h5", tmp_path / f"{form}.csv"
        words = [*options(form, **given), "--clips", clips, "--output", output, "--status", status]
        words += ["--record", tmp_path / "record.json", "--reject", *reject]
        cli.call(decode, [str(word) for word in words])
        table = pd.read_csv(status, dtype=str, keep_default_na=False).set_index("clip_id")
        assert table["cause"].to_dict() == {"whole": "", "half": "cut_short", "part": ""}
        assert "s are there of the 8.0" in table.loc["half", "detail"]
        failed = {"half"} if reject == ["cut_short"] else set()
        assert set(table.index[table["status"] == "failed"]) == failed
        assert set(hdf5.ids(output)) == {"whole", "half", "part"} - failed
