"""The fetch of files and addresses, as most data sets have it."""

from pathlib import Path

from modalens.media.sources import DownloadOptions, Fetched


def fetch(
    source: str, start_s: float | None, end_s: float | None, destination: Path, options: DownloadOptions
) -> Fetched:
    """A file on the disk where it lies, or an address downloaded to `destination` + a suffix. Raises ClipError."""
    from modalens.media.download import download

    return download(source, start_s, end_s, destination, options)
