"""Every Python block of the pages under docs/ runs, by itself, in an empty folder; every link leads to a file."""

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


@pytest.mark.parametrize(
    "page", [*PAGES, *ROOT.glob("*.md"), ROOT / "config" / "README.md"], ids=lambda path: path.name
)
def test_links_of_a_page_lead_to_files_of_the_repository(page):
    """As they are on the code host, where nothing is generated. `make docs` checks those of the site."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    assert [link for link in links if link and "://" not in link and not (page.parent / link).exists()] == []
