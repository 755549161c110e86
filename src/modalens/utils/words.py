"""Numbers and names in sentences."""

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 clip`, `2 clips`, `1,200 clips`. plural: where it is not the noun and an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def half_letter(text: str) -> str:
    """The first half of a surrogate pair that stands in a text without its other half, "" where there is none: JSON and
    YAML can write it, and readers that escape bytes make it, but no file in UTF-8 and no Arrow column can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.object[error.start]
    return ""


def listed(names: Sequence[str]) -> str:
    """`audio`, `audio and video`, `audio, text and video`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
