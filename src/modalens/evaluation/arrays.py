"""A test set, and what stands in for its modalities, from arrays in memory: checked, named and sorted by clip."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from modalens.evaluation.ablation import FROM_FILE, KINDS
from modalens.evaluation.networks import Array, Network, to_array
from modalens.evaluation.predict import TestSet
from modalens.stats.targets import CLASSES, MULTILABEL, REGRESSION, SEPARATOR, tags_of
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest
from modalens.utils.words import half_letter

AT_FUSION = tuple(kind for kind in KINDS if kind.endswith("@fusion"))
StandIns = Mapping[str, Any]  # modality -> array
Replacements = Sequence[str] | Mapping[str, StandIns | None]


def rows_of(features: Mapping[str, Any], where: str) -> dict[str, Array]:
    """{modality: (N, ...)}, N the same for all. Raises UserError."""
    arrays = {str(name): to_array(values) for name, values in features.items()}
    for name, values in arrays.items():
        if not name or "," in name or name != name.strip() or half_letter(name):
            raise UserError(f"evaluate: {where}: expected names without commas and spaces around them, got {name!r}")
        if values.ndim == 0:
            raise UserError(f"evaluate: {where}: expected one row a clip for {name!r}, got a single value")
    counts = {name: len(values) for name, values in arrays.items()}
    if not arrays or len(set(counts.values())) > 1 or not min(counts.values()):
        got = ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
        raise UserError(f"evaluate: {where}: expected the same number of rows for each modality, got {got}")
    return arrays


def names_of(values: Any) -> list[str]:
    """Labels, classes, clips or groups as text: 1, 1.0 and "1" are the same. Raises UserError."""
    array = to_array(values)
    if array.ndim != 1:
        raise UserError(f"evaluate: expected one label, clip or group a row, got shape {array.shape}")
    # NumPy makes a text of a NaN in a list of texts.
    missing = pd.isna(np.array(values, dtype=object) if isinstance(values, list | tuple) else array)
    if missing.any():
        row = int(missing.argmax())
        raise UserError(f"evaluate: expected a label, clip or group in row {row}, got {array[row]!r}")
    if array.dtype.kind == "f" and (array == array.round()).all():
        array = array.astype(np.int64)
    names = [str(value) for value in array.tolist()]
    if odd := next(filter(half_letter, names), ""):
        raise UserError(f"evaluate: expected labels, clips and groups that UTF-8 can hold, got {odd!r}")
    return names


def class_names(labels: Any, classes: Sequence[Any] | None, count: int) -> list[str]:
    """Name of each of the model's `count` columns. Raises UserError where it cannot be known."""
    integers = to_array(labels).dtype.kind in "iu"
    if classes is not None:
        names = names_of(classes)
    elif integers:
        names = [str(index) for index in range(count)]
    else:
        # Numbers in the order of numbers, as scikit-learn has them: 2.0 before 10.0.
        numbers = to_array(labels).dtype.kind == "f" and not pd.isna(to_array(labels)).any()
        names = names_of(np.unique(to_array(labels))) if numbers else sorted(set(names_of(labels)))
    if len(names) != count or len(set(names)) != count:
        hint = "" if classes is not None else "; give classes=, the names in the order of the model's columns"
        raise UserError(f"evaluate: classes: expected {count}, one a column, got {len(names)}{hint}")
    unknown = sorted(set(names_of(labels)) - set(names))
    if unknown:
        hint = "; give classes=" if classes is None else ""
        raise UserError(f"evaluate: labels: {unknown[0]!r} is none of the classes {', '.join(names[:20])}{hint}")
    return names


def other_labels(labels: Any, classes: Sequence[Any] | None, target: str, columns: int) -> tuple[list[str], list[str]]:
    """Numbers, or (N, tags) of 0 and 1 -> each clip's label as text, and the names of the tags. Raises UserError."""
    values = to_array(labels)
    if target == REGRESSION:
        if values.ndim != 1 or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise UserError("evaluate: labels: expected one finite number a clip for target='regression'")
        return [repr(float(value)) for value in values], []
    names = [str(tag) for tag in range(columns)] if classes is None else names_of(classes)
    if values.ndim != 2 or values.shape[1] != columns or not np.isin(values, (0, 1)).all():
        raise UserError(
            f"evaluate: labels: expected 0 or 1 for each clip and tag, (clips, {columns}), got shape {values.shape}"
        )
    if len(names) != columns or len(set(names)) != columns or any(SEPARATOR in name for name in names):
        raise UserError(f"evaluate: classes: expected {columns} names without {SEPARATOR!r}, one a tag")
    return [SEPARATOR.join(np.array(names, object)[row.astype(bool)]) for row in values], names


