"""Config files that are wrong: one line with file, line and column."""

import re

import pytest

from modalens.config.resolve import resolve
from modalens.config.rules import PATTERNS, schema
from modalens.config.yaml_file import load, number_hint
from modalens.utils.errors import UserError


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name: a\nname: b\n", "line 2, column 1: the key 'name' occurs again; it is there in line 1 already"),
        ("a:\n  b: 1\n  c: 2\n  b: 1\n", "line 4, column 3: the key 'b' occurs again; it is there in line 2"),
        ("a: [{b: 1, b: 2}]\n", "line 1, column 12: the key 'b' occurs again"),
        ("1: a\n1: b\n", "line 2, column 1: the key 1 occurs again"),
        ("a: 1e-3\n", "line 1, column 4: expected a number, got the text '1e-3'; write 1.0e-3, or put quotes"),
        ("a:\n  b: [1, 5E4]\n", "line 2, column 10: expected a number, got the text '5E4'; write 5.0e+4"),
        ("a: 1.5e3\n", "line 1, column 4: expected a number, got the text '1.5e3'; write 1.5e+3"),
        ("a: b: c\n", "line 1, column 5: mapping values are not allowed here"),
        ("a: [1, 2\nb: 3\n", "line 2, column 2: while parsing a flow sequence"),
        ("a:\n\t- b\n", "line 2, column 1: while scanning"),
        ("a: *b\n", "line 1, column 4: found undefined alias 'b'"),
        ("a: !!python/object:os.system x\n", "line 1, column 4: could not determine a constructor"),
        ("- a\n", "expected a mapping of keys to values, got list"),
        ("", "expected a mapping of keys to values, got NoneType"),
        (b"a: \xff\n", "expected UTF-8, got byte 0xff"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(tmp_path, content, said):
    path = tmp_path / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(caught.value).startswith(f"config: {path}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_meant_as_it_is_written_is_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("base: &base {a: 1, b: 2}\nx: {<<: *base, b: 3}\ny: '1e-3'\nz: 1.0e-3\nw: 1e\nv: e5\nu: 12\n")
    found = load(path)
    assert found["x"] == {"a": 1, "b": 3}
    assert [found[name] for name in "yzwvu"] == ["1e-3", 1e-3, "1e", "e5", 12]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config: not found: .*none\.yaml"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["1e-3", "1E3", "-2e5", "1.5e3", "1.e4"])
def test_the_hint_is_read_as_the_number_that_was_meant(text):
    hint = number_hint(text).removeprefix("write ")
    assert load_text(hint) == float(text)


def load_text(text):
    import yaml

    return yaml.safe_load(text)


def test_a_number_that_came_as_text_gets_the_hint_also_without_a_file():
    config = {"name": "s", "tasks": ["t"], "dataset": {"name": "known_answer"}, "training": {"learning_rate": "1e-3"}}
    with pytest.raises(UserError, match=r"training\.learning_rate: expected a number, got \"1e-3\"; write 1\.0e-3"):
        resolve(config)


def patterns(node):
    if isinstance(node, dict):
        found = [node["pattern"]] if isinstance(node.get("pattern"), str) else []
        return found + [one for part in node.values() for one in patterns(part)]
    return [one for part in node for one in patterns(part)] if isinstance(node, list) else []


def test_every_pattern_of_the_schema_has_words_and_ends_before_no_newline():
    assert set(patterns(schema())) == set(PATTERNS)
    for pattern in PATTERNS:
        for name in ("a", "options.a", "balancing.b"):
            assert not re.search(pattern, name + "\n")


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"name": "-x"}, "name: expected a name of letters, digits, _ . and -, with a letter or digit first, got '-x'"),
        ({"name": "x\n"}, "name: expected a name of letters"),
        ({"name": "x" * 300}, "name: expected 100 characters at most, got 300"),
        ({"tasks": ["a b"]}, "tasks[0]: expected a name of letters"),
        ({"modalities": {"Audio": "log_mel"}}, "modalities: expected a name of small letters, digits and _"),
    ],
)
def test_a_bad_name_is_told_in_words(part, said):
    with pytest.raises(UserError, match=re.escape(f"config: {said}")):
        resolve({"name": "s", "tasks": ["t"], "dataset": {"name": "known_answer"}} | part)
