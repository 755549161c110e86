"""Failure causes of clips: one table, with the messages of yt-dlp, ffmpeg and the system that mean each of them.

A permanent cause is never retried; a transient one is on the next run, and only then. The first row of the table
whose pattern is found in a message names its cause, so the order of the rows decides between several that fit.
"""

import re
import warnings
from dataclasses import dataclass

from modalens.utils.secrets import redacted


def one_line(text: object, length: int = 300) -> str:
    """Words of others, as they are published: a proxy's password may be among them."""
    return " ".join(str(redacted(str(text))).split())[:length]


class ClipError(Exception):
    """This clip cannot be used. cause: a name of CAUSES; detail: one line in the words of whoever failed."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = one_line(detail)


class ClipNote(UserWarning):
    """What a clip that can be used is to be flagged with. cause: a name of CAUSES; detail: one line.

    Readers warn of it (`warnings.warn`); a worker collects the warnings, so that the stage can write them down.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause, self.detail = cause, one_line(detail)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return ClipNote, (self.cause, self.detail)


def note(cause: str, detail: str) -> None:
    """Flag the clip that is being read."""
    warnings.warn(ClipNote(cause, detail), stacklevel=3)


@dataclass(frozen=True)
class Cause:
    """name: the word of the status tables. sentence: for the reader of a report, about one clip.

    permanent: never tried again. stops_after: so many clips in a row with this cause stop the stage (0: never).
    patterns: regular expressions, searched in a message without regard to case; an apostrophe is written `.`, since
    YouTube sends a typographic one.
    """

    name: str
    sentence: str
    permanent: bool
    stops_after: int = 0
    patterns: tuple[str, ...] = ()


