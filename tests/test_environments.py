"""Each rule's conda environment holds what its stage imports, and a stage imports no more than that."""

import functools
import re
import subprocess
import sys
from importlib import metadata

import pytest
import yaml
from _checkout import ROOT
from packaging.requirements import Requirement

from modalens.modalities import load_modality
from modalens.plugins import introspection, registry

RULES = "".join(path.read_text() for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
# What only the whole project needs: `config` and `manifest` run in the Python of Snakemake itself.
BLOCKER = """
import importlib, importlib.machinery, sys

BLOCKED = set(sys.argv[1].split(","))
usual = importlib.machinery.PathFinder

class Finder:
    find_distributions = usual.find_distributions  # packages ask for their own version

    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in BLOCKED else usual.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(usual)] = Finder
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def stages() -> dict[str, str]:
    """Stage -> environment of its rule."""
    found = {}
    for rule in re.split(r"^ *rule(?: \w+)?:$", RULES, flags=re.M):
        environment, stage = re.search(r"envs/(\w+)\.yaml", rule), re.search(r"-m modalens (\w+)", rule)
        if environment and stage:
            # The first: what a stage with a rule in two environments imports as it starts is there in both.
            found.setdefault(stage[1], environment[1])
        elif stage and "entry_of['environment']" in rule:
            # Importing every modality needs no more than the least of their environments.
            found[stage[1]] = "media"
        elif stage and "encoder_environment" in rule:
            # Importing every encoder needs no more than the least of their environments.
            found[stage[1]] = "torch"
    return found


def of_encoders() -> dict[str, str]:
    """Encoder -> environment in which its jobs run."""
    return {name: introspection.attribute("encoders", name, "environment") for name in registry.names("encoders")}


def pinned(environment: str) -> list[str]:
    content = yaml.safe_load((ROOT / "envs" / f"{environment}.yaml").read_text())
    return [line for part in content["dependencies"] if isinstance(part, dict) for line in part["pip"]]


def installed(environment: str) -> set[str]:
    """Distributions of an environment: those that its file names, and all that they need."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in pinned(environment)]
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        try:
            waiting += [Requirement(line) for line in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue  # of another system
    return found


@functools.cache
def absent(environment: str) -> set[str]:
    """Top-level modules of this Python that the environment lacks."""
    there = installed(environment)
    return {
        module
        for module, owners in metadata.packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners} & there
    }


def imports(environment: str, *modules: str) -> str:
    """What is said, "" if all goes well, when modules are imported with nothing but the environment's packages."""
    blocked = ",".join(sorted(absent(environment)))
    command = [sys.executable, "-c", BLOCKER, blocked, *modules]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT / "src")})
    return done.stderr


def test_every_stage_has_an_environment():
    faces = load_modality("video", {"region": "face"}).environment
    named = set(stages().values()) | set(of_encoders().values()) | {faces}
    assert named == {path.stem for path in (ROOT / "envs").glob("*.yaml")}
    assert stages()["features"] == stages()["replacements"] == "torch"
    assert stages()["decode"] == "media"
    assert {stages()[name] for name in ("splits", "duplicates", "relevance", "report")} == {"tables"}


@pytest.mark.parametrize("package", ["av", "decord", "torch", "yt_dlp"])
def test_an_environment_of_tables_has_no_decoder_and_no_torch(package):
    assert package in absent("tables")
    assert imports("tables", package)


def test_libraries_of_pretrained_networks_are_where_encoders_run_them_and_nowhere_else():
    libraries = {"open_clip", "timm", "transformers", "safetensors"}
    assert libraries <= absent("torch")
    assert not libraries & absent("encoders")
    assert {name: of_encoders()[name] for name in ("log_mel", "resnet50", "text_network")} == {
        "log_mel": "torch",
        "resnet50": "torch",
        "text_network": "encoders",
    }


# Plugins that a stage loads by name, which its own imports do not show.
PLUGINS = {
    "decode": ("modalities",),
    "clips": ("datasets",),
    "features": ("encoders",),
    "replacements": ("encoders", "modalities"),
    "fingerprints": ("modalities",),
    "duplicates": ("modalities",),
    "search": ("models", "fusions", "balancing"),
    "train": ("models", "fusions", "balancing"),
    "evaluate": ("models", "fusions"),
    "relevance": ("measures",),
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", sorted(stages()))
def test_a_stage_imports_nothing_that_its_environment_lacks(stage):
    folders = [ROOT / "src" / "modalens" / kind for kind in PLUGINS.get(stage, ())]
    plugins = [f"modalens.{folder.name}.{path.stem}" for folder in folders for path in sorted(folder.glob("[!_]*.py"))]
    assert imports(stages()[stage], "modalens.__main__", f"modalens.stages.{stage}", *plugins) == ""
