"""A few clips for the reader's eye: a thumbnail, a spectrogram or a text of each modality, and where the file lies."""

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modalens.config import modalities
from modalens.modalities import load_modality
from modalens.reporting.study_results import Study, read
from modalens.utils import hdf5

SIDE = 112  # pixels
LETTERS = 240


def previews(study: Study, clip_ids: Sequence[str]) -> dict[str, dict[str, dict[str, str]]]:
    """clip -> modality -> {"picture": data URL} or {"text": ...}, of the decoded forms that the study still holds."""
    shown: dict[str, dict[str, dict[str, str]]] = {}
    for form, entry in modalities.forms(study.config).items() if study.config.get("modalities") else ():
        kind = load_modality(entry["modality"], entry["decode"])
        names = [name for name in study.config["modalities"] if modalities.form_of(study.config, name) == form]
        for path in sorted((study.root / form).glob("*.h5")):
            there = set(hdf5.ids(path))
            wanted = [clip_id for clip_id in clip_ids if clip_id in there]
            for clip_id, row in zip(wanted, hdf5.read(path, wanted), strict=True) if wanted else ():
                made = kind.show(row)
                if isinstance(made, str) and not made:
                    continue
                for name in names:
                    shown.setdefault(clip_id, {})[name] = _shown(made)
    return shown


def _shown(made: Any) -> dict[str, str]:
    if isinstance(made, str):
        return {"text": made if len(made) <= LETTERS else f"{made[: LETTERS - 1]}…"}
    image = Image.fromarray(np.asarray(made, np.uint8)).convert("RGB")
    image.thumbnail((SIDE, SIDE))
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=75, optimize=True)
    return {"picture": f"data:image/jpeg;base64,{base64.b64encode(packed.getvalue()).decode()}"}


def links(study: Study, clip_ids: Sequence[str]) -> dict[str, str]:
    """clip -> address of its media file, as seen from the page; none where the file is gone."""
    wanted, found = set(clip_ids), {}
    for table in (read(path) for path in sorted((study.root / "clips").glob("*.csv"))):
        if "path" not in table:
            continue
        table = table[table["clip_id"].isin(wanted)]
        for clip_id, path in zip(table["clip_id"], table["path"], strict=True):
            if isinstance(path, str) and path and Path(path).is_file():
                found[str(clip_id)] = os.path.relpath(Path(path).resolve(), (study.root / "report").resolve())
    return found
