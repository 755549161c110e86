"""Options from a config: one validator, of what a plugin's source tells and of what its class tells."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

TYPES = {"int": int, "float": (int, float), "str": str, "bool": bool, "dict": dict}
TYPES |= dict.fromkeys(("list", "tuple", "Sequence"), list)


@dataclass(frozen=True)
class Option:
    """type: the outer name of the annotation, "" where there is none that is checked. nullable: whether it is that or
    None."""

    name: str
    type: str = ""
    default: Any = None
    required: bool = False
    nullable: bool = False


def validate(known: Mapping[str, Option], given: Mapping[str, Any], where: str) -> None:
    """Raises UserError for an unknown option or a value of another type. where: what the line begins with."""
    for name, value in given.items():
        if name not in known:
            raise UserError(f"{where}: unknown option {name!r}; {suggest(name, sorted(known))}")
        expected = TYPES.get(known[name].type)
        if value is None and known[name].nullable:
            continue
        if expected and (not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool)):  # type: ignore[arg-type]
            raise UserError(f"{where}.{name}: expected {known[name].type}, got {json.dumps(value)}")
    for name, option in known.items():
        if option.required and name not in given:
            raise UserError(f"{where}: the option {name!r} is missing")


def resolve(maker: Callable[..., Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """All options of `maker`: the given value, else the default. Raises UserError as `validate`."""
    known = {
        name: Option(name, default=parameter.default, required=parameter.default is inspect.Parameter.empty)
        for name, parameter in parameters(maker).items()
    }
    validate(known, given, where)
    return {name: option.default for name, option in known.items() if not option.required} | dict(given)


def parameters(maker: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The options of a function or a class: keyword-only parameters. A constructor that takes `**options` has those of
    the class that it extends, too."""
    found: dict[str, inspect.Parameter] = {}
    for constructor in constructors(maker) if isinstance(maker, type) else (maker,):
        for name, parameter in inspect.signature(constructor).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY:
                found.setdefault(name, parameter)
    return found


def constructors(made: type) -> Iterator[Callable[..., Any]]:
    """The constructor of a class, then those that it hands `**options` on to."""
    for one in made.__mro__:
        if constructor := vars(one).get("__init__"):
            yield constructor
            kinds = [parameter.kind for parameter in inspect.signature(constructor).parameters.values()]
            if inspect.Parameter.VAR_KEYWORD not in kinds:
                return
