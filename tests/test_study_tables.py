"""Tables and configs of a study that another version wrote, or a hand, or that break off: one line, and no number."""

import hashlib
import json
from concurrent.futures import Future

import pandas as pd
import pytest
import yaml
from synthetic import write_study
from test_made_studies import compare
from test_report import CLASSES, SHARED, measure, models

from modalens.commands import summary
from modalens.reporting import drawings, others, page, study_results
from modalens.reporting.rendering import RenderedChart
from modalens.reporting.study_results import Study
from modalens.reporting.tables import NEEDED, read
from modalens.utils import cli
from modalens.utils.errors import UserError
from modalens.utils.files import write_text

ROW = dict.fromkeys(NEEDED["sizes"].split(), 0.5) | {"split": "train"}


def table(path, *rows, end="\n"):
    path.write_text(pd.DataFrame(rows).to_csv(index=False).rstrip("\n") + end)
    return path


def refused(path, kind="sizes", task=""):
    with pytest.raises(UserError) as caught:
        read(path, kind, task)
    line = str(caught.value)
    assert line.endswith(f": run again with `--forcerun {path}`, which makes it anew")
    assert "\n" not in line
    return line


def test_a_table_that_is_whole_is_read_as_it_was_written(tmp_path):
    assert read(table(tmp_path / "a.csv", ROW), "sizes").to_dict("records") == [ROW]


@pytest.mark.parametrize("absent", NEEDED["sizes"].split())
def test_a_table_without_a_column_is_one_line_that_names_it(tmp_path, absent):
    path = table(tmp_path / "a.csv", {name: value for name, value in ROW.items() if name != absent})
    assert f"has no column {absent!r}" in refused(path)


def test_a_table_that_breaks_off_in_a_number_is_damaged_and_that_is_not_another_number(tmp_path):
    assert "breaks off" in refused(table(tmp_path / "a.csv", ROW, end=""))


def test_words_among_numbers_nothing_at_all_and_another_task_are_one_line(tmp_path):
    assert "its column 'clips' holds other than numbers" in refused(table(tmp_path / "a.csv", ROW | {"clips": "many"}))
    (tmp_path / "b.csv").write_text("")
    assert "is damaged" in refused(tmp_path / "b.csv")
    assert "not found" in refused(tmp_path / "c.csv")
    board = {"task": "other", "model": "a"}
    assert "is of another task than 'mood'" in refused(table(tmp_path / "d.csv", board), "of_a_plugin", "mood")


def test_a_measure_without_rows_need_not_have_the_columns_of_rows(tmp_path):
    (tmp_path / "a.csv").write_text("task,model\n")
    assert read(tmp_path / "a.csv", "interaction", "mood").empty
    (tmp_path / "b.csv").write_text("garbage\n")
    assert "has no column 'task'" in refused(tmp_path / "b.csv", "interaction", "mood")


def test_a_measure_of_another_s_may_be_called_as_a_table_of_ours(tmp_path):
    (tmp_path / "relevance" / "mood").mkdir(parents=True)
    rows = {"task": "mood", "model": "late_fusion", "value": 0.5}
    table(tmp_path / "relevance" / "mood" / "history.csv", rows)
    assert study_results._of_measure(tmp_path / "relevance" / "mood" / "history.csv").to_dict("records") == [rows]


def test_what_a_study_no_longer_asks_for_is_not_read(tmp_path):
    root = write_study(tmp_path / "s", {"t": models(SHARED)}, CLASSES, groups=8, seeds=2, trained=False)
    (root / "relevance" / "t").mkdir(parents=True)
    for name in ("shapley", "mm_shap"):
        table(root / "relevance" / "t" / f"{name}.csv", {"task": "t", "model": "late_fusion"})
    study = Study(root, yaml.safe_load((root / "config.yaml").read_text()))
    assert study.measures() == ["shapley"]


def test_a_leaderboard_by_a_score_that_it_does_not_have_is_one_line(tmp_path):
    row = dict.fromkeys(NEEDED["leaderboard"].split(), 0.5) | {"metric": "r2", "r2": 0.5}
    assert "has no column 'r2_std'" in refused(table(tmp_path / "a.csv", row), "leaderboard")


def test_a_table_that_was_changed_since_its_record_was_written_is_refused(tmp_path):
    path = table(tmp_path / "a.csv", ROW)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"stage": "relevance", "runs": [], "table": digest}))
    read(path, "sizes")
    table(path, ROW | {"share": 0.6})
    assert "is not what the study wrote" in refused(path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "has no 'relevance.confidence'"),
        ({"relevance": {"confidence": "high"}}, "has no 'relevance.confidence'"),
        ({"relevance": [1]}, "has no mapping 'relevance'"),
        ({"modalities": ["audio"]}, "has no mapping 'modalities'"),
        ({"modalities": {"audio": {"encoder": "log_mel"}}}, "lacks kind, encoder, decode, keep in 'modalities.audio'"),
        ({"tasks": [{"name": "seen"}]}, "has other than names in 'tasks'"),
        ({"relevance": {"confidence": 0.95}, "search": {"budget": 3}}, "has no 'search.seeds'"),
    ],
)
def test_a_study_s_config_of_another_version_is_one_line(tmp_path, config, said):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="run the study again with its own config") as caught:
        cli.call(summary, [tmp_path])
    assert said in str(caught.value)


def test_known_answers_that_break_off_are_one_line(tmp_path):
    write_text(tmp_path / "manifest" / "answers.json", '{"seen": ')
    write_text(tmp_path / "evaluate" / "seen" / "a.parquet", "")
    with pytest.raises(UserError, match=r"answers.json is damaged .*; delete it and run again"):
        Study(tmp_path, {"relevance": {"confidence": 0.95}}).answers()


@pytest.mark.slow
def test_the_page_reads_no_column_but_those_that_it_asks_for(tmp_path, monkeypatch):
    """So a table that lacks any other one is no crash. What it shows of measures that it does not know is as it is."""
    root = compare(measure(write_study(tmp_path / "study", {"t": models(SHARED)}, CLASSES, groups=10)))
    drawn = Future()
    drawn.set_result(("", b""))
    for module in (drawings, others):
        monkeypatch.setattr(module, "render", lambda name, _, words: RenderedChart(name, "{}", words, drawn))
    cut = 0
    for path in [*root.glob("leaderboard/*.csv"), *root.glob("relevance/*/*.csv"), *root.glob("splits/*/*.csv")]:
        kind = path.stem if path.stem in NEEDED else path.parent.name if path.parent.name in NEEDED else "split"
        score = ["accuracy", "accuracy_std"] if kind == "leaderboard" else []
        whole = pd.read_csv(path, dtype=str, keep_default_na=False)
        whole[[*NEEDED[kind].split(), *score]].to_csv(path, index=False)
        path.with_suffix(".json").unlink(missing_ok=True)
        cut += 1
    config = (root / "config.yaml").read_text()
    html, *_ = page.page(Study(root, yaml.safe_load(config)), config)
    assert "late_fusion" in html
    assert cut >= 6
