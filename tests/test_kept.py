"""What a job that runs again keeps, and what it makes anew: seen at the calls that decode and encode."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from _forms import FORMS, options
from filming import film

from modalens.media.fetch_log import sha256
from modalens.stages import decode, features, fingerprints
from modalens.utils import cli, hdf5, row_cache
from modalens.utils.errors import UserError

EVEN = [40 * k for k in range(25)]
RATE = 16000


class Shard:
    """The jobs of one shard, run as the workflow runs them, frames thrown away once they were used."""

    def __init__(self, root: Path) -> None:
        self.root, self.names, self.paths = root, [], {}
        self.frames_made, self.encoder_made, self.sketches_made = "f", "e", "s"
        self.options = {}
        self.whole = False
        self.more: list[str] = []
        self.cache: list[object] = []
        self.decoding: dict[str, object] = {}

    def add(self, name: str, frames: int = 25) -> None:
        self.paths[name] = film(self.root / f"{name}.mp4", EVEN[:frames])
        self.names.append(name)

    def decode(self) -> dict[str, float]:
        """Metrics of the record."""
        rows = [f"{name},ok,,,{self.paths[name]},,,{sha256(self.paths[name])}" for name in self.names]
        clips = self.root / "clips" / "0.csv"
        clips.parent.mkdir(exist_ok=True)
        clips.write_text("\n".join(["clip_id,status,cause,detail,path,start_s,end_s,sha256", *rows, ""]))
        line = ["--clips", clips, "--output", self.root / "0.h5", "--status", self.root / "0.csv", "--workers", 1]
        line += [*options("video", count=2, resize=36, crop=32, **self.decoding), "--record", self.root / "0.json"]
        line += ["--made", self.frames_made, *self.more, *self.cache]
        if not self.whole:
            line += ["--consumers", f"{self.encoder_made}={self.root / 'features' / '0.h5'}"]
            line += [f"{self.sketches_made}={self.root / 'sketches' / 'frames' / '0.h5'}"]
        cli.call(decode, [str(part) for part in line])
        return json.loads((self.root / "0.json").read_text())["runs"][0]["metrics"]

    def encode(self) -> dict[str, float]:
        line = ["--encoder", "pixels", "--options", json.dumps(self.options), "--made", self.encoder_made]
        line += ["--input", self.root / "0.h5", "--output", self.root / "features" / "0.h5", "--device", "cpu"]
        line += ["--record", self.root / "features.json", *self.cache]
        cli.call(features, [str(part) for part in line])
        return json.loads((self.root / "features.json").read_text())["runs"][0]["metrics"]

    def sketch(self) -> pd.DataFrame:
        line = ["--clips", self.root / "clips" / "0.csv", "--decoded", f"frames={self.root / '0.h5'}"]
        line += ["--made", self.sketches_made, "--forms", json.dumps(FORMS)]
        line += ["--output", self.root / "sketches", "--record", self.root / "sketches.json", *self.cache]
        cli.call(fingerprints, [str(part) for part in line])
        return pd.read_csv(self.root / "sketches" / "0.csv", index_col="clip_id")

    def run(self) -> tuple[float, float]:
        """Clips decoded and encoded."""
        decoded = self.decode()["decoded"]
        encoded = self.encode()["encoded"]
        self.sketch()
        if not self.whole:
            (self.root / "0.h5").unlink()
        return decoded, encoded

    def results(self) -> dict[str, object]:
        found = {}
        for path in ("features/0.h5", "sketches/frames/0.h5"):
            names = sorted(hdf5.ids(self.root / path))
            found[path] = dict(zip(names, hdf5.read(self.root / path, names).tolist(), strict=True))
        status = pd.read_csv(self.root / "0.csv", dtype=str, keep_default_na=False).drop(columns="seconds")
        sketches = pd.read_csv(self.root / "sketches" / "0.csv", dtype=str, keep_default_na=False)
        return found | {"status": status.to_dict(), "sketches": sketches.to_dict()}


class Pixels:
    """Mean colour of each frame."""

    input, axes, weights, batch_size, dtype = "frames", ("time", "channel"), "none", 2, "float16"
    expected: ClassVar[dict[str, Any]] = {}

    def __init__(self, options):
        self.options = options

    def encode(self, batch):
        return batch.float().mean(dim=(2, 3)).half()


@pytest.fixture(scope="module", autouse=True)
def pixels():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "load_encoder", lambda *given: Pixels(given[1]))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    made = Shard(tmp_path_factory.mktemp("finished"))
    for name, frames_long in (("b", 25), ("d", 13)):
        made.add(name, frames_long)
    assert made.run() == (2, 2)
    return made


@pytest.fixture
def shard(finished, tmp_path):
    """A shard of two clips whose jobs have run once."""
    made = Shard(shutil.copytree(finished.root, tmp_path / "shard"))
    made.names, made.paths = list(finished.names), {name: made.root / f"{name}.mp4" for name in finished.names}
    return made


def test_a_clip_added_to_a_shard_is_the_only_one_decoded_and_encoded(shard, tmp_path):
    shard.add("c", 20)
    assert shard.run() == (1, 1)
    other = Shard(tmp_path / "anew")
    other.root.mkdir()
    other.names, other.paths = shard.names, shard.paths
    assert other.run() == (3, 3)
    assert shard.results() == other.results(), "as if all had been made together"


def test_nothing_is_made_when_nothing_changed(shard):
    before = shard.results()
    assert shard.run() == (0, 0)
    assert shard.results() == before


def test_a_clip_that_left_the_shard_leaves_all_files(shard):
    shard.names.remove("b")
    assert shard.run() == (0, 0)
    assert set(hdf5.ids(shard.root / "features" / "0.h5")) == {"d"}
    assert list(shard.results()["sketches"]["clip_id"].values()) == ["d"]


def test_a_file_that_is_another_under_the_same_name_is_decoded_again(shard):
    shard.paths["b"] = film(shard.root / "b.mp4", EVEN[:7])
    assert shard.run() == (1, 1)


@pytest.mark.parametrize("changed", ["frames_made", "decoding"])
def test_another_way_to_decode_makes_all_anew(shard, changed):
    setattr(shard, changed, {"frames_made": "other code", "decoding": {"decoder": "decord"}}[changed])
    assert shard.run() == (2, 2)


def test_another_way_to_encode_decodes_all_again_since_frames_are_thrown_away(shard):
    shard.encoder_made, shard.options = "other", {"grey": True}
    assert shard.run() == (2, 2)


def test_other_sketches_need_frames_but_encode_nothing(shard):
    shard.sketches_made = "other code"
    assert shard.run() == (2, 0)


def test_frames_that_are_kept_serve_another_encoder(shard):
    shard.whole = True
    assert shard.run() == (2, 0)
    shard.encoder_made = "other"
    assert shard.run() == (0, 2)


def test_a_clip_that_cannot_be_decoded_is_not_tried_again_unless_the_machine_was_at_fault(shard):
    shard.paths["x"] = shard.root / "x.mp4"
    shard.paths["x"].write_text("<html>")
    shard.names.append("x")
    assert shard.run() == (1, 0)
    assert shard.run() == (0, 0)
    assert shard.results()["status"]["cause"][2] == "not_media"
    shard.more = ["--timeout", "0.001"]
    shard.add("slow")
    assert shard.run() == (1, 0)
    shard.more = []
    assert shard.run() == (1, 1)


def test_lost_features_are_made_again_from_the_start(shard):
    before = shard.results()
    (shard.root / "features" / "0.h5").unlink()
    assert shard.run() == (2, 2)
    assert shard.results() == before


def test_damaged_features_are_made_again_from_the_start(shard):
    before = shard.results()
    path = shard.root / "features" / "0.h5"
    path.write_bytes(path.read_bytes()[:100])
    assert shard.run() == (2, 2)
    assert shard.results() == before


def test_features_lost_after_the_frames_were_left_out_are_one_clear_line(shard):
    shard.decode()
    (shard.root / "features" / "0.h5").unlink()
    with pytest.raises(UserError, match=r"has lost 2 of 2 clips, first 'b'; delete .*0.h5 and .*0.h5, and run again"):
        shard.encode()


def test_a_lost_table_of_sketches_is_made_again_where_frames_are_kept(shard):
    shard.whole = True
    shard.run()
    before = shard.results()
    (shard.root / "sketches" / "0.csv").unlink()
    assert shard.run() == (0, 0)
    assert shard.results() == before


def test_rows_without_a_key_are_never_kept(tmp_path):
    for name in ("in", "out"):
        with hdf5.write(tmp_path / name, {}) as writer:
            writer.append("a", np.zeros(2))
    assert row_cache.partition_cached(tmp_path / "in", tmp_path / "out", {}, "m") == ({}, {"a": ""})
    assert not row_cache.is_cached_downstream("a", "", {"m": {"a": row_cache.derived_key("", "m")}})


def test_rows_made_with_other_weights_are_never_kept(tmp_path):
    with hdf5.write(tmp_path / "in", {}) as writer:
        writer.append("a", np.zeros(2), "key")
    with hdf5.write(tmp_path / "out", {"weights": "one"}) as writer:
        writer.append("a", np.zeros(2), row_cache.derived_key("key", "m"))
    assert row_cache.partition_cached(tmp_path / "in", tmp_path / "out", {"weights": "one"}, "m")[1] == {}
    assert row_cache.partition_cached(tmp_path / "in", tmp_path / "out", {"weights": "two"}, "m")[0] == {}


def study_of(root, paths, cache, **settings):
    """A study of these clips, run once; decoded and encoded."""
    root.mkdir()
    made = Shard(root)
    made.names, made.paths, made.cache = list(paths), dict(paths), ["--cache", cache]
    for name, value in settings.items():
        setattr(made, name, value)
    return made, made.run()


@pytest.mark.parametrize("whole", [False, True])
def test_studies_that_share_a_cache_decode_and_encode_a_clip_once(finished, tmp_path, whole):
    cache = tmp_path / "cache"
    first, made = study_of(tmp_path / "first", finished.paths, cache, whole=whole)
    assert made == (2, 2)
    second, made = study_of(tmp_path / "second", finished.paths, cache, whole=whole)
    assert made == (0, 0)
    assert second.results() == first.results()
    if whole:
        assert (
            hdf5.read(second.root / "0.h5", ["b", "d"]).tolist() == hdf5.read(first.root / "0.h5", ["b", "d"]).tolist()
        )
    alone, made = study_of(tmp_path / "alone", finished.paths, tmp_path / "other", whole=whole)
    assert made == (2, 2)
    assert alone.results() == first.results(), "as if nothing had been shared"


def test_what_was_made_otherwise_is_not_taken_from_a_cache(finished, tmp_path):
    cache = tmp_path / "cache"
    study_of(tmp_path / "first", finished.paths, cache)
    for name in ("frames_made", "encoder_made"):
        assert study_of(tmp_path / name, finished.paths, cache, **{name: "other"})[1] == (2, 2)
    other = {"b": finished.paths["d"], "d": finished.paths["b"]}
    assert study_of(tmp_path / "swapped", other, cache)[1] == (2, 2), "the same ids, other files"


def test_a_damaged_file_in_a_cache_is_made_anew(finished, tmp_path):
    cache = tmp_path / "cache"
    first, _ = study_of(tmp_path / "first", finished.paths, cache)
    for path in cache.rglob("*.h5"):
        content = bytearray(path.read_bytes())
        path.unlink()  # it may be a link to the study's own
        path.write_bytes(bytes(content[: len(content) // 2]))
    second, made = study_of(tmp_path / "second", finished.paths, cache)
    assert made == (2, 2)
    assert second.results() == first.results()


def test_studies_that_run_at_a_time_share_a_cache(finished, tmp_path):
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(4) as pool:
        folders = [tmp_path / f"{number}" for number in range(4)]
        studies = list(pool.map(lambda folder: study_of(folder, finished.paths, cache)[0], folders))
    assert all(study.results() == studies[0].results() for study in studies)
    assert not list(cache.rglob("*.part"))
    assert study_of(tmp_path / "last", finished.paths, cache)[1] == (0, 0)


def test_weights_that_are_others_under_the_same_name_are_one_line_that_says_what_to_delete(finished, tmp_path):
    cache = tmp_path / "cache"
    study_of(tmp_path / "first", finished.paths, cache)
    with pytest.raises(UserError, match=f"delete .* and {cache}/rows/e, and run again"):
        study_of(tmp_path / "second", finished.paths, cache, options={"weights": "others"})
    shutil.rmtree(cache / "rows" / "e")
    assert study_of(tmp_path / "third", finished.paths, cache, options={"weights": "others"})[1] == (2, 2)
