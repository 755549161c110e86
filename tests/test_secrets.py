"""Passwords are asked for by name, refused in configs, and masked in all that is written."""

import json
import logging
from types import ModuleType

import pytest

from modalens.config.resolve import resolve
from modalens.media.failure_causes import ClipError
from modalens.tracking import records
from modalens.utils import cli, secrets
from modalens.utils.errors import UserError

SECRETS = [
    "http://ann:s3cret@proxy:3128",
    "http://s3cret@proxy:3128",
    "socks5://ann:s3/cr/s3cret@proxy",
    "postgresql+psycopg2://ann:s3cret@db.example.org:5432/mlflow",
    "mysql://ann:%40s3cret@db/mlflow",
    "https://example.org/list.csv?token=s3cret",
    "https://example.org/x.mp4?a=1&X-Amz-Signature=s3cret&b=2",
    "https://example.org/x?api_key=s3cret#part",
    "ProxyError: cannot connect to 'http://ann:s3cret@proxy:3128' (refused)",
    "Authorization: Bearer s3cret",
    "{'Cookie': 'session=s3cret; other=1'}",
]
PLAIN = [
    "https://example.org/@ann/video.mp4",
    "http://proxy:3128/path@2x.png",
    "sqlite:////home/ann@site/mlflow.db",
    "https://example.org/x?keyword=dog&author=ann&t=5",
    "mail ann@example.org",
    "download.cookies: cookies.txt",
    "env:PROXY",
]


@pytest.mark.parametrize("text", SECRETS)
def test_passwords_and_tokens_are_masked_and_the_rest_of_the_text_stays(text):
    said = secrets.redacted(text)
    assert "s3cret" not in said
    assert "***" in said
    assert secrets.redacted(said) == said
    assert all(word in said for word in ("proxy", "db", "example.org") if word in text)


@pytest.mark.parametrize("text", PLAIN)
def test_what_holds_no_secret_stays_as_it_is(text):
    assert secrets.redacted(text) == text


def test_values_of_json_are_masked_at_any_depth():
    value = {"a": [{"b": "http://u:p@h"}, 1, None], "c": ("http://u:p@h",)}
    assert secrets.redacted(value) == {"a": [{"b": "http://***@h"}, 1, None], "c": ["http://***@h"]}


def test_a_secret_is_asked_for_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv("PROXY", "http://ann:s3cret@proxy")
    (tmp_path / "proxy").write_text("http://ann:other@proxy\n")
    assert secrets.resolved("env:PROXY", "x") == "http://ann:s3cret@proxy"
    assert secrets.resolved(f"file:{tmp_path}/proxy", "x") == "http://ann:other@proxy"
    assert secrets.resolved("http://proxy:1", "x") == "http://proxy:1"
    assert secrets.resolved("file:///mlruns", "x") == "file:///mlruns"


@pytest.mark.parametrize("value", ["env:ABSENT_VARIABLE", "file:absent.txt", "file:/", "file:empty.txt"])
def test_a_secret_that_is_not_there_is_one_line(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match=r"download\.proxy: .*expected"):
        secrets.resolved(value, "download.proxy")


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ({"download": {"proxy": "http://ann:s3cret@proxy:3128"}}, "download.proxy: expected env:NAME or file:PATH"),
        ({"mlflow": {"tracking_uri": "https://ann:s3cret@mlflow"}}, "mlflow.tracking_uri: expected env:NAME"),
        ({"download": {"proxy": "ann:s3cret@proxy.lan:3128"}}, "download.proxy: expected env:NAME or file:PATH"),
        ({"mlflow": {"tracking_uri": "postgresql://db/x?user=u&password=s3cret"}}, "mlflow.tracking_uri: expected env"),
        ({"mlflow": {"tracking_uri": "postgresql://ann:s3cret's@db/x"}}, "mlflow.tracking_uri: expected env:NAME"),
        ({"dataset": {"name": "folder", "csv": "https://a:s3cret@h/x.csv", "media": "m"}}, "dataset.csv: expected an"),
        ({"dataset": {"name": "vggsound", "csv": ["x", "https://a:s3cret@h/y.csv"]}}, r"dataset.csv\[1\]: expected an"),
    ],
)
def test_a_password_in_a_config_is_refused_without_being_repeated(part, where):
    config = {"name": "s", "tasks": ["t"], "dataset": {"name": "folder", "csv": "x.csv"}} | part
    with pytest.raises(UserError, match=where) as caught:
        resolve(config)
    assert "s3cret" not in str(caught.value)


def test_no_record_and_no_row_of_a_failed_clip_holds_one(tmp_path):
    text = "http://ann:s3cret@proxy"
    records.write(tmp_path / "r.json", "clips", [records.Run({"a": text}, {"proxy": text, "more": [text]})])
    assert "s3cret" not in (tmp_path / "r.json").read_text()
    assert json.loads((tmp_path / "r.json").read_text())["runs"][0]["params"]["proxy"] == "http://***@proxy"
    assert ClipError("network", f"ProxyError {text}").detail == "ProxyError http://***@proxy"


def test_no_line_of_a_command_holds_one(capfd, monkeypatch):
    stage = ModuleType("modalens.stages.stage", "What it does.")
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)

    def main(_):
        logging.getLogger("modalens").warning("asking %s", "http://ann:s3cret@proxy")
        raise UserError("no answer from http://ann:s3cret@proxy")

    stage.main, stage.add_arguments = main, lambda _: None
    with pytest.raises(SystemExit) as caught:
        cli.run(stage, [])
    said = capfd.readouterr().err
    assert "asking http://***@proxy" in said
    assert caught.value.code == "modalens: no answer from http://***@proxy"
