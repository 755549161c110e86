"""`--use-conda` with a stand-in for conda: each stage finds all that it imports in the environment of its rule."""

import sys
from pathlib import Path

import pytest
import yaml
from _checkout import ROOT, Checkout, copied

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1800)]
STAND_IN = Path(__file__).with_name("conda")


class WithConda(Checkout):
    def _environment(self) -> dict[str, str]:
        ours = super()._environment()
        base = self.root / "conda"
        return {**ours, "PATH": f"{base / 'command'}:{ours['PATH']}", "CONDA_STAND_IN": str(base)}


def test_a_study_runs_in_the_environments_that_its_rules_name(tmp_path_factory):
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config |= {"name": "with_conda", "tasks": ["seen"], "shards": 1, "seeds": [0], "models": {"late_fusion": {}}}
    config["dataset"] |= {"clips": 60}
    config["training"] = {"epochs": 1}
    config["relevance"] = {"bootstrap": 100}
    study = WithConda(copied(tmp_path_factory, config), config)
    command = study.root / "conda" / "command" / "conda"
    command.parent.mkdir(parents=True)
    # As conda would be: a command that has its own Python, whatever the activated environment's is.
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    command.chmod(0o755)
    said = study.snakemake("--use-conda").stdout
    for name in ("media", "tables", "torch", "track"):
        assert f"envs/{name}.yaml created" in said
    assert (study.results / "report" / "index.html").exists()
    assert (study.results / "track" / "synced.json").exists()
    environments = list((study.root / ".snakemake" / "conda").glob("*/pyvenv.cfg"))
    assert len(environments) == 4
    for environment in environments:
        site = next(environment.parent.glob("lib/python3*/site-packages"))
        # Else they would find the packages of the checkout's own environment.
        assert not (site / "snakemake").exists()
