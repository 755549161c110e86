"""Which room may import which: downwards only, and nobody another room's private modules."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "modalens"
# From the top down; those of one line do not import each other either.
ORDER = [
    ("__main__",),
    ("stages", "commands"),
    ("api",),
    ("reporting",),
    ("search",),
    ("evaluation",),
    ("training",),
    ("balancing",),
    ("models",),
    ("curation",),
    ("fusions",),
    ("encoders",),
    ("datasets",),
    ("measures",),
    ("config",),
    ("modalities",),
    ("media",),
    ("tracking",),
    ("stats",),
    ("plugins",),
    ("terminal",),
    ("utils",),
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Parts of each name that a module imports from modalens: ("stats", "metrics", "Array")."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "modalens":
            for alias in node.names:
                yield (*node.module.split(".")[1:], alias.name)
        elif isinstance(node, ast.Import):
            yield from (
                tuple(alias.name.split(".")[1:]) for alias in node.names if alias.name.partition(".")[0] == "modalens"
            )


def breaches(package: Path) -> list[str]:
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        room = place.parts[0].removesuffix(".py")
        if place.name == "__init__.py" and len(place.parts) == 1:
            continue  # re-exports the public functions
        for name in imports(path):
            if not name or name[0] not in RANK:
                continue
            told = f"{place} imports {'.'.join(name)}"
            if name[0] != room and RANK[name[0]] <= RANK[room]:
                found.append(f"{told}: not downwards")
            if room == name[0] == "stages":
                found.append(f"{told}: a stage imports a stage")
            if name[0] != room and any(part.startswith("_") and part != "__version__" for part in name[1:]):
                found.append(f"{told}: private to its room")
    return found


def test_every_import_points_down_and_no_room_reads_another_ones_private_modules():
    assert breaches(PACKAGE) == []


def test_every_room_is_in_the_order_and_nothing_lies_outside_a_room():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(RANK)
    assert {path.name for path in PACKAGE.glob("*.py")} <= {"__init__.py", "__main__.py"}


def test_every_planted_import_that_breaks_the_rule_is_found(tmp_path):
    planted = {
        "stats/metrics.py": ("from modalens.reporting import summary", "reporting.summary: not downwards"),
        "utils/files.py": ("import modalens.media.download", "media.download: not downwards"),
        "models/late_fusion.py": ("def f():\n    from modalens.training import loop", "training.loop: not downwards"),
        "stages/train.py": ("from modalens.stages import evaluate", "stages.evaluate: a stage imports a stage"),
        "commands/freeze.py": ("from modalens.stages.report import main", "stages.report.main: not downwards"),
        "reporting/page.py": (
            "from modalens.measures._predictions import Coalitions",
            "measures._predictions.Coalitions: private to its room",
        ),
    }
    for place, (line, _) in planted.items():
        path = tmp_path / "modalens" / place
        path.parent.mkdir(parents=True)
        path.write_text(f"{(PACKAGE / place).read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    wanted = {f"{place} imports {told}" for place, (_, told) in planted.items()}
    found = breaches(tmp_path / "modalens")
    assert set(found) == wanted
    assert len(found) == len(wanted)


def test_no_room_but_that_of_modalities_knows_one_by_name():
    """Of what a study is made of: data sets and encoders may name what they are of, media what streams a file has."""
    free = {"modalities", "datasets", "encoders", "media"}
    # The status table of clips has a column for each kind of stream that a media file may have.
    known = {("stages/clips.py", "audio"), ("stages/clips.py", "video")}
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] not in free:
            texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            found |= {(place.as_posix(), name) for name in ("audio", "video", "frames", "waveforms") if name in texts}
    assert found - known == set()
