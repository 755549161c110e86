"""Which weights a study fetches from the net when it runs."""

import contextlib
from pathlib import Path
from typing import Any

from modalens.plugins import registry
from modalens.plugins.options import resolve
from modalens.utils.errors import UserError

UNTRAINED = "untrained"  # weights that are drawn


def fetched(config: dict[str, Any]) -> dict[str, str]:
    """A line for each modality of a resolved config whose encoder asks a library's hub for its weights."""
    found = {}
    for name, entry in config["modalities"].items():
        with contextlib.suppress(UserError):
            options = resolve(registry.load("encoders", entry["encoder"]), entry["options"], name)
            weights, model = options.get("weights", UNTRAINED), str(options.get("model", entry["encoder"]))
            # A plugin's option of that name may be a list of numbers.
            if not isinstance(weights, str) or weights == UNTRAINED:
                continue
            if not any(Path(path).expanduser().exists() for path in (weights, model)):
                library = f" ({options['library']})" if "library" in options else ""
                found[name] = (
                    f"modalities.{name}: weights `{weights}` of {model}{library} are fetched from the net when the "
                    "study runs, unless this machine has them"
                )
    return found
