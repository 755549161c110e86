import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from modalens.plugins import registry
from modalens.tracking import records
from modalens.utils import cli, csv_tables, files
from modalens.utils.errors import UserError


def test_a_users_mistake_is_one_line_and_no_traceback(capsys):
    stage = ModuleType("modalens.stages.stage", "What it does.")

    def main(_):
        raise UserError("labels.csv: no column 'mood'")

    stage.main, stage.add_arguments = main, lambda _: None
    with pytest.raises(SystemExit) as caught:
        cli.run(stage, [])
    assert caught.value.code == "modalens: labels.csv: no column 'mood'"
    assert "Traceback" not in capsys.readouterr().err


def test_atomic_leaves_the_old_file_when_the_writer_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.atomic(path) as hidden:
        hidden.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_sweeps_what_a_killed_writer_left(tmp_path):
    (tmp_path / ".a.txt.abc.part").write_text("half")
    files.write_text(tmp_path / "a.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_write_if_changed_keeps_the_time_stamp_of_an_equal_file(tmp_path):
    path = tmp_path / "a.txt"
    assert files.write_if_changed(path, "x")
    stamp = path.stat().st_mtime_ns
    assert not files.write_if_changed(path, "x")
    assert path.stat().st_mtime_ns == stamp
    assert files.write_if_changed(path, "y")


def test_records_come_back_and_leave_out_what_is_no_number(tmp_path):
    run = records.Run({"task": "seen"}, {"lr": 0.1}, {"accuracy": 0.5, "f1": float("nan")}, [{"epoch": 0, "loss": 1.0}])
    records.write(tmp_path / "r.json", "train", [run])
    stage, (back,) = records.read(tmp_path / "r.json")
    assert stage == "train"
    assert back.metrics == {"accuracy": 0.5}
    assert (back.key, back.params, back.history) == (run.key, run.params, run.history)


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_file_of_a_kind_holds_the_class_of_its_name(kind):
    for name in registry.names(kind):
        assert isinstance(registry.load(kind, name), type)


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UserError, match="did you mean 'folder'"):
        registry.load("datasets", "foldre")


def test_the_version_and_a_closed_pipe(tmp_path):
    command = [sys.executable, "-m", "modalens"]
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    told = subprocess.run([*command, "--version"], env=environment, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"modalens \d+\.\d+\.\d+\S*\n", told)
    config = tmp_path / "study.yaml"
    config.write_text("name: x\ndataset: {name: known_answer}\ntasks: [seen]\n")
    line = f"set -o pipefail; {' '.join(command)} config --configfile {config} | head -1"
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize(("own", "waits"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_do_not_spin_while_they_wait_unless_the_user_says_so(own, waits):
    """OpenMP reads it once, when torch is loaded: it has to be set before."""
    code = (
        "import os, sys, modalens.__main__ as main\n"
        "assert 'torch' not in sys.modules\n"
        "main.importlib.import_module = lambda name: sys.exit(os.environ['OMP_WAIT_POLICY'])\n"
        "main.main()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"PYTHONPATH": str(Path(cli.__file__).parents[2])} | ({"OMP_WAIT_POLICY": own} if own else {})
    done = subprocess.run([sys.executable, "-c", code, "train"], env=environment, capture_output=True, text=True)
    assert done.stderr.strip() == waits


def test_no_cell_of_a_table_for_people_is_a_formula_and_no_number_changes():
    table = pd.DataFrame({"=label": ["=cmd|' /C calc'!A0", "-abc", "-1.5"], "drop": [-0.5, 1.0, -2.0]})
    table["mixed"] = ["@x", -3, None]
    found = csv_tables.readable(table)
    assert found["'=label"].tolist() == ["'=cmd|' /C calc'!A0", "'-abc", "-1.5"]
    assert found["drop"].tolist() == [-0.5, 1.0, -2.0]
    assert found["mixed"].tolist()[:2] == ["'@x", -3]
    assert table.columns[0] == "=label", "the table itself stays"
