"""A CSV as people have it: from a path or URL, any usual separator and encoding -> a table of numbered rows."""

import csv
import io
import logging
import time
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from pathlib import Path
from urllib import request
from urllib.error import HTTPError

import pandas as pd

from modalens.utils import csv_chunks
from modalens.utils.errors import UserError
from modalens.utils.secrets import redacted
from modalens.utils.suggest import nearest
from modalens.utils.words import counted

log = logging.getLogger("modalens")

SEPARATORS = (",", ";", "\t")
LARGEST = 256 * 2**20  # bytes of a CSV from a URL
USUAL_CELL, LONGEST_CELL = 2**17, 2**24  # characters
LONGEST = 120.0  # seconds for it
# Only these: a redirect to a file or to ftp is not followed.
HANDLERS: tuple[type[request.BaseHandler], ...] = (
    request.ProxyHandler,
    request.HTTPHandler,
    request.HTTPSHandler,
    request.HTTPRedirectHandler,
    request.HTTPDefaultErrorHandler,
    request.HTTPErrorProcessor,
)


def is_url(location: str) -> bool:
    return "://" in location


def read(location: str) -> pd.DataFrame:
    """One row a row that is not blank: text without blanks at its ends; the index is the line number."""
    content = download(location) if is_url(location) else _local(location)
    encoding = _encoding(content, location)
    # A quote that nobody closes must not take the rest of the list for one cell.
    csv.field_size_limit(LONGEST_CELL if content.count(b'"') % 2 == 0 else USUAL_CELL)
    with _opened(content, encoding) as lines:
        header_line = next((line for line in lines if line.strip()), "")
    if not header_line:
        raise UserError(f"{location} is empty")
    # The header tells the separator: names rarely hold one, cells often do.
    separator = max(SEPARATORS, key=lambda candidate: len(next(csv.reader([header_line], delimiter=candidate))))
    with _opened(content, encoding) as lines:
        rows = _rows(lines, separator, location)
        columns = _header([cell.strip() for cell in next(rows)[1]], location)
        # By number: several columns may be without a name.
        found = [csv_chunks.stripped(part) for part in csv_chunks.gathered(rows, range(len(columns)))]
    if not any(map(len, found)):
        raise UserError(f"{location} has a header and no rows")
    return pd.concat(found).set_axis(columns, axis=1)


def _rows(lines: Iterable[str], separator: str, location: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells: the header, then rows as wide as it; few of them are blank."""
    reader = csv.reader(lines, delimiter=separator)
    width = -1
    try:
        for cells in reader:
            if len(cells) != width:
                if not any(cell.strip() for cell in cells):
                    continue
                if width < 0:
                    width = len(cells)
                elif any(cell.strip() for cell in cells[width:]):
                    raise UserError(
                        f"{location}, line {reader.line_num}: {counted(len(cells), 'cell')} under "
                        f"{counted(width, 'column')}; "
                        "put quotes round a cell that holds the separator"
                    )
                cells = cells[:width] + [""] * (width - len(cells))
            yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{location}, line {reader.line_num}: no readable CSV ({error})") from error


def _opened(content: bytes, encoding: str) -> io.TextIOWrapper:
    """Lines of any end, decoded as they are read: a text in memory takes up to four bytes a letter."""
    return io.TextIOWrapper(io.BytesIO(content), encoding, errors="replace", newline=None)


def decoded(content: bytes, location: str) -> str:
    """Text of UTF-8 with or without a byte-order mark, UTF-16 with one, else Latin-1, which is said."""
    return content.decode(_encoding(content, location), errors="replace")


def download(url: str) -> bytes:
    """Body of an http or https URL, up to LARGEST bytes and LONGEST seconds."""
    if not url.lower().startswith(("http://", "https://")):
        raise UserError(f"{url}: only http and https addresses are read")
    opener = request.OpenerDirector()
    for handler in HANDLERS:
        opener.add_handler(handler())
    deadline = time.monotonic() + LONGEST
    body = bytearray()
    try:
        with opener.open(url, timeout=30) as response:
            while part := response.read1(2**20):
                body += part
                if len(body) > LARGEST:
                    raise UserError(f"{url} is larger than {LARGEST // 2**20} MiB; download it and give its path")
                if time.monotonic() > deadline:
                    raise UserError(f"{url} took longer than {LONGEST:.0f} s; download it and give its path")
    except (HTTPException, OSError, ValueError) as error:
        raise UserError(f"{url} cannot be read: {_one_line(error)}") from error
    return bytes(body)


def column(name: str, present: Iterable[str], location: str) -> str:
    """`name` if it is there. Raises UserError with the nearest name and those that are there."""
    present = list(present)
    if name in present:
        return name
    near = nearest(name, present, str.lower)
    hint = near and f"{near} "
    raise UserError(f"{location} has no column {name!r}; {hint}there are: {', '.join(present)}")


def _local(location: str) -> bytes:
    try:
        return Path(location).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{location} is not there; the path counts from {Path.cwd()}") from None
    except OSError as error:
        raise UserError(f"{location} cannot be read: {error.strerror}") from error


def _encoding(content: bytes, location: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in content:
        raise UserError(f"{location} is no text file; a CSV is wanted")
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        log.warning("%s is not UTF-8 (line %d): read as Latin-1; save it as UTF-8 if names look wrong", location, line)
        return "latin-1"
    return "utf-8-sig"


def _header(names: list[str], location: str) -> list[str]:
    for name in names:
        if name and names.count(name) > 1:
            raise UserError(f"{location} has {names.count(name)} columns called {name!r}")
    return names


def _one_line(error: Exception) -> str:
    reason = str(error) if isinstance(error, HTTPError) else str(getattr(error, "reason", error))
    return " ".join(str(redacted(reason)).split()) or type(error).__name__
