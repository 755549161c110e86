"""The documentation is true: its configs resolve, its plugins work, its commands exist, and the site stands alone."""

import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from test_architecture import ORDER

from modalens import __main__ as program
from modalens.config import resolve
from modalens.plugins import registry
from modalens.utils import cli

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TOP_LEVEL = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("reference/*.md"), *TOP_LEVEL])
FENCE = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```$", re.M | re.S)
STUDY = {"name": "x", "dataset": {"name": "known_answer"}, "tasks": ["seen"]}


def blocks(page, language):
    """(line, title or "", text) of a page's blocks in a language."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        if match[2] == language:
            title = re.search(r'title="([^"]+)"', match[3])
            yield text[: match.start()].count("\n") + 1, title[1] if title else "", match[4]


def all_blocks(language):
    return [
        pytest.param(page, text, id=f"{page.name}:{line}") for page in PAGES for line, _, text in blocks(page, language)
    ]


@pytest.fixture
def plugins(monkeypatch, tmp_path):
    """Writes the plugin files that a page shows into a folder of their own, which is then the working one."""
    monkeypatch.chdir(tmp_path)

    def write(page):
        files = {title: text for _, title, text in blocks(page, "python") if title}
        for title, text in files.items():
            (tmp_path / title).write_text(text, encoding="utf-8")
        return list(files)

    yield write
    registry.use([])


@pytest.mark.parametrize(("page", "text"), all_blocks("yaml"))
def test_every_config_of_the_docs_resolves(page, text, plugins):
    plugins(page)
    if page.name == "README.md":
        plugins(DOCS / "add_encoder.md")
    resolve.resolve({**STUDY, **yaml.safe_load(text)})


def test_the_readmes_own_model_is_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _, _, text in blocks(ROOT / "README.md", "python"):
        exec(compile(text, "README.md", "exec"), {})
    assert (tmp_path / "report.html").stat().st_size


def test_the_notions_of_shapley_values_are_those_of_its_page():
    import modalens

    table = modalens.evaluate(
        lambda x: 3 * np.eye(2)[x["a"][:, 0].astype(int)], {"a": np.arange(8)[:, None] % 2 + 0.0}, np.arange(8) % 2
    )
    notions = set(modalens.shapley(table)["notion"])
    page = (DOCS / "measures.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| (?:the one trained|a model trained)", page, re.M)
    assert len(told) == 2
    assert notions == set(told)


def loaded(plugins, page, kind, name):
    registry.use(plugins(DOCS / page))
    return registry.load(kind, name)


def test_the_fusion_of_the_docs_joins_any_number_of_modalities(plugins):
    torch = pytest.importorskip("torch")
    made = loaded(plugins, "add_fusion.md", "fusions", "spread")({"a": 3, "b": 5}, width=4)
    given = {"b": torch.randn(2, 5), "a": torch.randn(2, 3)}
    assert made(given).shape == (2, made.size)
    made(given).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())


def test_the_encoder_of_the_docs_hears_loud_from_silent(plugins):
    torch = pytest.importorskip("torch")
    made = loaded(plugins, "add_encoder.md", "encoders", "loudness")(torch.device("cpu"), hop=160)
    batch = torch.tensor([[0], [3276]], dtype=torch.int16).repeat(1, 1600)
    features = made.encode(batch)
    assert features.shape == (2, 10, 1)
    assert features.dtype is torch.float16
    assert len(made.axes) == features.dim() - 1
    # A tenth of full scale has a hundredth of its power.
    assert features[1].float().mean().item() == pytest.approx(-4.605, abs=0.01)


def test_the_model_of_the_docs_takes_any_axes(plugins):
    torch = pytest.importorskip("torch")
    loaded(plugins, "add_model.md", "models", "linear_fusion")
    from modalens.models import build

    shapes = {"audio": {"mel": 8, "time": 5}, "video": {"time": 4, "channel": 6}, "sensor": {"channel": 3}}
    model = build("linear_fusion", shapes, 3, {"size": 4})
    features = {name: torch.randn(2, *shape.values()) for name, shape in shapes.items()}
    model.loss(features, torch.tensor([0, 2]))["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_balancing_of_the_docs_slows_one_modality_down(plugins):
    torch = pytest.importorskip("torch")
    loaded(plugins, "add_balancing.md", "balancing", "slow_modality")
    from modalens.balancing import apply_balancing
    from modalens.models import build
    from modalens.training.ensemble import Ensemble

    shapes = {"audio": {"mel": 16, "time": 40}, "video": {"time": 4, "channel": 6}}
    learner = apply_balancing(build("late_fusion", shapes, 3, {}), {"slow_modality": {"modality": "audio"}})
    ensemble = Ensemble([learner])
    features = {name: torch.randn(1, 2, *shape.values()) for name, shape in shapes.items()}
    scales = learner.step_scales(ensemble, ensemble.terms(features, torch.tensor([[0, 2]])))
    assert scales
    assert all(".audio." in name for name in scales)
    assert all(scale.tolist() == pytest.approx([0.1]) for scale in scales.values())


def test_the_measure_of_the_docs_finds_what_changed(plugins):
    rows = [
        ("m", "c1", 0, "", "audio,video", "A"),
        ("m", "c2", 0, "", "audio,video", "B"),
        ("m", "c1", 0, "zero@fusion", "audio", "A"),
        ("m", "c2", 0, "zero@fusion", "audio", "C"),
    ]
    predictions = pd.DataFrame(rows, columns=["model", "clip_id", "seed", "replacement", "coalition", "predicted"])
    measure = loaded(plugins, "add_measure.md", "measures", "agreement")()
    table = measure(predictions)
    assert table[["replacement", "coalition", "agreement"]].to_numpy().tolist() == [["zero@fusion", "audio", 0.5]]
    assert measure.headline(table) == {"agreement/zero@fusion/audio": 0.5}


def test_the_data_set_of_the_docs_gives_a_manifest(plugins, tmp_path):
    maker = loaded(plugins, "add_dataset.md", "datasets", "json_lines")
    rows = [
        {"id": "a", "path": "a.mp4", "speaker": "s1", "mood": "happy"},
        {"id": "b", "path": "b.mp4", "speaker": "s2"},
        {"id": "c", "path": "c.mp4", "speaker": "s2", "mood": "sad"},
    ]
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)))
    from modalens.curation import manifest

    data = maker(["mood"], file=str(tmp_path / "clips.jsonl"))
    table = data.manifest()
    manifest.check(table, ["mood"])
    assert table["mood"].tolist() == ["happy", "", "sad"]
    assert table["source"].tolist() == [str(tmp_path / f"{name}.mp4") for name in "abc"]


def test_the_modality_of_the_docs_reads_a_cell(plugins):
    maker = loaded(plugins, "add_modality.md", "modalities", "sensor")
    made = maker(size=2)
    (read, options), *_ = made.attempts()
    row, _ = read("0.5 -1 7", *options)
    assert row.tolist() == [0.5, -1.0]
    assert made.blank().tolist() == [0.0, 0.0]
    noise = made.noise(np.random.default_rng(0))
    assert (noise.shape, noise.dtype) == (row.shape, row.dtype)
    assert made.show(row) == "0.50 -1.00"
    assert registry.load("encoders", "readings").input == made.form


def test_workers_decode_by_the_plugin_file_of_the_docs(plugins):
    from modalens.media.worker_pool import map_clips

    made = loaded(plugins, "add_modality.md", "modalities", "sensor")(size=2)
    (read, options), *_ = made.attempts()
    tasks = [("a", ("1 2", *options)), ("b", ("none", *options))]
    found = dict(map_clips(read, tasks, workers=1, timeout_s=60, memory_mb=4096))
    assert found["a"].value[0].tolist() == [1.0, 2.0]
    assert found["b"].cause == "crashed"


@pytest.mark.parametrize(("page", "text"), all_blocks("bash"))
def test_every_command_of_the_docs_exists(page, text):
    del page
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            check_command(*words)
        for path in re.findall(r"(?<![\w/])(?:config|workflow|src|docs|tests|benchmarks|envs)/[\w./-]+", line):
            assert (ROOT / path).exists() or path == "config/my_study.yaml", path


def check_command(name, *words):
    given = [word.partition("=")[0] for word in words if word.startswith("-")]
    if "=" in name:  # PYTHONPATH=src python ...
        check_command(*words)
    elif name == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert next(word for word in words if "=" not in word) in targets
    elif name == "snakemake":
        options = importlib.import_module("snakemake.cli").get_argument_parser()._option_string_actions
        assert set(given) <= set(options)
    elif name == "modalens":
        folder = "stages" if words[0] in program.STAGES else "commands"
        assert words[0] in (*program.STAGES, *program.COMMANDS)
        parser = cli.parser(importlib.import_module(f"modalens.{folder}.{words[0]}"))
        assert set(given) <= set(parser._option_string_actions)
        parser.parse_args(words[1:])
    elif name in ("python", "python3") and words[:2] == ("-m", "modalens"):
        check_command("modalens", *words[2:])
    else:
        assert name in (".", "cp", "python", "pip", "git", "cd"), name


@pytest.mark.parametrize("kind", ["balancing", "datasets", "encoders", "fusions", "measures", "models"])
def test_the_readme_names_every_plugin(kind):
    told = (ROOT / "README.md").read_text(encoding="utf-8").split("## What is inside")[1]
    # `given` reads features of one's own, which the table has in words.
    assert {name for name in registry.names(kind) if f"`{name}`" not in told} - {"given"} == set()


@pytest.mark.parametrize("page", [*TOP_LEVEL, ROOT / "config/README.md", ROOT / "benchmarks/README.md"], ids=str)
def test_links_of_the_repositorys_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_architecture_shows_every_room_in_the_order_of_the_import_rule():
    rooms = {path.name for path in (ROOT / "src" / "modalens").iterdir() if path.is_dir() and path.name[0] != "_"}
    page, picture = (DOCS / "architecture.md").read_text(), (DOCS / "images" / "rooms.svg").read_text()
    ruled = [room for row in ORDER for room in row if room != "__main__"]
    assert rooms | {"api"} == set(ruled)
    assert re.findall(r"\w+", "".join(re.findall(r"^> (.*)$", page, re.M))) == ruled
    # From the top down, and in a row from left to right.
    assert re.findall(r'font-size="13"[^>]*>(\w+)<', picture) == ruled
    assert {room for room in rooms if f"`{room}/`" not in page} == set()


def reference():
    spec = importlib.util.spec_from_file_location("docs_reference", DOCS / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_keys_in_the_config_readme_are_those_of_the_schema():
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    assert reference().with_keys(text) == text, "run: PYTHONPATH=src python docs/reference.py"


def test_what_a_docstring_says_of_its_options_is_told_apart():
    text = "Reads files.\n\nfile, name: of a clip: all of it. size:\npixels; 0 is all. Done: never.\n\nSource: nobody."
    rest, found = reference()._told(text, ["file", "name", "size", "other"])
    assert rest == "Reads files.\n\nSource: nobody."
    both = "Of a clip: all of it."
    assert found == {"file": both, "name": both, "size": "Pixels; 0 is all. Done: never."}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


LOADS = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*\bhref=["']?(?:https?:)?//"""
)
SHEET_LOADS = re.compile(r"""(?:url\(|@import )\s*["']?(?:https?:)?//""")


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(site):
    for pattern, kind in ((LOADS, "*.html"), (SHEET_LOADS, "*.css")):
        found = [path.name for path in site.rglob(kind) if pattern.search(path.read_text(encoding="utf-8"))]
        assert not found, kind
    # The theme fetches a library where a page has a diagram in its own syntax: pictures are files here.
    assert not [page.name for page in site.rglob("*.html") if 'class="mermaid"' in page.read_text(encoding="utf-8")]


@pytest.mark.slow
def test_the_reference_has_every_key_plugin_and_command(site):
    config, plugins, commands = (
        (site / "reference" / f"{name}.html").read_text(encoding="utf-8") for name in ("config", "plugins", "commands")
    )
    for key, *_ in reference().config_keys():
        assert f"<code>{key}</code>" in config or f">{key}<a" in config, key
    for kind in registry.KINDS:
        for name in registry.names(kind):
            assert f">{name}<a" in plugins, name
    for name in (*program.STAGES, *program.COMMANDS):
        assert f">modalens {name}<a" in commands, name
