"""Options from a config file -> keyword arguments, with every default written out and a misspelt name refused."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from modalens.utils.errors import UserError


def resolve(maker: Callable[..., Any], options: dict[str, Any], where: str) -> dict[str, Any]:
    """All of maker's keyword-only parameters: the given value, else the default. where: what the error calls it."""
    known = {
        name: parameter.default
        for name, parameter in inspect.signature(maker).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
            raise UserError(f"{where} has no option {name!r}; {hint}")
    return known | options
