"""Messages as yt-dlp 2026.10, ffmpeg 9 and the system print them, and as people report them in public threads."""

import pytest

from modalens.media import failure_causes

LOGIN = (
    " Use --cookies-from-browser or --cookies for the authentication. See  https://github.com/yt-dlp/yt-dlp/wiki/FAQ"
    "#how-do-i-pass-cookies-to-yt-dlp  for how to manually pass cookies."
)
# yt-dlp 11981, 12045, mcp-youtube 6; yt-dlp/extractor/youtube/_video.py for the captcha.
MESSAGES = [
    ("bot_wall", f"ERROR: [youtube] tpUr8xVxj-w: Sign in to confirm you’re not a bot.{LOGIN}"),
    ("bot_wall", "Sign in to confirm you're not a bot"),
    ("bot_wall", "[youtube] abc: Video unavailable. YouTube is requiring a captcha challenge before playback"),
    (
        "bot_wall",
        "[generic] Got HTTP Error 403 caused by Cloudflare anti-bot challenge; try again with  --extractor-args",
    ),
    # yt-dlp 11426, 14921, video2commons 288
    (
        "rate_limit",
        "ERROR: [youtube] 8NxoMpXM2oI: Video unavailable. This content isn't available, try again later. The current "
        "session has been rate-limited by YouTube for up to an hour. It is recommended to use `-t sleep` to add a "
        "delay between video requests",
    ),
    ("rate_limit", "[YouTube] This content isn’t available, try again later."),
    ("rate_limit", "ERROR: Unable to download video subtitles for 'en': HTTP Error 429: Too Many Requests"),
    ("rate_limit", "[http] HTTP error 429 Too Many Requests Server returned 429 Too Many Requests"),
    # audiobox-aesthetics 14 (AudioSet), 3DYoga90 4, video2dataset 72
    ("private", f"ERROR: [youtube] DwSenUWgz3w: Private video. Sign in if you've been granted access.{LOGIN}"),
    ("private", "Video unavailable. This video is private"),
    ("private", "This video is private. If the owner of this video has granted you access, please sign in."),
    ("private", "This video is only available for registered users. Use --username and --password"),
    ("private", "[generic] x: Unable to download webpage: HTTP Error 401: Unauthorized"),
    # yt-dlp 11086, youtube-dl 31058 and 32673, Hitomi-Downloader 4486
    ("age", f"ERROR: [youtube] jBtLD2zxTlY: Sign in to confirm your age. This video may be inappropriate.{LOGIN}"),
    ("age", "WARNING: unable to download video info webpage: HTTP Error 410: Gone\nERROR: Sign in to confirm your age"),
    ("age", "Sign in to confirm your age. The video you have requested has been rated TV-14"),
    # youtube-dl 32765 and 29928, yt-dlp 14949, MenuTube 14
    ("members_only", "ERROR: [youtube] h7aSM88pUv8: Join this channel to get access to members-only content"),
    ("members_only", "This video is available to this channel's members on level: Assistant (or any higher level)."),
    ("members_only", "Join this channel from your computer or Android app to get access to members-only content"),
    ("members_only", "This video requires payment to watch."),
    ("members_only", "[generic] x: This video is DRM protected"),
    # youtube-dl 942, 3521, tg-ytdlp-bot 176; GeoRestrictedError
    ("region", "ERROR: YouTube said: The uploader has not made this video available in your country."),
    (
        "region",
        "[youtube] x: The uploader has not made this video available in your country\nThis video is available in "
        "Japan.\nYou might want to use a VPN or a proxy server (with --proxy) to workaround.",
    ),
    (
        "region",
        "Video unavailable. This video contains content from Paramount Global (CBS), who has blocked it in your "
        "country on copyright grounds",
    ),
    ("region", "Unfortunately, this video is not available in your country because it could contain music"),
    ("region", "This video is not available from your location due to geo restriction"),
    # VIDI 1, 3DYoga90 4, audiobox-aesthetics 14
    ("removed", "ERROR: Video unavailable\nThis video has been removed by the uploader."),
    (
        "removed",
        "This video is no longer available because the YouTube account associated has been terminated.",
    ),
    ("removed", "Video unavailable. This video is no longer available because the uploader has closed their account."),
    ("removed", "This video has been removed for violating YouTube's policy on hate speech."),
    ("removed", "Video unavailable. This video is no longer available due to a copyright claim by Example"),
    ("removed", "Video unavailable. This video contains content from X, who has blocked it on copyright grounds"),
    ("removed", "ERROR: [youtube] 2tTIdgl5rlI: Video unavailable"),
    ("removed", "ERROR: [youtube] This video is not available"),
    ("removed", "[generic] clip: Unable to download webpage: HTTP Error 404: Not Found (caused by <HTTPError 404>)"),
    ("removed", "unable to download video data: HTTP Error 410: Gone"),
    ("removed", "[http] HTTP error 404 Not Found Error opening input: Server returned 404 Not Found"),
    # youtube-dl 28345 and 7586, tubearchivist 961, hitster 25
    ("network", "Unable to download API page: <urlopen error [Errno -3] Temporary failure in name resolution>"),
    ("network", "ERROR: Unable to download webpage: <urlopen error [Errno -3] Try again>"),
    ("network", "<urllib3.connection.HTTPSConnection object at 0x72>: Failed to resolve 'www.youtube.com' ([Errno -3]"),
    ("network", "<urlopen error [Errno -2] Name or service not known>"),
    ("network", "Unable to download API page: [Errno 101] Network is unreachable"),
    ("network", "unable to download video data: The read operation timed out"),
    ("network", "HTTPSConnectionPool(host='r3.googlevideo.com', port=443): Read timed out. (read timeout=20.0)"),
    ("network", "[download] Got error: 52092 bytes read, 52092 more expected. Giving up after 0 retries"),
    ("network", "EOF occurred in violation of protocol (_ssl.c:1007)"),
    ("network", "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
    ("network", "('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))"),
    ("network", "HTTP Error 503: Service Unavailable"),
    ("network", "HTTP Error 301: Moved Permanently (redirect loop detected)"),
    ("network", "[http] Stream ends prematurely at 52092, should be 104184"),
    ("network", "ERROR: The downloaded file is empty"),
    # yt-dlp 15597 and 14525: YouTube refuses now and then what it just offered
    ("forbidden", "ERROR: unable to download video data: HTTP Error 403: Forbidden"),
    ("forbidden", "Error opening input files: Server returned 403 Forbidden (access denied) ffmpeg exited with code 8"),
    # yt-dlp 2990, ytdlnis 776
    ("disk_full", "ERROR: unable to write data: [Errno 28] No space left on device"),
    ("disk_full", "[Errno 122] Disk quota exceeded"),
    # yt-dlp 13256 and 12747, 10108, 17389
    ("no_format", "ERROR: [youtube] x: Requested format is not available. Use --list-formats for a list"),
    ("no_format", "The following content is not available on this app.. Watch on the latest version of YouTube."),
    ("no_format", "ERROR: [youtube] 4w500r-xfJM: The page needs to be reloaded.. The page needs to be reloaded."),
    # invidious 3155, NewPipe 5192
    ("live", "ERROR: [youtube] x: This live event will begin in 3 hours."),
    ("live", "Premieres in 2 days"),
    ("not_media", "ERROR: Unsupported URL: http://example.org/private-video/removed"),
    ("too_large", "[download] File is larger than max-filesize (1099511627776 bytes > 3000000 bytes). Aborting."),
    ("bad_url", "ERROR: [generic] '-abc' is not a valid URL"),
    ("unknown", "HTTP Error 418: I'm a teapot"),
    ("unknown", ""),
]


@pytest.mark.parametrize(("cause", "message"), MESSAGES)
def test_a_message_means_its_cause_also_without_the_advice(cause: str, message: str) -> None:
    assert failure_causes.classify(message) == cause
    assert failure_causes.classify(failure_causes.tidy(message)) == cause


@pytest.mark.parametrize("name", ["TLS-private", "bot_wall", "age-restricted", "members-only", "HTTP"])
def test_the_name_of_a_video_and_its_address_say_nothing(name: str) -> None:
    assert failure_causes.classify(f"[youtube] {name}: Video unavailable") == "removed"
    assert failure_causes.classify(f"Unsupported URL: http://private.video/{name}") == "not_media"


def test_every_cause_of_the_tables_is_known_once_and_has_a_sentence() -> None:
    wanted = (
        "removed private age region bot_wall rate_limit network disk_full not_media no_audio no_video too_short "
        "damaged still_picture muted missing timeout crashed memory unsupported too_large bad_url unknown"
    )
    assert set(wanted.split()) <= set(failure_causes.BY_NAME)
    assert len(failure_causes.BY_NAME) == len(failure_causes.CAUSES)
    assert all(cause.sentence.endswith(".") for cause in failure_causes.CAUSES)


def test_only_transient_causes_stop_the_stage() -> None:
    """What is stopped goes on in the next run, so the clip that stopped it must be tried again."""
    assert not [cause.name for cause in failure_causes.CAUSES if cause.stops_after and cause.permanent]


def test_permanent_failures_are_not_tried_again_and_transient_ones_are() -> None:
    assert not failure_causes.is_retryable("ok", "")
    assert not failure_causes.is_retryable("failed", "removed")
    assert failure_causes.is_retryable("failed", "network")
    assert failure_causes.is_retryable("failed", "a cause of a later version")
    assert failure_causes.is_retryable("not_tried", "bot_wall")


def test_a_detail_is_without_prefix_colour_and_advice() -> None:
    assert (
        failure_causes.tidy(f"\x1b[0;31mERROR:\x1b[0m [youtube] x: Private video.{LOGIN}")
        == "[youtube] x: Private video."
    )
