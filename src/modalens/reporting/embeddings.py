"""Where the test clips lie by their cached features: t-SNE, or UMAP where it is installed, a map a modality."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modalens.utils import hdf5

CLIPS = 500  # of a map: more would hide one another
COMPONENTS = 50  # of the principal components that the map is made of
LEAST = 12  # clips; of fewer a map says nothing
SHOWN_CLASSES = 20


Maps = dict[bytes, tuple[NDArray[Any], str]]


def maps(root: Path, labels: Mapping[str, str], known: Maps) -> tuple[pd.DataFrame, str]:
    """(modality, clip_id, label, x, y; the method's name). labels: of the test clips.

    Features of several axes are averaged over all but the last. Where there are more than CLIPS clips, the first of
    them by name are drawn; where there are more than SHOWN_CLASSES classes, none is. known: the maps that were made
    already: several tasks may test on the same clips.
    """
    if not len(labels) >= LEAST or len(set(labels.values())) > SHOWN_CLASSES:
        return pd.DataFrame(), ""
    wanted = sorted(labels)[:CLIPS]
    tables, method = [], ""
    for folder in sorted(path for path in (root / "features").glob("*") if path.is_dir()):
        rows = _features(folder, wanted)
        if len(rows) < LEAST:
            continue
        values = np.stack([row.reshape(-1, row.shape[-1]).mean(axis=0) for row in rows.values()]).astype(np.float64)
        if (key := values.tobytes()) not in known:
            known[key] = _project(np.nan_to_num(values))
        points, method = known[key]
        table = pd.DataFrame({"modality": folder.name, "clip_id": list(rows), "x": points[:, 0], "y": points[:, 1]})
        tables.append(table.assign(label=[labels[clip_id] for clip_id in rows]))
    return (pd.concat(tables, ignore_index=True), method) if tables else (pd.DataFrame(), "")


def _features(folder: Path, wanted: list[str]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for path in sorted(folder.glob("*.h5")):
        there = set(hdf5.ids(path))
        names = [clip_id for clip_id in wanted if clip_id in there]
        found |= zip(names, hdf5.read(path, names), strict=True) if names else ()
    return {clip_id: found[clip_id] for clip_id in wanted if clip_id in found}


def _project(values: NDArray[Any]) -> tuple[NDArray[Any], str]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    # So few clips are mapped faster by one thread than by many that wait for one another.
    with threadpool_limits(1):
        values = StandardScaler().fit_transform(values)
        values = PCA(min(COMPONENTS, *values.shape), svd_solver="full").fit_transform(values)
        try:
            from umap import UMAP  # type: ignore[import-not-found]
        except ModuleNotFoundError:
            near = min(30.0, (len(values) - 1) / 3)
            return TSNE(2, perplexity=near, init="pca", random_state=0).fit_transform(values), "t-SNE"
        return UMAP(random_state=0).fit_transform(values), "UMAP"
