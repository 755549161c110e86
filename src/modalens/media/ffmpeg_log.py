"""What FFmpeg logs while it opens, reads and decodes: the only place where some damage is ever told.

A demuxer that loses its way says so in the log and goes on with whatever comes next; so do decoders that draw over what
is missing. PyAV passes none of it on unless it is asked to.
"""

import re
import threading
from dataclasses import dataclass
from typing import Any

import av

from modalens.media.failure_causes import one_line

# FFmpeg's words where a file breaks off. That is no damage to what came before; what is missing is measured.
BROKEN_OFF = re.compile(
    r"partial file|ended prematurely|end of file|\bEOF\b|truncat|read next track in single-track", re.IGNORECASE
)
ESTIMATED = "Estimating duration from bitrate"

av.logging.set_level(av.logging.WARNING)
# Else a message that comes twice is told once, and the second reading of a file looks better than the first.
av.logging.set_skip_repeated(False)
# Threads of codecs have no list of their own.
_of_codecs: list[Any] = av.logging.Capture(local=False).__enter__()
_own = threading.local()


@dataclass(frozen=True)
class Message:
    """speaker: name of the demuxer, parser or codec. error: whether FFmpeg logged it as one, else as a warning."""

    speaker: str
    text: str
    error: bool


def messages() -> list[Message]:
    """What FFmpeg has logged in this thread, and in those of codecs, since the last call."""
    lists = [_of_codecs, _listen()]
    if not any(lists):
        return []
    found = [
        Message(speaker, one_line(text), level <= av.logging.ERROR)
        for logged in lists
        for level, speaker, text in logged
    ]
    for logged in lists:
        logged.clear()
    return found


def _listen() -> list[Any]:
    if not hasattr(_own, "logged"):
        _own.logged = av.logging.Capture(local=True).__enter__()
    logged: list[Any] = _own.logged
    return logged
