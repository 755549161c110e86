"""A study of clips from a web server that misbehaves (tests/badserver.py), run by Snakemake, run after run."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from badserver import BadServer

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1800)]
GOOD, DEAD, PASSING = 36, ["absent.mp4", "gone.mp4", "html.mp4"], ["forbidden.mp4", "broken.mp4", "flaky.mp4"]


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch, BadServer() as running:
        patch.setenv("no_proxy", "127.0.0.1")
        yield running


@pytest.fixture(scope="module")
def study(checkout, server, tmp_path_factory):
    names = [*(f"good.mp4?{number}" for number in range(GOOD)), *DEAD, *PASSING]
    rows = [(name, server.url(name), "0", "2", "ab"[number % 2]) for number, name in enumerate(names)]
    csv = tmp_path_factory.mktemp("lists") / "clips.csv"
    pd.DataFrame(rows, columns=["clip_id", "file", "start", "end", "label"]).to_csv(csv, index=False)
    return checkout({
        "name": "web", "dataset": {"name": "folder", "csv": str(csv)}, "tasks": ["label"], "shards": 2,
        "download": {"max_runs": 2, "sleep_s": 0, "retries": 0, "timeout_s": 20, "socket_timeout_s": 5},
        "modalities": {
            "audio": {"encoder": "log_mel", "decode": {"seconds": 1}},
            "video": {"encoder": "resnet50", "options": {"weights": "untrained"},
                      "decode": {"count": 2, "resize": 32, "crop": 32}},
        },
        "seeds": [0], "models": {"late_fusion": {}}, "training": {"epochs": 1},
        "evaluate": {"replacements": ["mean@fusion"]},
    })  # fmt: skip


def statuses(study):
    tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in study.results.glob("clips/*.csv")]
    return pd.concat(tables).set_index("clip_id")


def test_a_web_study_runs_through_and_each_further_run_asks_for_transient_failures_only(study, server):
    study.snakemake("--until", "waveforms")
    first = statuses(study)
    lost = first.loc[first["status"] != "ok", "cause"].to_dict()
    assert lost == dict(
        zip([*DEAD, *PASSING], ["removed", "removed", "not_media", "forbidden", *["network"] * 2], strict=True)
    )
    titles = [json.loads(line)["title"] for path in study.results.glob("clips/*.jsonl") for line in path.open()]
    assert len(titles) >= GOOD

    before = server.asked.copy()
    assert study.plan()["clips"] >= 1
    study.snakemake("--until", "waveforms")
    assert set(server.asked - before) == set(PASSING)
    assert statuses(study).loc["flaky.mp4", "status"] == "ok"

    # Two runs are what this study gives them.
    assert "clips" not in study.plan()
    assert "clips" in study.plan(download={**study.config["download"], "max_runs": 3})


def test_a_wall_fails_the_job_with_one_line_and_keeps_what_came(checkout, server, study):
    rows = yaml.safe_load(yaml.safe_dump(study.config))
    walled = [*(f"good.mp4?wall{number}" for number in range(4)), *(f"blocked.mp4?{number}" for number in range(6))]
    csv = Path(rows["dataset"]["csv"]).with_name("walled.csv")
    table = [(f"{number:02d}", server.url(name), "", "", "ab"[number % 2]) for number, name in enumerate(walled)]
    pd.DataFrame(table, columns=["clip_id", "file", "start", "end", "label"]).to_csv(csv, index=False)
    wall = checkout({**rows, "name": "wall", "shards": 1, "dataset": {"name": "folder", "csv": str(csv)}})
    done = wall.snakemake("--until", "clips", check=False)
    assert done.returncode
    (line,) = [line for line in (wall.results / "logs" / "clips" / "0.log").open() if line.startswith("modalens: ")]
    assert "stopped early" in line
    assert "not tried" in line
    # Briefly where it happened, and whole where the eye falls last.
    words = f"clips 0 failed: {line.removeprefix('modalens: ').strip()} (log: "
    assert done.stdout.count("clips 0 failed: ") == 2
    assert done.stdout.splitlines()[-3].startswith(f"modalens: {words}")
    assert len(list(wall.results.glob("clips/media/*/*.mp4"))) == 4
    before = server.asked.copy()
    # With `max_runs: 0` the study goes on with what is there.
    wall.config["download"] = {**wall.config["download"], "max_runs": 0}
    wall.snakemake("--until", "clips")
    assert server.asked == before
    found = pd.read_csv(wall.results / "clips" / "0.csv", dtype=str, keep_default_na=False)
    assert found["status"].value_counts().to_dict() == {"failed": 6, "ok": 4}
