"""`modalens summary`: the answer in the terminal."""

import pytest

from modalens.commands import summary
from modalens.reporting import answer
from modalens.reporting.summary import Finding, ModalityFinding
from modalens.utils import cli
from modalens.utils.errors import UserError


def finding(task, lead, metric="accuracy", **drops):
    rows = {
        name: {"full": 0.9, "drop": drop, "low": drop - 0.1, "high": drop + 0.1} if drop is not None else None
        for name, drop in drops.items()
    }
    parts = [ModalityFinding(name, row, None, None, None) for name, row in rows.items()]
    return Finding(task, "late_fusion", metric, 0.5, parts, next(iter(rows.values())), lead)


def test_a_task_is_one_line_of_aligned_numbers_with_the_verdict_last():
    rows = [
        finding("mood", "video dominates", audio=0.001, video=0.5),
        finding("a longer name", "both count", audio=0.25, video=0.5),
    ]
    lines = answer.aligned([answer.cells(row) for row in rows])
    assert lines[0].startswith("  mood           accuracy 0.90  audio 0.00 [-0.10, 0.10]")
    assert lines[0].endswith("video 0.50 [0.40, 0.60]  video dominates")
    assert lines[0].index("video 0.50") == lines[1].index("video 0.50")
    assert lines[0].index("video dominates") == lines[1].index("both count")


def test_what_was_not_measured_has_no_number():
    assert answer.cells(finding("mood", "not measured", audio=None)) == ["mood", "not measured"]


def test_nothing_is_a_drop_of_nothing_without_a_sign():
    assert "audio 0.00" in answer.cells(finding("mood", "", audio=-0.001))[2]


def test_a_folder_without_a_study_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="expected the folder of a study that has run"):
        cli.call(summary, [tmp_path])
