"""`modalens COMMAND --options` and `python -m modalens COMMAND --options`: any stage or command by its name."""

import ast
import importlib
import os
import sys
from pathlib import Path

from modalens import __version__
from modalens.utils import cli
from modalens.utils.extras import not_installed
from modalens.utils.secrets import redacted
from modalens.utils.suggest import suggest

# In the order of the flow; then what a user calls beside it.
STAGES = (
    "manifest", "clips", "decode", "features", "replacements", "fingerprints", "splits", "duplicates",
    "search", "train", "evaluate", "leaderboard", "relevance", "report", "track",
)  # fmt: skip
COMMANDS = ("init", "check", "config", "counts", "summary", "compare", "freeze", "av_mnist")


def usage() -> str:
    lines = ["usage: modalens COMMAND --help", ""]
    for title, folder, names in (
        ("stages, in the order in which the workflow runs them", "stages", STAGES),
        ("commands", "commands", COMMANDS),
    ):
        lines.append(f"{title}:")
        lines += [f"  {name:13} {_first_line(folder, name)}" for name in names]
        lines.append("")
    return "\n".join(lines)


def _first_line(folder: str, name: str) -> str:
    """What a module says of itself, read without importing it: torch takes seconds."""
    source = (Path(__file__).parent / folder / f"{name}.py").read_text(encoding="utf-8")
    line = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return line.removeprefix(f"Stage `{name}`: ")


def main() -> None:
    name, words = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("-h", "--help"):
        print(usage(), end="")
        return
    if name == "--version":
        print(f"modalens {__version__}")
        return
    folder = "stages" if name in STAGES else "commands"
    if name not in (*STAGES, *COMMANDS):
        sys.exit(f"modalens: no command {name!r}; {suggest(name, [*STAGES, *COMMANDS])}")
    # Read when torch is loaded. Threads that spin while they wait for each other take the cores from whom they wait for
    # where others use these cores too: a training on two threads took five times the processor time and six times as
    # long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        cli.run(importlib.import_module(f"modalens.{folder}.{name}"), words)
    except ModuleNotFoundError as error:
        sys.exit(f"modalens: {not_installed(error, name)}")
    except BrokenPipeError:
        # `modalens config | head`: who reads has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        from modalens.plugins import blame  # here: every other call does without

        if not (line := blame.blamed(error)):
            raise
        sys.exit(f"modalens: {redacted(line)}")


if __name__ == "__main__":
    main()
