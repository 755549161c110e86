"""The nearest known name to a misspelt one: the one "did you mean"."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str], fold: Callable[[str], str] = str) -> str:
    """ "did you mean 'late_fusion'?", or "" where no known name is near. fold: what is compared, as str.lower."""
    by_key = {fold(name): name for name in known}
    near = get_close_matches(fold(word), by_key, n=1)
    return f"did you mean {by_key[near[0]]!r}?" if near else ""


def suggest(word: str, known: Iterable[str]) -> str:
    """ "did you mean 'late_fusion'?", else "known: ..." with all there are."""
    names = list(known)
    return nearest(word, names) or f"known: {', '.join(names) or 'none'}"
