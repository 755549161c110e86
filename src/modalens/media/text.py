"""A text -> its UTF-8 bytes, of one length for all clips."""

import unicodedata

import numpy as np
from numpy.typing import NDArray

from modalens.media.failure_causes import ClipError, note
from modalens.utils.words import counted

UNDECODED = "\N{REPLACEMENT CHARACTER}"


def read_text(cell: str, max_bytes: int) -> tuple[NDArray[np.uint8], str]:
    """((max_bytes,) UTF-8 and then zeros, name of the decoder). Raises ClipError for a text without a character.

    Unicode is composed (NFC): the same word is the same bytes. What is too long ends with a whole character; that, and
    characters that whoever wrote the cell could not decode, is noted.
    """
    # Zero ends a row; other control characters but line ends and tabs are no text.
    kept = "".join(
        letter for letter in cell if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cs", "Cn")
    )
    text = unicodedata.normalize("NFC", kept).strip()
    if not text:
        raise ClipError("absent", "the text is empty")
    if UNDECODED in text:
        note("undecoded", counted(text.count(UNDECODED), "character"))
    content = text.encode()
    if len(content) > max_bytes:
        note("cut_text", f"{len(content)} bytes, of which {max_bytes} are read")
        content = content[:max_bytes].decode(errors="ignore").encode()
    row = np.zeros(max_bytes, np.uint8)
    row[: len(content)] = np.frombuffer(content, np.uint8)
    return row, "utf-8"
