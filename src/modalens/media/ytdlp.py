"""All use of yt-dlp: look an address up, then download it or a segment. The user's own yt-dlp settings are not read.

The Python interface reads no configuration file and no netrc; plugins are switched off; no postprocessor, no command
and no external downloader but ffmpeg is ever named.
"""

import contextlib
import functools
import importlib
import io
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from yt_dlp import YoutubeDL
from yt_dlp.networking.exceptions import HTTPError
from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor
from yt_dlp.utils import YoutubeDLError, download_range_func

from modalens.media.failure_causes import tidy
from modalens.utils import secrets

NAME = "media"
LIVE = ("is_live", "is_upcoming")
LOG_BYTES = 20_000
COMPLAINT = re.compile(r"\[(http|tcp|tls|in#|mov|matroska)|Error|.*(empty|No space)")


class Failed(Exception):
    """message: what yt-dlp, ffmpeg or the server said. retry_after: seconds, where the server asked for a pause."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message, self.retry_after = message, retry_after


@functools.cache
def ffmpeg() -> str | None:
    """The ffmpeg that cuts segments and merges video and audio: imageio-ffmpeg's, else the system's."""
    with contextlib.suppress(ImportError, RuntimeError):
        return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    return shutil.which("ffmpeg")


class YtDlpSession:
    """One address, one folder. `with YtDlpSession(folder, options) as site`; options: DownloadOptions."""

    def __init__(self, folder: Path, options: Any) -> None:
        os.environ["YTDLP_NO_PLUGINS"] = "1"
        self.folder, self._said = folder, _Said()
        self._ydl: Any = YoutubeDL(self._params(options), auto_init=True)

    def __enter__(self) -> "YtDlpSession":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self._ydl.close()

    def look_up(self, url: str) -> dict[str, Any]:
        """What the site says of the one video at `url`, with the format chosen. Raises Failed."""
        with self._failing():
            info = self._ydl.extract_info(url, download=False)
        if info.get("_type") == "playlist":
            entries = [entry for entry in info.get("entries") or [] if entry]
            if len(entries) != 1:
                raise Failed(f"no media: expected one video at this address, got {len(entries)}")
            info = entries[0]
        if info.get("live_status") in LIVE:
            raise Failed("this video is currently live" if info["live_status"] == "is_live" else "it is yet to come")
        return dict(info)

    def fetch(self, info: dict[str, Any], start_s: float | None, end_s: float | None) -> tuple[Path, str]:
        """(file, what ffmpeg said), of a part or, with None and None, the whole. Raises Failed."""
        # What an earlier attempt left is neither finished by yt-dlp nor taken for finished.
        for path in self.folder.glob(f"{NAME}.*"):
            path.unlink()
        self._ydl.params.pop("download_ranges", None)
        if start_s is not None or end_s is not None:
            part = (start_s or 0.0, math.inf if end_s is None else end_s)
            self._ydl.params["download_ranges"] = download_range_func([], [part])
        log = self.folder / "ffmpeg.log"
        with self._failing(log), _stderr_in(log):
            self._ydl.process_ie_result(dict(info), download=True)
        found = [path for path in self.folder.glob(f"{NAME}.*") if not path.name.endswith((".part", ".ytdl"))]
        if len(found) != 1:
            raise Failed(f"{self._said.last()} (no file came of it)")
        return found[0], _tail(log)

    @contextlib.contextmanager
    def _failing(self, log: Path | None = None) -> Iterator[None]:
        try:
            yield
        except YoutubeDLError as error:
            message = tidy(str(error))
            # Of a failure in ffmpeg, yt-dlp knows the number only.
            if log is not None and "exited with code" in message:
                message = f"{_tail(log)} {message}"
            raise Failed(message, _retry_after(error)) from error

    def _params(self, options: Any) -> dict[str, Any]:
        # yt-dlp's own command line does the same: its ffmpeg downloader does not see the parameter.
        FFmpegPostProcessor._ffmpeg_location.set(ffmpeg())
        height, codec = options.max_height, options.prefer_codec
        params = {
            # Within the height with audio; else the smallest there is; else video or audio alone.
            "format": f"bv*[height<=?{height}]+ba/b[height<=?{height}]/wv*+ba/w/wv*/ba",
            "format_sort": [f"vcodec:{codec}", "acodec:aac"] if codec else [],
            "merge_output_format": "mp4/mkv",
            "outtmpl": {"default": str(self.folder).replace("%", "%%") + f"/{NAME}.%(ext)s"},
            "noplaylist": True,
            "playlist_items": "1:2",
            "max_filesize": options.max_bytes,
            "progress_hooks": [functools.partial(_cap, limit=options.max_bytes)],
            "socket_timeout": options.socket_timeout_s,
            # download.py retries, and knows how much time is left.
            "retries": 0,
            "extractor_retries": 0,
            "fragment_retries": options.retries,
            "skip_unavailable_fragments": False,
            "ffmpeg_location": ffmpeg(),
            "external_downloader_args": {
                "ffmpeg_i": ["-rw_timeout", str(round(options.socket_timeout_s * 1e6))],
                # Times stay those of the source, so that the wanted part can be found whatever the container.
                "ffmpeg_o": ["-copyts", "-start_at_zero", "-fs", str(options.max_bytes)],
            },
            "hls_prefer_native": not options.private_addresses,
            "logger": self._said,
            "noprogress": True,
            "updatetime": False,
            "color": "no_color",
        }
        if options.cookies:
            # yt-dlp writes cookies back where it read them: neither the user's own file, by many workers at once, nor
            # a copy that a killed worker would leave.
            params["cookiefile"] = io.StringIO(Path(options.cookies).read_text(encoding="utf-8"))
        if options.proxy:
            params["proxy"] = secrets.resolved(options.proxy, "download.proxy")
        return params


class _Said:
    """yt-dlp's logger. It gives up on some files with a remark and no exception."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def debug(self, message: str) -> None:
        self._lines = [*self._lines[-20:], message.strip()]

    info = warning = error = debug

    def last(self) -> str:
        return next((line for line in reversed(self._lines) if line), "")


def _cap(progress: dict[str, Any], limit: int) -> None:
    """Progress hook: a server that does not say how much it sends may send for ever."""
    if (progress.get("downloaded_bytes") or 0) > limit:
        raise Failed(f"File is larger than max-filesize ({limit} bytes)")


@contextlib.contextmanager
def _stderr_in(path: Path) -> Iterator[None]:
    """What child processes print, into a file."""
    kept = os.dup(2)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _tail(log: Path) -> str:
    """The last lines of ffmpeg that are a complaint."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_BYTES))
        lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
        wanted = [line for line in lines if COMPLAINT.match(line)]
        return " ".join(re.sub(r" @ 0x[0-9a-f]+", "", line) for line in wanted[-6:])
    return ""


def _retry_after(error: BaseException) -> float | None:
    """Seconds that a Retry-After header below this error asks for."""
    below: Any = error
    for _ in range(10):
        if isinstance(below, HTTPError):
            text = below.response.headers.get("Retry-After") or ""
            if text.isdigit():
                return float(text)
            with contextlib.suppress(ValueError):
                return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
            return None
        info = getattr(below, "exc_info", None)
        below = getattr(below, "cause", None) or (info[1] if info else None) or below.__cause__ or below.__context__
        if not isinstance(below, BaseException):
            return None
    return None
