"""Where the test clips lie, by the cached features of each modality and by the vector in which the model joins them.

t-SNE, or UMAP where it is installed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modalens.evaluation.predict import MAPPED
from modalens.reporting.study_results import Study
from modalens.utils import hdf5, parquet

COMPONENTS = 50  # of the principal components that the map is made of
LEAST = 12  # clips; of fewer a map says nothing
LEAST_CHANCE = 1e-6  # of a class: smaller ones would stretch the map by what nobody can tell apart


Maps = dict[bytes, tuple[NDArray[Any], str]]


def maps(study: Study, task: str, labels: Mapping[str, str], known: Maps) -> tuple[pd.DataFrame, str]:
    """(modality, clip_id, label, x, y; the method's name). labels: of the test clips.

    Features of several axes are averaged over all but the last. Of the headline model, the vector that its head
    classifies, with all modalities in place, of the first seed, or where it has none, the log-probabilities of all
    classes; its name then stands for a modality's. Where there are more than MAPPED clips, the first of them by name
    are drawn. known: the maps that were made already: several tasks may test on the same clips.
    """
    if len(labels) < LEAST:
        return pd.DataFrame(), ""
    wanted = sorted(labels)[:MAPPED]
    tables, method = [], ""
    folders = sorted(path for path in (study.root / "features").glob("*") if path.is_dir())
    read = {folder.name: _features(folder, wanted) for folder in folders}
    if len(read) > 1:
        read[study.headline(task)] = _joined(study, task, wanted) or _said(study, task, wanted)
    for name, rows in read.items():
        if len(rows) < LEAST:
            continue
        values = np.stack([row.reshape(-1, row.shape[-1]).mean(axis=0) for row in rows.values()]).astype(np.float64)
        if (key := values.tobytes()) not in known:
            known[key] = _project(np.nan_to_num(values))
        points, method = known[key]
        table = pd.DataFrame({"modality": name, "clip_id": list(rows), "x": points[:, 0], "y": points[:, 1]})
        tables.append(table.assign(label=[labels[clip_id] for clip_id in rows]))
    return (pd.concat(tables, ignore_index=True), method) if tables else (pd.DataFrame(), "")


def _joined(study: Study, task: str, wanted: list[str]) -> dict[str, NDArray[Any]]:
    """Nothing of a model that joins no vectors, and of predictions that were made elsewhere."""
    path = study.predictions(task, study.headline(task)).with_suffix(".h5")
    return _of_file(path, wanted) if path.is_file() else {}


def _said(study: Study, task: str, wanted: list[str]) -> dict[str, NDArray[Any]]:
    """Nothing where the table has no probabilities."""
    path = study.predictions(task, study.headline(task))
    classes = [name for name in parquet.columns(path) if name.startswith("p_")]
    if not classes:
        return {}
    table = parquet.read(path, ["clip_id", "seed", *classes], [("replacement", "in", [""])])
    table = table[table["seed"] == table["seed"].min()].drop_duplicates("clip_id").set_index("clip_id")
    there = [clip_id for clip_id in wanted if clip_id in table.index]
    return dict(zip(there, np.log(np.maximum(table.loc[there, classes].to_numpy(float), LEAST_CHANCE)), strict=True))


def _features(folder: Path, wanted: list[str]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for path in sorted(folder.glob("*.h5")):
        found |= _of_file(path, wanted)
    return {clip_id: found[clip_id] for clip_id in wanted if clip_id in found}


def _of_file(path: Path, wanted: list[str]) -> dict[str, NDArray[Any]]:
    there = set(hdf5.ids(path))
    names = [clip_id for clip_id in wanted if clip_id in there]
    return dict(zip(names, hdf5.read(path, names), strict=True)) if names else {}


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
