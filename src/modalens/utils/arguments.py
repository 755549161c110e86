"""Arguments of the library's functions, whose types nobody has checked: one line for what cannot be."""

import math
import numbers
import os
from collections.abc import Iterable, Mapping
from typing import Any

from modalens.utils.errors import UserError
from modalens.utils.words import half_letter


def whole(where: str, value: Any, least: int) -> int:
    """A whole number, NumPy's too. Raises UserError."""
    if not hasattr(value, "__index__") or isinstance(value, bool) or value.__index__() < least:
        raise UserError(f"{where}: expected a whole number from {least}, got {_shown(value)}")
    return int(value.__index__())


def share(where: str, value: Any) -> float:
    """A number between 0 and 1, without both ends. Raises UserError."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 < value < 1:
        raise UserError(f"{where}: expected a number between 0 and 1, got {_shown(value)}")
    return float(value)


def positive(where: str, value: Any) -> float:
    """A finite number above 0. Raises UserError."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise UserError(f"{where}: expected a number above 0, got {_shown(value)}")
    return float(value)


def text(where: str, value: Any) -> str:
    if not isinstance(value, str) or half_letter(value):
        raise UserError(
            f"{where}: expected a text{' that UTF-8 can hold' * isinstance(value, str)}, got {_shown(value)}"
        )
    return value


def texts(where: str, value: Any) -> list[str]:
    """A text, or several, which a mapping has as its keys. Raises UserError."""
    several: list[Any] = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else [None]
    if not all(isinstance(one, str) for one in several):
        raise UserError(f"{where}: expected a text or several, got {_shown(value)}")
    return several


def mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: expected a mapping by modality, got {type(value).__name__}")
    return value


def path(where: str, value: Any) -> str:
    if not isinstance(value, str | os.PathLike):
        raise UserError(f"{where}: expected a path, got {type(value).__name__}")
    return os.fspath(value)


def _shown(value: Any) -> str:
    return " ".join(repr(value).split())[:80]
