"""Numbers and names in sentences."""

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 clip`, `2 clips`, `1,200 clips`. plural: where it is not the noun and an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def listed(names: Sequence[str]) -> str:
    """`audio`, `audio and video`, `audio, text and video`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