CAUSES = (
    Cause(
        "disk_full",
        "The disk was full.",
        permanent=False,
        stops_after=1,
        patterns=(r"No space left on device", r"Disk quota exceeded", r"\[Errno (28|122)\]"),
    ),
    Cause(
        "bot_wall",
        "The site asked for a CAPTCHA (bot check).",
        permanent=False,
        stops_after=1,
        patterns=(r"confirm you.?re not a bot", r"requiring a captcha", r"anti-bot challenge", r"unusual traffic"),
    ),
    Cause(
        "rate_limit",
        "The site limited the rate of requests.",
        permanent=False,
        stops_after=3,
        patterns=(r"HTTP Error 429", r"Too Many Requests", r"rate.?limited", r"isn.t available, try again later"),
    ),
    Cause(
        "private",
        "Private; only invited accounts may watch it.",
        permanent=True,
        patterns=(
            r"private video", r"video is private", r"HTTP Error 401", r"401 Unauthorized",
            r"only available for registered users",
        ),
    ),
    Cause(
        "age",
        "Age-restricted; needs a signed-in account.",
        permanent=True,
        patterns=(r"confirm your age", r"age.?restricted", r"inappropriate for some users", r"rated TV-"),
    ),
    Cause(
        "members_only",
        "Only for members or buyers, or protected by DRM.",
        permanent=True,
        patterns=(
            r"channel.?s members", r"Join this channel", r"members-only", r"requires payment", r"purchase this video",
            r"Music Premium members", r"HTTP Error 402", r"DRM.protected", r"DRM protection",
        ),
    ),
    Cause(
        "region",
        "Not available in the country of the request.",
        permanent=True,
        patterns=(
            r"(not|n.t) (made this video )?available (in|from) your (country|location|region)",
            r"in your country (on|due to|because)", r"geo.?(restrict|block)", r"HTTP Error 451",
        ),
    ),
    Cause(
        "live",
        "A live stream that had not begun or was still running.",
        permanent=False,
        patterns=(
            r"live event (will begin|has ended)", r"Premieres in", r"Premiere will begin", r"is not live",
            r"is (currently live|yet to come)",
            r"live stream recording is not available", r"is still being processed", r"We.re processing this video",
        ),
    ),
    Cause(
        "network",
        "The connection or the server failed.",
        permanent=False,
        stops_after=20,
        patterns=(
            r"name resolution", r"Name or service not known", r"nodename nor servname", r"Failed to resolve",
            r"getaddrinfo", r"\[Errno -[235]\]",
            r"timed? ?out", r"Connection (refused|reset|aborted|(was )?closed)", r"(Network|Host) is unreachable",
            r"No route to host", r"Remote end closed", r"RemoteDisconnected", r"IncompleteRead", r"Broken pipe",
            r"bytes read, \d+ more expected", r"content too short", r"Stream ends prematurely", r"partial file",
            r"HTTP Error (408|5\d\d)", r"Server returned 5XX", r"redirect loop", r"Exceeded \d+ redirects",
            r"Proxy ?Error", r"Unable to connect to proxy", r"Tunnel connection failed", r"\bSSL", r"\bTLS\b",
            r"CERTIFICATE_VERIFY_FAILED", r"violation of protocol", r"Input/output error",
            r"Did not get any data blocks", r"downloaded file is empty", r"fragment .*not (found|available)",
        ),
    ),
    Cause(
        "no_format",
        "No format that yt-dlp could download; a newer yt-dlp may.",
        permanent=False,
        patterns=(
            r"Requested format is not available", r"Only images are available", r"not available on this app",
            r"page needs to be reloaded", r"extract any player response",
        ),
    ),
    Cause(
        "removed",
        "No longer on the site.",
        permanent=True,
        patterns=(
            r"removed by the (uploader|user)", r"has been removed", r"account.* (terminated|closed)",
            r"closed their YouTube account", r"no longer available", r"copyright (claim|grounds|infringement)",
            r"blocked it", r"violat(ing|es|ion)", r"Video (is )?unavailable", r"video (is not|isn.t) available",
            r"content (is not|isn.t) available", r"video (does not|doesn.t) exist", r"Incomplete YouTube ID",
            r"HTTP Error (404|410)", r"404 Not Found", r"410 Gone",
        ),
    ),
    Cause(
        "forbidden",
        "The server refused access (HTTP 403) without a reason.",
        permanent=False,
        stops_after=30,
        patterns=(r"HTTP Error 403", r"403 Forbidden", r"access denied", r"Sign in", r"login required"),
    ),
    Cause(
        "too_large",
        "Larger than download.max_bytes.",
        permanent=True,
        patterns=(r"larger than max-filesize", r"File too large", r"\[Errno 27\]"),
    ),
    Cause(
        "bad_url",
        "Not a valid address.",
        permanent=True,
        patterns=(
            r"is not a valid URL", r"Invalid URL", r"unknown url type", r"looks truncated", r"url scheme",
            r"No connection adapters were found", r"Redirection to url .* is not allowed", r"Invalid IPv6",
            r"is the private address",
        ),
    ),
    Cause(
        "not_media",
        "Not a media file.",
        permanent=True,
        patterns=(r"Unsupported URL", r"No video formats found", r"There.?s no video in", r"no media"),
    ),
    Cause(
        "too_short",
        "The media ends before the requested window.",
        permanent=True,
        patterns=(r"Output file is empty", r"Output file does not contain any stream"),
    ),
    Cause("damaged", "Damaged: it does not decode.", permanent=True, patterns=(r"Invalid data", r"moov atom")),
    Cause("missing", "File not found.", permanent=False),
    Cause("no_audio", "No audio track.", permanent=True),
    Cause("no_video", "No video track.", permanent=True),
    Cause("muted", "The audio is silent.", permanent=True),
    Cause("still_picture", "The video is a still picture.", permanent=True),
    Cause("cut_short", "The media ends before its container says; the detail gives both durations.", permanent=True),
    Cause("window_cut", "Longer than the study's window: what comes after it is not used.", permanent=True),
    Cause("late_start", "The recording begins between key frames; the video starts at the first one.", permanent=True),
    Cause("gaps", "Time stamps leave gaps in the audio; they are silence.", permanent=True),
    Cause(
        "lost_in_mix",
        "The mono mix loses the audio: its channels are out of phase, or only a low-frequency channel is loud.",
        permanent=True,
    ),
    Cause("absent", "Nothing is named for this modality.", permanent=True),
    Cause("too_many_pixels", "More pixels than are decoded; a small file may claim any number.", permanent=True),
    Cause("first_frame", "An animation; its first frame is read.", permanent=True),
    Cause("tiny", "A picture of a few pixels.", permanent=True),
    Cause("cut_text", "Longer than `max_bytes`; the rest is not read.", permanent=True),
    Cause("undecoded", "Characters that could not be read when the text was written down.", permanent=True),
    Cause("no_face", "No face was found in the video.", permanent=True),
    Cause("lost_face", "Frames without a face; its place is interpolated between the others'.", permanent=True),
    Cause("filled", "Values that are no numbers are interpolated.", permanent=True),
    Cause("unsupported", "Unsupported codec, or encrypted.", permanent=True),
    Cause("timeout", "Took longer than the time limit.", permanent=False),
    Cause("crashed", "The decoder crashed.", permanent=False),
    Cause("memory", "Exceeded the memory limit.", permanent=False),
    Cause("not_tried", "Not tried: the stage stopped before.", permanent=False),
    Cause("unknown", "Unknown failure; the detail holds the message.", permanent=False),
)  # fmt: skip

BY_NAME = {cause.name: cause for cause in CAUSES}
_PATTERNS = [(cause.name, re.compile("|".join(cause.patterns), re.I)) for cause in CAUSES if cause.patterns]
_NAMES = re.compile(r"^(ERROR: )?\[[\w:+.-]+\] \S+: |\bhttps?://\S+|\bhost=\S+")
_ADVICE = re.compile(
    r"\s*(Use --cookies-from-browser|It is recommended to use|; please report this issue|\(caused by).*", re.S
)


def classify(message: str) -> str:
    """The name of the cause that a message means; "unknown" when no pattern is found in it."""
    # Ids and addresses are anybody's words: a video called `TLS-private` says nothing of its cause.
    words = _NAMES.sub(" ", message)
    return next((name for name, pattern in _PATTERNS if pattern.search(words)), "unknown")


def tidy(message: str) -> str:
    """A message without its `ERROR:`, its colours, and yt-dlp's advice to people at a terminal."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", message)
    return _ADVICE.sub("", re.sub(r"^(ERROR:\s*)+", "", plain)).strip()


def is_retryable(status: str, cause: str) -> bool:
    """Whether a clip with this row of an earlier status table is tried on the next run."""
    return status != "ok" and not (cause in BY_NAME and BY_NAME[cause].permanent)
