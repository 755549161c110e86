"""A few clips for the reader's eye: a thumbnail, a spectrogram or a text of each modality, and where the file lies."""

import base64
import io
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modalens.config import modalities
from modalens.media.worker_pool import map_clips
from modalens.modalities import Modality, load_modality
from modalens.reporting.study_results import Study
from modalens.reporting.tables import read
from modalens.utils import hdf5
from modalens.utils.csv_tables import read_table, rows_of
from modalens.utils.errors import UserError

SIDE = 112  # pixels
LETTERS = 240
# Clips of all tasks together that are decoded anew, where the study has thrown away what it decoded.
DECODED = 120

log = logging.getLogger("modalens")


class Previews:
    """Of some clips what there is to see. parts: clip -> modality -> {"picture": data URL} or {"text": ...}. rows: clip
    -> modality -> decoded row, of those that are drawn on. kinds: the modality of each name."""

    def __init__(self, study: Study, clip_ids: Sequence[str], drawn_on: Sequence[str] = ()) -> None:
        self.parts: dict[str, dict[str, dict[str, str]]] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.kinds: dict[str, Modality] = {}
        drawn = set(drawn_on)
        wanted = list(dict.fromkeys([*drawn_on, *clip_ids]))
        for form, entry in modalities.forms(study.config).items() if study.config.get("modalities") else ():
            kind = load_modality(entry["modality"], entry["decode"])
            names = [name for name in study.config["modalities"] if modalities.form_of(study.config, name) == form]
            self.kinds |= dict.fromkeys(names, kind)
            for clip_id, row in _rows(study, form, entry, kind, wanted):
                made = shown(kind, row)
                for name in names:
                    if made:
                        self.parts.setdefault(clip_id, {})[name] = made
                    if clip_id in drawn:
                        self.rows.setdefault(clip_id, {})[name] = row


def shown(kind: Modality, row: Any) -> dict[str, str]:
    """{} where there is nothing to see."""
    made = kind.show(row)
    if isinstance(made, str):
        return {"text": made if len(made) <= LETTERS else f"{made[: LETTERS - 1]}…"} if made else {}
    image = Image.fromarray(np.asarray(made, np.uint8)).convert("RGB")
    image.thumbnail((SIDE, SIDE))
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=75, optimize=True)
    return {"picture": f"data:image/jpeg;base64,{base64.b64encode(packed.getvalue()).decode()}"}


def _rows(
    study: Study, form: str, entry: dict[str, Any], kind: Modality, clip_ids: list[str]
) -> Iterator[tuple[str, Any]]:
    """Decoded rows: those that the study holds, and of thrown away ones what its media files still tell."""
    held = sorted((study.root / form).glob("*.h5"))
    for path in held:
        there = set(hdf5.ids(path))
        wanted = [clip_id for clip_id in clip_ids if clip_id in there]
        yield from zip(wanted, hdf5.read(path, wanted), strict=True) if wanted else ()
    if not held and kind.source == "media":
        yield from _decoded(study, entry, kind, clip_ids[:DECODED])


def _decoded(study: Study, entry: dict[str, Any], kind: Modality, clip_ids: list[str]) -> Iterator[tuple[str, Any]]:
    try:
        from modalens.media.decode_shard import windows  # what decodes: not in every environment

        function, options = kind.attempts()[0]
    except (ImportError, UserError) as error:
        log.info("no pictures of clips whose frames are gone: nothing decodes here (%s)", error)
        return
    sources: dict[str, tuple[Any, ...]] = {}
    for path in sorted((study.root / "clips").glob("*.csv")):
        table = read_table(path, ["clip_id", "status"])
        if not {"path", "start_s", "end_s"} <= set(table):
            continue
        good = table[(table["status"] == "ok") & table["clip_id"].isin(clip_ids) & (table["path"] != "")]
        sources |= windows([row for row in rows_of(good) if Path(row["path"]).is_file()], entry["longest"])[0]
    tasks = [(clip_id, (*sources[clip_id], *options)) for clip_id in clip_ids if clip_id in sources]
    media = study.config.get("media") or {}
    try:
        for clip_id, outcome in map_clips(
            function, tasks, 1, float(media.get("timeout_s", 60)), int(media.get("memory_mb", 4096))
        ):
            if outcome.value:
                yield clip_id, outcome.value[0]
    except UserError as error:
        log.warning("no pictures of clips: %s", error)


def links(study: Study, clip_ids: Sequence[str]) -> dict[str, str]:
    """clip -> address of its media file, as seen from the page; none where the file is gone."""
    wanted, found = set(clip_ids), {}
    for table in (read(path, "status") for path in sorted((study.root / "clips").glob("*.csv"))):
        if "path" not in table:
            continue
        table = table[table["clip_id"].isin(wanted)]
        for clip_id, path in zip(table["clip_id"], table["path"], strict=True):
            if isinstance(path, str) and path and Path(path).is_file():
                found[str(clip_id)] = os.path.relpath(Path(path).resolve(), (study.root / "report").resolve())
    return found
