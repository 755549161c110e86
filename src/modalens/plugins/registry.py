"""A file's name is its public name: `late_fusion` is class LateFusion in models/late_fusion.py."""

import importlib
import pkgutil
from difflib import get_close_matches
from functools import cache
from typing import Any

from modalens.utils.errors import UserError

KINDS = ("datasets", "encoders", "models", "fusions", "balancing", "measures")


@cache
def names(kind: str) -> list[str]:
    """Public names of a kind, sorted. Modules that begin with an underscore are shared parts, not members."""
    package = importlib.import_module(f"modalens.{kind}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def load(kind: str, name: str) -> Any:
    """Class `CamelCase` of modalens/<kind>/<camel_case>.py. Raises UserError with the nearest name."""
    known = names(kind)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise UserError(f"no {kind.removesuffix('s')} is called {name!r}; {hint}")
    module = importlib.import_module(f"modalens.{kind}.{name}")
    return getattr(module, "".join(part.capitalize() for part in name.split("_")))
