"""What `pip install` brings: a wheel in an environment of its own, what it holds and what it needs."""

import functools
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from importlib import metadata

import pytest
from _checkout import ROOT

import modalens
from modalens import __main__ as command
from modalens.utils.errors import UserError
from modalens.utils.extras import EXTRAS, not_installed

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]


# Reads the metadata of all that is installed.
OWNERS = functools.cache(metadata.packages_distributions)


def names(requirements):
    return {re.match(r"[\w.-]+", line)[0].lower() for line in requirements}


def brought_by(extra):
    """Packages of an extra, with those of the extras that it names."""
    found = set()
    for line in OPTIONAL[extra]:
        own = re.fullmatch(r"modalens\[(.+)\]", line)
        found |= set().union(*(brought_by(name) for name in own[1].split(","))) if own else names([line])
    return found


def test_the_measures_need_four_packages():
    assert names(PROJECT["dependencies"]) == {"numpy", "scipy", "pandas", "pyarrow"}


def test_all_is_every_extra():
    assert brought_by("all") == set().union(*(brought_by(extra) for extra in OPTIONAL if extra != "all"))


def test_the_lock_pins_every_extra():
    lock = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert names(PROJECT["dependencies"]) | brought_by("all") <= lock


@pytest.mark.parametrize("module", EXTRAS)
def test_the_extra_that_a_missing_module_asks_for_brings_it(module):
    installed = {name.lower().replace("_", "-") for name in OWNERS().get(module, [])}
    if not installed:
        pytest.skip(f"{module} is not installed on this platform")
    bring = {extra for extra, lines in OPTIONAL.items() if installed & names(lines)}
    assert bring == {EXTRAS[module]} or (EXTRAS[module] == "all" and len(bring) > 1)
    error = not_installed(ModuleNotFoundError(f"No module named '{module}'", name=f"{module}.inner"), "features")
    assert isinstance(error, UserError)
    assert str(error).endswith(f"pip install '.[{EXTRAS[module]}]'")


def test_a_module_that_no_extra_brings_is_a_mistake_of_ours():
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        not_installed(ModuleNotFoundError("No module named 'nowhere'", name="nowhere"), "features")


def test_a_command_that_lacks_a_package_says_which_extra(monkeypatch):
    def fails(_):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(command.importlib, "import_module", fails)
    monkeypatch.setattr(sys, "argv", ["modalens", "train"])
    with pytest.raises(SystemExit, match=r"^modalens: train needs torch, .*, pip install '\.\[torch\]'$"):
        command.main()


class Installed:
    """The wheel in a fresh environment; the checkout is neither on the path nor the working directory."""

    def __init__(self, folder):
        self.folder = folder
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        kept = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        self.environment = {name: value for name, value in os.environ.items() if name not in kept}
        uv = [sys.executable, "-m", "uv"]
        self.run(*uv, "build", "--quiet", "--wheel", "--out-dir", folder / "wheel", ROOT)
        (self.wheel,) = (folder / "wheel").glob("*.whl")
        self.run(*uv, "venv", "--quiet", "--python", sys.executable, folder / "venv")
        install = [*uv, "pip", "install", "--quiet", "--python", self.bin / "python", self.wheel]
        self.run(*install, "--constraint", ROOT / "requirements.lock")

    def run(self, *words, check=True):
        done = subprocess.run(
            [str(word) for word in words], cwd=self.folder, env=self.environment, text=True, capture_output=True
        )
        assert done.returncode == 0 or not check, done.stderr
        return done

    def python(self, code):
        return self.run(self.bin / "python", "-c", textwrap.dedent(code)).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return Installed(tmp_path_factory.mktemp("installed"))


@pytest.mark.slow
def test_an_installed_copy_measures_without_torch(installed):
    said = installed.python("""
        import importlib.util
        import numpy as np
        import modalens
        print(modalens.__version__)
        print("site-packages" in modalens.__file__)
        print([name for name in ("torch", "altair", "yaml", "h5py", "sklearn") if importlib.util.find_spec(name)])
        label = np.arange(20) % 2
        table = modalens.evaluate(
            lambda x: np.hstack([-x["video"], x["video"]]),
            {"audio": np.zeros((20, 1)), "video": label[:, None] - 0.5},
            label,
            replacements="mean@input",
        )
        table.to_csv("predictions.csv", index=False)
        print(modalens.shapley("predictions.csv", value_functions=["accuracy"])["value"].tolist())
        print(modalens.leave_one_out("predictions.csv", metrics=["accuracy"])["drop"].tolist())
        for missing in (lambda: modalens.report(table, "page.html"), lambda: modalens.load_model("model.pt")):
            try:
                missing()
            except modalens.UserError as error:
                print(error)
    """).splitlines()
    assert said[:5] == [modalens.__version__, "True", "[]", "[0.0, 0.5]", "[0.0, 0.5]"]
    for line, name, extra in ((said[5], "report", "report"), (said[6], "load_model", "torch")):
        assert re.fullmatch(
            rf"{name} needs \w+, which is not installed: in a checkout of modalens, pip install '\.\[{extra}\]'", line
        )


@pytest.mark.slow
def test_an_installed_copy_has_the_command(installed):
    modalens = installed.bin / "modalens"
    assert installed.run(modalens, "--help").stdout == command.usage()
    done = installed.run(modalens, "train", "--help", check=False)
    assert done.returncode == 1
    assert re.fullmatch(
        r"modalens: train needs \w+, which is not installed: in a checkout of modalens, pip install '\.\[\w+\]'\n",
        done.stderr,
    )
    table = "clip_id,label,predicted,coalition\n" + "".join(
        f"{clip},{label},{label},a\n{clip},{label},x,\n" for clip, label in (("1", "x"), ("2", "y"), ("3", "x"))
    )
    (installed.folder / "m.csv").write_text(table)
    words = ["relevance", "--measure", "leave_one_out", "--predictions", "m.csv", "--output", "o.csv", "--record", "r"]
    done = installed.run(modalens, *words, check=False)
    expected = "modalens: predictions: expected a column log_probability, or p_<class> of each class"
    assert done.stderr.strip().endswith(expected)


@pytest.mark.slow
def test_an_installed_copy_holds_schema_template_and_types(installed):
    said = installed.python("""
        from importlib.resources import files
        package = files("modalens")
        print("additionalProperties" in (package / "config" / "schema.yaml").read_text(encoding="utf-8"))
        print("<!doctype html>" in (package / "reporting" / "templates" / "report.html.j2").read_text(encoding="utf-8"))
        print((package / "py.typed").is_file())
    """)
    assert said.split() == ["True"] * 3
    tracked = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "src/modalens"], text=True, capture_output=True, check=True
    ).stdout.splitlines()
    listed = installed.run(installed.bin / "python", "-m", "zipfile", "-l", installed.wheel).stdout
    assert all(f"{path.removeprefix('src/')} " in listed for path in tracked if (ROOT / path).exists())
