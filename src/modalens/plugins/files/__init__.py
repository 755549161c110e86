"""Plugin files of a study as modules: `modalens.plugins.files.my_encoder` is the my_encoder.py that a config names.

A name of their own, so that they hide no installed module and that worker processes, which import by name, find them.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

ENVIRONMENT = "MODALENS_PLUGINS"  # paths, separated as in PATH, for the processes that the workflow starts


def paths() -> list[Path]:
    return [Path(path) for path in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if path]


def use(paths: Iterable[Path]) -> None:
    """Make these files the modules, in this process and in those that it starts."""
    paths = list(paths)
    os.environ[ENVIRONMENT] = os.pathsep.join(map(str, paths))
    globals()["__path__"] = list(dict.fromkeys(str(path.parent) for path in paths))
    for module in [name for name in sys.modules if name.startswith(f"{__name__}.")]:
        del sys.modules[module]  # of another study, perhaps of the same name


__path__ = list(dict.fromkeys(str(path.parent) for path in paths()))
