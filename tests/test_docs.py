"""Every Python block of the pages under docs/ runs, by itself, in an empty folder."""

import re

import pytest
from _checkout import ROOT

PAGES = sorted((ROOT / "docs").rglob("*.md"))


def blocks():
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(r"^```python[^\n]*\n(.*?)^```", text, flags=re.M | re.S):
            line = text[: block.start()].count("\n") + 1
            name = f"{page.relative_to(ROOT)}:{line}"
            # Its lines keep their numbers, so that a traceback points into the page.
            found.append(pytest.param(name, "\n" * line + block[1], id=name))
    return found


@pytest.mark.parametrize(("name", "code"), blocks())
def test_a_block_runs(name, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, name, "exec"), {"__name__": "__main__"})


def test_there_are_blocks_to_run():
    assert any("own_model.md" in block.id for block in blocks())