def as_test_set(
    features: dict[str, Array],
    labels: Sequence[str],
    classes: list[str],
    clip_ids: Any = None,
    groups: Any = None,
    target: str = CLASSES,
) -> TestSet:
    """Sorted by clip, so that what is drawn does not depend on the order that rows came in."""
    count = len(next(iter(features.values())))
    columns: dict[str, list[str]] = {"label": list(labels)}
    # Padded, so that the order of the names is the order of the rows.
    columns["clip_id"] = (
        [f"{i:0{len(str(count - 1))}d}" for i in range(count)] if clip_ids is None else names_of(clip_ids)
    )
    columns["group"] = columns["clip_id"] if groups is None else names_of(groups)
    for name, argument in (("label", "labels"), ("clip_id", "clip_ids"), ("group", "groups")):
        if len(columns[name]) != count:
            raise UserError(
                f"evaluate: {argument}: expected {count}, one a row of the features, got {len(columns[name])}"
            )
    table = pd.DataFrame(columns)[["clip_id", "group", "label"]]
    twice = table["clip_id"].duplicated()
    if twice.any():
        raise UserError(f"evaluate: clip_ids: {table.loc[twice, 'clip_id'].iloc[0]!r} is there twice")
    order = table["clip_id"].argsort(kind="stable").to_numpy()
    table = table.iloc[order].reset_index(drop=True)
    position = {name: index for index, name in enumerate(classes)}
    if target == MULTILABEL:
        truth = np.array([[name in tags_of(label) for name in classes] for label in table["label"]])
    elif target == REGRESSION:
        truth = table["label"].to_numpy(np.float64)
    else:
        truth = np.array([position[label] for label in table["label"]], dtype=np.int64)
    return TestSet(table, classes, truth, {name: values[order] for name, values in features.items()}, {}, target=target)


def stand_ins(
    replacements: Replacements, features: Mapping[str, Array], reference: Mapping[str, Array] | None
) -> tuple[list[str], dict[str, dict[str, Array]]]:
    """Names of the kinds, and for those that need it what is put in: kind -> modality -> (K, ...).

    reference: None where the model knows its own means.
    """
    asked = replacements if isinstance(replacements, Mapping) else dict.fromkeys(_listed(replacements))
    kinds: list[str] = []
    found: dict[str, dict[str, Array]] = {}
    for name, given in asked.items():
        kind = name if "@" in name else f"{name}@input"
        kinds.append(kind)
        if not isinstance(given, Mapping | None):
            raise UserError(
                f"evaluate: replacements: {name!r}: expected {{modality: array}}, got {type(given).__name__}"
            )
        if given is not None:
            found[kind] = {modality: _given(name, modality, given, features[modality]) for modality in features}
        elif kind == "mean@input":
            if reference is not None:
                found[kind] = {modality: _mean(modality, values) for modality, values in reference.items()}
        elif kind in FROM_FILE:
            raise UserError(
                f"evaluate: replacements: {name!r} needs what stands in: {{{name!r}: {{modality: array, ...}}}}"
            )
        elif kind not in KINDS:
            raise UserError(f"evaluate: replacements: no replacement {name!r}; {suggest(kind, KINDS)}")
    return kinds, found


def embedding_statistics(
    network: Network, reference: Mapping[str, Array], batch: int
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Mean and standard deviation of each embedding dimension: {modality: (D_m,)} each, float32."""
    means, stds = {}, {}
    for name, values in reference.items():
        starts = range(0, len(values), batch)
        parts = [network.embed({name: values[start : start + batch]})[name] for start in starts]
        embeddings = np.concatenate(parts).astype(np.float64)
        means[name] = embeddings.mean(0).astype(np.float32)
        stds[name] = embeddings.std(0).astype(np.float32)
    return means, stds


def _listed(replacements: Sequence[str]) -> Sequence[str]:
    return [replacements] if isinstance(replacements, str) else replacements


def _given(name: str, modality: str, given: StandIns, features: Array) -> Array:
    where = f"evaluate: replacements: {name!r}"
    if modality not in given:
        raise UserError(f"{where}: nothing stands in for {modality!r}")
    values = to_array(given[modality])
    shape = features.shape[1:]
    if values.shape == shape:
        values = values[None]
    if values.shape[1:] != shape or values.ndim != features.ndim or not len(values):
        raise UserError(f"{where}: {modality!r}: expected shape {shape} or (K, {shape}), got {values.shape}")
    return values.astype(features.dtype) if features.dtype.kind in "fiu" else values


def _mean(modality: str, reference: Array) -> Array:
    """(1, ...)."""
    if reference.dtype.kind != "f":
        raise UserError(
            f"evaluate: replacements: no mean of {modality!r}, whose features are {reference.dtype}: "
            "give them as float, take 'shuffle@input', or give what stands in"
        )
    return reference.mean(0, keepdims=True, dtype=np.float64).astype(reference.dtype)
