"""Numbers in sentences."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 clip`, `2 clips`, `1,200 clips`. plural: where it is not the noun and an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
