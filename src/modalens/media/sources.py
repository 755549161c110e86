"""Where clips come from: what a data set's `fetch` is given and gives back.

Light on purpose: the manifest stage imports the data sets, and yt-dlp takes a second to import.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ADDRESS = re.compile(r"youtube:|[A-Za-z][A-Za-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True)
class DownloadOptions:
    """max_height, prefer_codec: of the video. max_bytes, timeout_s: of one clip. socket_timeout_s: of one response.

    retries: further attempts after a transient failure, with exponential backoff from backoff_s and jitter.
    sleep_s: between the starts of two clips, for modalens.media.rate_limit. cookies: a file in Netscape format, never
    written to. private_addresses: whether this machine and its own network are asked, too. proxy: "" is the system's
    own setting; env:NAME and file:PATH say where an address with a password is.
    """

    max_height: int = 480
    prefer_codec: str = "h264"
    max_bytes: int = 500_000_000
    timeout_s: float = 300.0
    socket_timeout_s: float = 20.0
    retries: int = 2
    backoff_s: float = 2.0
    sleep_s: float = 2.0
    cookies: str = ""
    proxy: str = ""
    private_addresses: bool = True


@dataclass(frozen=True)
class Fetched:
    """path: the media file. start_s, end_s: the requested window, counted from the file's first time stamp.

    metadata: title, description, tags, categories, uploader, where the source tells them.
    """

    path: Path
    start_s: float | None
    end_s: float | None
    metadata: dict[str, Any] = field(default_factory=dict)


def is_address(source: str) -> bool:
    """Whether a source is asked for over a network, or would be if its scheme were one that is fetched."""
    return bool(ADDRESS.match(source))


def scratch(destination: Path) -> Path:
    """The folder beside a media file where it is made; whoever ends a download from outside removes it."""
    return destination.parent / f".{destination.name}.part"
