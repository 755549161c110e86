import json
import subprocess
from pathlib import Path

import pytest

from modalens.config import code_version, workflow
from modalens.stages import manifest
from modalens.utils import cli


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules: a imports b, c stands alone."""
    for name, text in {
        "a": '"""Doc."""\nfrom modalens import b\nfrom modalens.kinds import x\n\ndef f():\n    return b.g()\n',
        "b": "def g():\n    return 1\n",
        "c": "h = 2\n",
        "kinds/x": "y = 1\n",
    }.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(code_version, "PACKAGE", tmp_path)

    def digest(module: str) -> str:
        for function in (
            code_version.code_digest,
            code_version._imports,
            code_version._parse,
            code_version._tree_digest,
        ):
            function.cache_clear()
        return code_version.code_digest(module)

    yield tmp_path, digest
    digest("c")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_code_digest_ignores_comments_and_docstrings(package):
    root, digest = package
    before = digest("a")
    edit(root / "a.py", '"""Doc."""', '"""Another."""\n# why\n')
    assert digest("a") == before


@pytest.mark.parametrize("helper", ["b.py", "kinds/x.py"])
def test_code_digest_changes_with_an_imported_helper_only_for_its_dependents(package, helper):
    root, digest = package
    before = {name: digest(name) for name in "abc"}
    edit(root / helper, "1", "3")
    assert digest("a") != before["a"]
    assert digest("c") == before["c"]


def test_code_digest_follows_the_real_stages():
    frames, train = (
        code_version._closure(("stages/decode", "modalities/video")),
        code_version._closure(("stages/train", "models/late_fusion")),
    )
    assert {path.stem for path in frames} >= {"video", "worker_pool", "hdf5", "cli"}
    assert not {path.stem for path in frames} & {"train", "track", "report"}
    assert {path.stem for path in train} >= {"train", "late_fusion", "hdf5"}


def test_manifest_is_made_once_and_again_only_when_its_inputs_change(tmp_path, monkeypatch):
    csv = tmp_path / "labels.csv"
    csv.write_text("file,mood\n" + "".join(f"{name}.mp4,{'happy' if name < 'c' else 'sad'}\n" for name in "abcd"))
    study = {"dataset": {"name": "folder", "csv": str(csv)}, "tasks": ["mood"], "shards": 3}
    folder = tmp_path / "manifest"
    workflow.ensure_manifest(study, folder)
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("*.csv")}
    assert {"manifest.csv", "mood.csv"} <= {path.name for path in made}

    monkeypatch.setattr(workflow.subprocess, "run", lambda *_: pytest.fail("nothing changed, yet it ran"))
    workflow.ensure_manifest(study, folder)
    monkeypatch.undo()

    csv.write_text(csv.read_text() + "e.mp4,sad\n")
    workflow.ensure_manifest(study, folder)
    shards = [path for path in folder.rglob("*.csv") if path.parent.name == "shards"]
    rewritten = [path for path in shards if path.stat().st_mtime_ns != made.get(path)]
    assert len(rewritten) == 1, "one clip more touches one shard list"
    assert json.loads((folder / "stamp.json").read_text())["inputs"].keys() == {str(csv)}


def test_a_changed_list_of_ids_makes_a_new_manifest(tmp_path, monkeypatch):
    def here(command, **_):
        """Without a process of its own: the test above has one."""
        assert command[1:4] == ["-m", "modalens", "manifest"]
        cli.call(manifest, command[4:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(workflow.subprocess, "run", here)
    only = tmp_path / "only.csv"
    only.write_text("ka-00000\nka-00001\n")
    study = {"dataset": {"name": "known_answer", "clips": 9}, "tasks": ["seen"], "shards": 1, "clip_ids": str(only)}
    folder = tmp_path / "manifest"
    for text, count in (("ka-00000\nka-00001\n", 2), ("ka-00000\nka-00001\nka-00002\n", 3)):
        only.write_text(text)
        workflow.ensure_manifest(study, folder)
        assert len((folder / "manifest.csv").read_text().splitlines()) == count + 1
    workflow.ensure_manifest(study | {"clip_ids": None}, folder)
    assert len((folder / "manifest.csv").read_text().splitlines()) == 10


def test_a_shard_has_as_many_clips_as_its_list_has_rows(tmp_path):
    (tmp_path / "0.csv").write_text("clip_id,source\na,x\nb,y\n")
    assert workflow.clips_in(tmp_path / "0.csv") == 2
    assert workflow.clips_in(tmp_path / "absent.csv") == 1
