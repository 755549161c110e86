"""All files of tensors: plain data with its digest, read back without running code from it."""

import io
from pathlib import Path
from typing import Any

import torch

from modalens.utils import checksums


def write(path: str | Path, content: dict[str, Any]) -> None:
    # By way of memory: equal content gives equal bytes (a zip made under a file's name holds that name), and a full
    # disk is an OSError, where torch's own writer aborts with a message about a file's position.
    whole = io.BytesIO()
    torch.save(content, whole)
    with checksums.sealed(path) as hidden:
        hidden.write_bytes(whole.getbuffer())


def read(path: str | Path) -> dict[str, Any]:
    """On the CPU. Raises UserError for what is not as it was written."""
    checksums.check(path)
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        raise checksums.damaged(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(content, dict):
        raise checksums.damaged(path, f"expected a mapping, got {type(content).__name__}")
    return content
