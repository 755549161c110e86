import json
from pathlib import Path

import pandas as pd
import pytest
from filming import film

from modalens import cli, clips, registry
from modalens.shards import media_name
from modalens.workers import ClipError

EVEN = [40 * k for k in range(50)]


class Fetcher:
    """A data set whose sources say what to do."""

    @staticmethod
    def fetch(source: str, destination: Path) -> Path:
        if source == "blocked":
            raise ClipError("missing", "HTTP Error 403")
        if source == "broken":
            raise ConnectionError("reset\nby peer")
        if source == "download":
            return film(destination.with_suffix(".mp4"), EVEN)
        return Path(source)


def run(tmp_path: Path, rows: list[tuple[str, str, str, str]], monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setattr(registry, "load", lambda *_: Fetcher)
    shard = tmp_path / "0.csv"
    pd.DataFrame(rows, columns=["clip_id", "source", "start_s", "end_s"]).to_csv(shard, index=False)
    options = ["--dataset", "fetcher", "--shard", shard, "--media", tmp_path / "media", "--timeout", "20"]
    options += ["--output", tmp_path / "clips.csv", "--record", tmp_path / "record.json"]
    clips.main(clips.parser().parse_args([str(option) for option in options]))
    return pd.read_csv(tmp_path / "clips.csv", dtype=str, keep_default_na=False).set_index("clip_id")


def test_one_row_a_clip_with_what_is_in_it_or_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.mp4"
    page.write_text("<html>")
    here = film(tmp_path / "here.mp4", EVEN)
    rows = [
        ("z", str(here), "", ""),
        ("-a", "download", "0.5", "1.5"),
        ("../b", "download", "", ""),
        ("null", "blocked", "", ""),
        ("c", "broken", "", ""),
        ("d", str(page), "", ""),
        ("e", str(here), "1", "9"),
        ("f", str(tmp_path / "nothing"), "", ""),
    ]
    table = run(tmp_path, rows, monkeypatch)
    assert list(table.columns) == ["status", "cause", "detail", *clips.COLUMNS]
    assert list(table.index) == sorted(row[0] for row in rows)
    causes = {"null": "missing", "c": "missing", "d": "not_media", "e": "too_short", "f": "missing"}
    assert table["cause"].to_dict() == {row[0]: causes.get(row[0], "") for row in rows}
    assert table.loc["z", "path"] == str(here)
    assert table.loc["z", "video"] == "h264 64x64 25fps"
    assert table.loc["z", "audio"] == ""
    assert float(table.loc["z", "duration_s"]) == 2.0
    assert int(table.loc["z", "bytes"]) == here.stat().st_size
    assert (table.loc["-a", "start_s"], table.loc["-a", "end_s"]) == ("0.5", "1.5")
    for clip_id in ("-a", "../b"):
        assert Path(table.loc[clip_id, "path"]).parent == tmp_path / "media"
    assert json.loads((tmp_path / "record.json").read_text())["runs"][0]["metrics"]["failed_missing"] == 3


def test_a_clip_named_twice_is_the_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(cli.UserError, match="twice"):
        run(tmp_path, [("a", "x", "", ""), ("a", "y", "", "")], monkeypatch)


def test_any_id_has_a_safe_file_name_of_its_own(tmp_path: Path) -> None:
    hostile = [
        "-abc",
        "../x",
        "/etc/passwd",
        "a" * 5000,
        "a" * 5001,
        "",
        ".",
        "日本",
        "日木",
        "a\nb",
        "A",
        "a",
        "\ud800",
    ]
    names = [media_name(clip_id) for clip_id in hostile]
    assert len({name.lower() for name in names}) == len(hostile)
    for name in names:
        assert not name.startswith("-")
        (tmp_path / name).touch()
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
