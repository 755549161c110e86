"""`python -m modalens STAGE --options`: any stage or command by its name."""

import ast
import runpy
import sys
from difflib import get_close_matches
from pathlib import Path


def commands() -> dict[str, str]:
    """Modules that have a command line, and the first line of what they say of themselves."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        text = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in text:
            found[path.stem] = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return found


def main() -> None:
    known = commands()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in known:
        sys.argv = [f"modalens {name}", *sys.argv[2:]]
        runpy.run_module(f"modalens.{name}", run_name="__main__")
    elif name in ("", "-h", "--help"):
        print("usage: python -m modalens COMMAND --help\n")
        print("\n".join(f"{name:14} {words}" for name, words in known.items()))
    else:
        near = get_close_matches(name, known, n=1)
        sys.exit(f"modalens: no command {name!r}; {f'did you mean {near[0]!r}?' if near else ', '.join(known)}")


if __name__ == "__main__":
    main()
