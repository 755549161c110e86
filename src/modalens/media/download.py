"""Download one clip, or find it on the disk: the requested segment only, a cause if that fails, never half a file.

Runs in a worker that can be killed (media/worker_pool.py); `download` keeps to its own limits all the same, so that
what it started is ended and what it wrote is cleaned up.
"""

import contextlib
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av

from modalens.media import failure_causes, private_addresses, ytdlp
from modalens.media.container import open_media, origin
from modalens.media.failure_causes import ClipError
from modalens.media.sources import DownloadOptions, Fetched, scratch
from modalens.utils import secrets
from modalens.utils.errors import UserError

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# Retried within one run; a rate limit only if the site says how long to wait.
PASSING = ("network", "rate_limit")
# A cut-off stream may end this many seconds before the wanted end without being called incomplete.
MISSING_S = 0.5
METADATA = ("title", "description", "tags", "categories", "uploader")


class _OutOfTime(BaseException):
    """Not an Exception: yt-dlp must not take it for a failure that it can work around."""


def check(options: DownloadOptions) -> None:
    """Raises UserError for what would make every clip fail. For the stage to call before the first one."""
    if options.cookies and not Path(options.cookies).is_file():
        raise UserError(f"not found: {options.cookies} (download.cookies: expected a file in Netscape format)")
    secrets.resolved(options.proxy, "download.proxy")
    if ytdlp.ffmpeg() is None:
        raise UserError("downloads need ffmpeg to cut segments; pip install imageio-ffmpeg")


def address(source: str) -> str | Path:
    """`youtube:<id>` and http(s) URLs -> URL; anything else -> path of a file. Raises ClipError bad_url, missing."""
    if source.startswith("youtube:"):
        video = source.removeprefix("youtube:")
        if not YOUTUBE_ID.fullmatch(video):
            raise ClipError("bad_url", f"expected a YouTube id (11 letters, digits, - or _), got {video!r}")
        return f"https://www.youtube.com/watch?v={video}"
    if re.match(r"https?:", source, re.IGNORECASE):
        with contextlib.suppress(ValueError):  # urlsplit: a port or an IPv6 address that is none
            parts = urlsplit(source)
            if parts.hostname and parts.port != 0 and not re.search(r"[\s\x00-\x1f\x7f]", source):
                return source
        raise ClipError("bad_url", f"expected an http(s) address, got {source!r}")
    with contextlib.suppress(OSError, ValueError):  # a name too long, a zero byte
        if Path(source).exists():
            return Path(source)
    if SCHEME.match(source):
        raise ClipError("bad_url", f"expected youtube:, http: or https:, got {source[:60]!r}")
    raise ClipError("missing", f"not found: {source[:200]}")


def download(
    source: str, start_s: float | None, end_s: float | None, destination: Path, options: DownloadOptions
) -> Fetched:
    """Fetch `source` to `destination` + a suffix; a file on the disk is used where it lies. In a main thread only.

    start_s, end_s: seconds of the source, None is its start or end. Raises ClipError with a cause of failure_causes.
    """
    where = address(source)
    if isinstance(where, Path):
        if not where.is_file():
            raise ClipError("not_media", f"expected a file: {source}")
        return Fetched(where, start_s, end_s)
    folder = scratch(destination)
    deadline = time.monotonic() + options.timeout_s
    try:
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        folder.mkdir(parents=True)
        with _limit(options.timeout_s), _guard(options):
            if not options.private_addresses:
                private_addresses.check(where)
            request = _Request(where, start_s, end_s, folder, options)
            return _place(_persistently(request, deadline), destination)
    except _OutOfTime:
        raise ClipError("timeout", f"not downloaded within {options.timeout_s:g} s") from None
    except (ClipError, MemoryError):
        raise
    except Exception as error:
        raise ClipError(failure_causes.classify(str(error)), f"{type(error).__name__}: {error}") from error
    finally:
        # Whatever goes wrong here must not hide why the download failed.
        shutil.rmtree(folder, ignore_errors=True)


def _guard(options: DownloadOptions) -> contextlib.AbstractContextManager[None]:
    if options.private_addresses:
        return contextlib.nullcontext()
    return private_addresses.refused(secrets.resolved(options.proxy, "download.proxy"))


