"""What every rule of the workflow keeps to, read from the rule files."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from _checkout import ROOT

FILES = [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk"))]
OURS = {"threads"}  # a number that Snakemake makes of a number


def commands(text: str) -> list[str]:
    """The text of each `shell:`, in order."""
    found, inside = [], False
    for line in text.splitlines():
        if re.fullmatch(r"\s*shell:", line):
            found.append("")
            inside = True
        elif inside and line.strip().startswith('"'):
            found[-1] += line.strip().strip('"')
        elif not line.strip().startswith("#"):
            inside = False
    return found


def unquoted(text: str) -> list[str]:
    fields = [field for command in commands(text) for field in re.findall(r"(?<!\{)\{([^{}]+)\}(?!\})", command)]
    return [field for field in fields if not field.endswith(":q") and field not in OURS]


def rules(text: str) -> list[str]:
    """The first line inside each rule."""
    return re.findall(r"^ *rule(?: \w+)?:\n\s*(.*)", text, flags=re.M)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_substitution_of_a_shell_line_is_quoted(path):
    assert unquoted(path.read_text()) == []


@pytest.mark.parametrize("field", ["input", "params.study", "wildcards.task", "output[0]", "params.key!r"])
def test_a_substitution_that_is_not_quoted_is_found(field):
    assert unquoted(f'rule a:\n    shell:\n        # why\n        "x {{input:q}} "\n        "y {{{field}}}"\n') == [
        field
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_rule_says_what_it_does(path):
    firsts = rules(path.read_text())
    assert [line for line in firsts if not re.fullmatch(r'"""[A-Z].*\."""', line)] == []


def test_the_rule_files_are_read_whole():
    texts = [path.read_text() for path in FILES]
    assert sum(len(commands(text)) for text in texts) == sum(text.count("shell:") for text in texts)
    stages = {name for text in texts for name in re.findall(r"-m modalens (\w+) ", text)}
    assert {"clips", "decode", "features", "train", "evaluate", "report", "track"} <= stages


def test_the_snakefile_names_the_version_of_snakemake_that_it_needs():
    assert re.search(r'^min_version\("9\.\d+"\)$', (ROOT / "Snakefile").read_text(), flags=re.M)


@pytest.mark.parametrize("name", ["my results", "r$(touch X)", "r;touch X", "r`touch X`", "it's", '"', "r&&touch X"])
def test_a_quoted_name_reaches_a_command_as_it_is(tmp_path, name):
    from snakemake.utils import format  # what Snakemake fills a shell line with

    line = format("printf '%s\\n' {params:q}", params=[name, "b"])
    said = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said == f"{name}\nb\n"
    assert shlex.split(line)[2:] == [name, "b"]
    assert list(Path(tmp_path).iterdir()) == []
