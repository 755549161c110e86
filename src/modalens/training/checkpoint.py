"""Checkpoints: from where an interrupted training resumes."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from modalens.utils import torch_file
from modalens.utils.errors import UserError

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKPOINTS = 10.0


@dataclass
class Checkpoint:
    """key: digest of all that decides the result; another one is not resumed."""

    path: Path
    key: str
    _saved: float = field(default_factory=time.monotonic)

    def read(self) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        try:
            content = torch_file.read(self.path)
            if content.get("key") == self.key:
                return content
            log.info("%s belongs to other settings, data or code: training from the start", self.path)
        except UserError as error:
            log.warning("%s: training from the start", str(error).partition(";")[0])
        return None

    def write(self, content: dict[str, Any]) -> None:
        torch_file.write(self.path, {"key": self.key, **content})
        self._saved = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._saved >= SECONDS_BETWEEN_CHECKPOINTS


def random_state() -> dict[str, Any]:
    """Of torch's global generators: what dropout draws from."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    torch.cuda.set_rng_state_all(state["cuda"])
    if "mps" in state:
        torch.mps.set_rng_state(state["mps"])
