"""The same content in two splits: found by digests and by sketches, told as a table of pairs, refused where it leaks.

A test clip that was also trained on flatters every model. Clips of one group are kept together by `splits`; this finds
the copies that no annotation tells of: a file under two ids, an upload of an upload, a cut a second later.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modalens.curation.near_duplicates import near_duplicate_pairs
from modalens.curation.splitting import NAMES
from modalens.modalities import Modality, Similarity
from modalens.utils import files, hdf5
from modalens.utils.csv_tables import read_table
from modalens.utils.errors import UserError

log = logging.getLogger("modalens")

COLUMNS = ["kind", "similarity", "clip_id", "split", "label", "other", "other_split", "other_label"]
Array = NDArray[Any]


def identical(content: list[str], places: Array) -> Iterator[tuple[int, int]]:
    """Clips of equal content in different splits of some task: per task each clip beside the first of another split.

    Not all pairs: a hundred black clips would make thousands.
    """
    found = set()
    for clips in pd.Series(range(len(content))).groupby(content).agg(list):
        for place in places.T:
            ours = [clip for clip in clips if place[clip] >= 0]
            for clip in ours:
                other = next((other for other in ours if place[other] != place[clip]), None)
                if other is not None:
                    found.add((min(clip, other), max(clip, other)))
    yield from sorted(found)


@dataclass(frozen=True)
class Decoded:
    """A decoded form of the study: its folder, and the modality that it is."""

    folder: str
    modality: Modality


def load(
    study: Path, shards: list[str], wanted: pd.Index, decoded: Sequence[Decoded]
) -> tuple[pd.Series, list[Similarity]]:
    """Content digest of each wanted clip, and how alike they are in each modality that has sketches."""
    tables = [read_table(study / "fingerprints" / f"{shard}.csv") for shard in shards]
    digests = pd.concat(tables).set_index("clip_id").loc[wanted, [one.folder for one in decoded]]
    similarities = []
    for one in decoded:
        sketches = _sketches(study / "fingerprints" / one.folder, shards, wanted)
        if sketches.size:
            similarities.append(one.modality.similarity(sketches))
    return digests.agg(" ".join, axis=1), similarities


def _sketches(folder: Path, shards: list[str], wanted: pd.Index) -> Array:
    """(N, ...) float16 in the order of `wanted`; NaN for a clip that lacks the modality."""
    rows: Array | None = None
    for shard in shards:
        path = folder / f"{shard}.h5"
        ids = hdf5.ids(path)
        position = wanted.get_indexer(pd.Index(ids))
        if (position >= 0).any():
            read = hdf5.read(path)
            rows = np.full((len(wanted), *read.shape[1:]), np.nan, read.dtype) if rows is None else rows
            rows[position[position >= 0]] = read[position >= 0]
    return np.zeros((0, 1, 1), np.float16) if rows is None else rows


def found_pairs(
    lists: dict[str, pd.DataFrame], study: Path, decoded: Sequence[Decoded], near: str, threshold: float | None
) -> dict[str, pd.DataFrame]:
    """task -> COLUMNS, the most similar first. lists: task -> clip_id, shard, split, label."""
    everything = pd.concat(lists.values())
    wanted = pd.Index(sorted(set(everything["clip_id"])))
    shards = sorted(set(everything["shard"]))
    content, similarities = load(study, shards, wanted, decoded)
    # Each task labels other clips, and may split the same ones in another way.
    by_clip = {task: table.set_index("clip_id")[["split", "label"]].reindex(wanted) for task, table in lists.items()}
    places = np.stack([table["split"].map(dict(zip(NAMES, range(3), strict=True))).fillna(-1).to_numpy(int)
                       for table in by_clip.values()], axis=1)  # fmt: skip
    pairs = []
    if any(one.modality.unique for one in decoded):
        pairs += [(one, other, 1.0, "identical") for one, other in identical(list(content), places)]
    else:
        log.info("identical clips are not looked for: two clips may well be equal in all modalities")
    if near != "ignore" and any(one.sufficient for one in similarities):
        same = content.to_numpy()
        hits = near_duplicate_pairs(similarities, places, threshold)
        pairs += [(*hit, "near-identical") for hit in hits if same[hit[0]] != same[hit[1]]]
    elif near != "ignore":
        log.info("near-identical clips are not looked for: none of the modalities can tell a copy by itself")
    result = {}
    for index, (task, table) in enumerate(by_clip.items()):
        rows = [_row(table, wanted, pair) for pair in pairs
                if -1 < places[pair[0], index] != places[pair[1], index] > -1]  # fmt: skip
        ordered = pd.DataFrame(rows, columns=COLUMNS)
        result[task] = ordered.sort_values(["similarity", "clip_id", "other"], ascending=[False, True, True])
    return result


def _row(table: pd.DataFrame, clips: pd.Index, pair: tuple[int, int, float, str]) -> list[Any]:
    one, other, similarity, kind = pair
    return [kind, round(similarity, 4), clips[one], *table.iloc[one], clips[other], *table.iloc[other]]


def refuse_leaks(result: dict[str, pd.DataFrame], output: Path, near: str, allow_overlap: bool) -> None:
    """Raises UserError where the pairs of a task are more than the config allows, and leaves them in refused.csv."""
    fatal = [] if allow_overlap else ["identical"]
    fatal += ["near-identical"] if near == "stop" else []
    # Snakemake deletes the outputs of a job that fails; this is none of them.
    refused = output / "refused.csv"
    refused.unlink(missing_ok=True)
    for task, pairs in result.items():
        bad = pairs[pairs["kind"].isin(fatal)]
        if len(bad):
            files.write_text(refused, bad.to_csv(index=False, lineterminator="\n"))
            kind, _, clip_id, split, _, other, other_split, _ = bad.iloc[0]
            key = "allow_overlap: true" if kind == "identical" else "near_duplicates: report"
            count = int((bad["kind"] == kind).sum())
            raise UserError(
                f"{task}: pairs of clips in two splits that are {kind}: {count}, first {clip_id!r} in {split} and "
                f"{other!r} in {other_split}; such a test set flatters every model: give the clips of a pair one "
                f"group, or write `splits: {{{key}}}` in the config to go on (all pairs: {refused})"
            )