@dataclass(frozen=True)
class _Request:
    url: str
    start_s: float | None
    end_s: float | None
    scratch: Path
    options: DownloadOptions


def _persistently(request: _Request, deadline: float) -> Fetched:
    """Try again after passing failures, as long as the next attempt can begin before the deadline."""
    pause = request.options.backoff_s
    for left in range(request.options.retries, -1, -1):
        try:
            return _attempt(request)
        except ytdlp.Failed as failure:
            error = ClipError(failure_causes.classify(failure.message), failure.message)
            asked = failure.retry_after
            wait = pause * random.uniform(0.5, 1.5) if asked is None else asked
            pause *= 2
            if not left or error.cause not in PASSING or (error.cause == "rate_limit" and asked is None):
                raise error from failure
            if time.monotonic() + wait >= deadline:
                raise ClipError(error.cause, f"{error.detail}; retry after {wait:.0f} s") from failure
        time.sleep(wait)
    raise AssertionError("unreachable")


def _attempt(request: _Request) -> Fetched:
    """Look the address up, fetch the segment, or the whole of a plain file whose server cannot cut it."""
    start_s, end_s = request.start_s, request.end_s
    with ytdlp.YtDlpSession(request.scratch, request.options) as site:
        info = site.look_up(request.url)
        duration = info.get("duration")
        if duration and start_s is not None and start_s >= duration:
            raise ClipError("too_short", f"expected a window from {start_s:g} s, the video ends at {duration:g} s")
        metadata = {key: info[key] for key in METADATA if info.get(key)}
        plain = bool(info.get("direct"))
        # ffmpeg resolves names by itself: of a page that anybody may have made, it is given no address to follow.
        unknown = not request.options.private_addresses and (plain or info.get("extractor_key") == "Generic")
        if not unknown and (start_s is not None or end_s is not None) and not (plain and ytdlp.ffmpeg() is None):
            try:
                path, said = site.fetch(info, start_s, end_s)
                return _cut(path, said, request, metadata)
            except ytdlp.Failed as failure:
                # A server without ranges, an index at the end of the file: the whole file tells more.
                if not plain or failure_causes.classify(failure.message) not in ("damaged", "unknown"):
                    raise
        path, _ = site.fetch(info, None, None)
        _size(path, request.options.max_bytes)
        return Fetched(path, start_s, end_s, metadata)


def _cut(path: Path, said: str, request: _Request, metadata: dict[str, Any]) -> Fetched:
    """Where the part lies in the file: it begins with the key frame before it, and keeps the times of the source."""
    _size(path, request.options.max_bytes)
    try:
        with open_media(path) as container:
            begins, lasts = origin(container), (container.duration or 0) / av.time_base
    except ClipError as error:
        raise ytdlp.Failed(f"{said} {error.detail}") from error
    wanted = request.end_s
    if wanted is not None and begins + lasts < wanted - MISSING_S and failure_causes.classify(said) == "network":
        raise ytdlp.Failed(f"{said} cut off at {begins + lasts:.1f} of {wanted:g} s")
    start_s = max(0.0, (request.start_s or 0.0) - begins)
    return Fetched(path, start_s, None if wanted is None else wanted - begins, metadata)


def _size(path: Path, limit: int) -> None:
    if path.stat().st_size >= limit:
        raise ClipError("too_large", f"more than {limit} bytes")


def _place(fetched: Fetched, destination: Path) -> Fetched:
    """The finished file under its own name."""
    with fetched.path.open("rb") as file:
        head = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        raise ClipError("network", "the server sent nothing")
    if head[:1] == b"<":
        raise ClipError("not_media", f"expected media, got text: {head[:80].decode(errors='replace')}")
    suffix = fetched.path.suffix if re.fullmatch(r"\.\w{1,5}", fetched.path.suffix) else ""
    path = destination.with_name(destination.name + suffix)
    fetched.path.replace(path)
    return replace(fetched, path=path)


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise _OutOfTime inside the block when its time is up, also out of a read that waits."""

    def ring(*_: object) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    # Again after a while, should something have held the first one back.
    signal.setitimer(signal.ITIMER_REAL, seconds, 5.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
