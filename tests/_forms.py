"""Command lines of the stage `decode`, and the decoded forms of a study of audio and video."""

import json
from typing import Any

VIDEO = {"count": 4, "resize": 36, "crop": 32}
FORMS = {
    "frames": {"modality": "video", "decode": {}},
    "waveforms": {"modality": "audio", "decode": {}},
}


def options(modality: str, **decode: Any) -> list[str]:
    return ["--modality", modality, "--options", json.dumps(decode)]
