"""Plugins from outside: found without an import, refused in one line, and told apart by what they derive from."""

import pytest

from modalens.config import code_version
from modalens.plugins import introspection, options, registry
from modalens.utils.errors import UserError

ENCODER = """
from modalens.encoders import Encoder
class {name}(Encoder):
    input = "waveforms"
    axes = ("channel",)
    def __init__(self, device, *, size: int = 3):
        super().__init__(device)
"""


@pytest.fixture
def use(tmp_path):
    def write(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        registry.use([tmp_path / f"{name}.py" for name in files])

    yield write
    registry.use([])


def test_a_class_in_a_file_is_known_by_its_name_in_snake_case_and_by_its_base_class(use):
    use(mine=ENCODER.format(name="MyLPCEncoder"), other="from modalens.models.late_fusion import LateFusion\n"
        "class Wider(LateFusion):\n    pass\n")  # fmt: skip
    assert "my_lpc_encoder" in registry.names("encoders")
    assert "wider" in registry.names("models"), "what derives from a member of a kind is of that kind"
    assert introspection.attribute("encoders", "my_lpc_encoder", "axes") == ("channel",)
    assert introspection.options("encoders", "my_lpc_encoder")["size"].default == 3
    assert introspection.options("models", "wider")["fusion"].default == "concat", "of its base class"
    assert registry.load("encoders", "my_lpc_encoder").__module__ == "modalens.plugins.files.mine"


def test_a_constructor_that_hands_options_on_has_those_of_the_class_that_it_extends(use):
    use(mine="from modalens.models.late_fusion import LateFusion\n"
        "class Wider(LateFusion):\n"
        "    def __init__(self, shapes, classes, *, twice: bool = True, dropout: float = 0.25, **options):\n"
        "        super().__init__(shapes, classes, dropout=dropout, **options)\n")  # fmt: skip
    read = introspection.options("models", "wider")
    assert (read["twice"].type, read["dropout"].default) == ("bool", 0.25), "its own, and its own default"
    assert set(read) == set(introspection.options("models", "late_fusion")) | {"twice"}
    resolved = options.resolve(registry.load("models", "wider"), {"fusion": "add"}, "models.wider")
    assert set(resolved) == set(read)
    assert (resolved["dropout"], resolved["fusion"]) == (0.25, "add")
    with pytest.raises(UserError, match=r"models\.wider: unknown option 'fusoin'; did you mean 'fusion'"):
        options.resolve(registry.load("models", "wider"), {"fusoin": "add"}, "models.wider")


def test_sources_are_read_anew_where_a_plugin_file_has_changed_and_else_once(use):
    sizes = []
    for size in ("3", "44"):
        use(mine=ENCODER.format(name="Mine").replace("= 3", f"= {size}"))
        sizes.append(introspection.options("encoders", "mine")["size"].default)
    assert sizes == [3, 44]
    tree = registry.parse(registry.get("encoders", "mine").path)
    registry.use([registry.get("encoders", "mine").path])
    assert registry.parse(registry.get("encoders", "mine").path) is tree
    registry.use([])
    assert "mine" not in registry.names("encoders")


def test_the_source_of_a_plugin_is_part_of_the_code_version(use):
    versions = []
    for size in (3, 4):
        use(mine=ENCODER.format(name="Mine").replace("= 3", f"= {size}"))
        for cached in (code_version.code_digest, code_version._imports, code_version._parse, code_version._tree_digest):
            cached.cache_clear()
        versions.append(code_version.code_digest("encoders/mine"))
    assert versions[0] != versions[1]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def x(:", r"plugins: .*mine\.py cannot be read as Python: "),
        (ENCODER.format(name="LogMel"), r"plugins: .*mine\.py defines the encoder 'log_mel', which exists already"),
        (
            "import nowhere_to_be_found\n" + ENCODER.format(name="Mine"),
            r"plugins: .*mine\.py cannot be imported: Module",
        ),
    ],
)
def test_a_plugin_that_cannot_be_is_one_line(use, text, line):
    use(mine=text)
    with pytest.raises(UserError, match=line):
        registry.load("encoders", "mine")


def test_files_of_one_name_and_files_that_are_no_python_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in "ab":
        (tmp_path / folder / "mine.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=r"two files are called mine\.py"):
        registry.use([tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"])
    with pytest.raises(UserError, match="not found"):
        registry.use([tmp_path / "notes.txt"])


def test_an_entry_point_of_an_installed_package_is_a_plugin(tmp_path, monkeypatch):
    (tmp_path / "elsewhere_of_mine.py").write_text(ENCODER.format(name="Elsewhere"))
    info = tmp_path / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[modalens.encoders]\nelsewhere = elsewhere_of_mine:Elsewhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.members.cache_clear()
    try:
        assert registry.load("encoders", "elsewhere").axes == ("channel",)
    finally:
        registry.members.cache_clear()


def test_a_plugin_file_hides_no_installed_module(use):
    use(json=ENCODER.format(name="Mine"))
    assert registry.load("encoders", "mine").input == "waveforms"
    import json

    assert json.loads("[1]") == [1]
