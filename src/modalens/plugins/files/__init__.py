"""Plugin files of a study as modules: `modalens.plugins.files.my_encoder` is the my_encoder.py that a config names.

A name of their own, so that they hide no installed module and that worker processes, which import by name, find them.
"""

import os
from pathlib import Path

ENVIRONMENT = "MODALENS_PLUGINS"  # paths, separated as in PATH, for the processes that the workflow starts


def paths() -> list[Path]:
    return [Path(path) for path in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if path]


__path__ = list(dict.fromkeys(str(path.parent) for path in paths()))
