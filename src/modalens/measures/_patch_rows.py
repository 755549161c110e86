"""Shapley values of patches -> rows of a table: of modalities, of patches and of single clips."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from modalens.measures._clip_means import ClipMeans
from modalens.measures._patch_values import PatchValues
from modalens.measures._patches import Patches
from modalens.measures._studied import Array, Clips


@dataclass(frozen=True)
class Asked:
    """What was asked of one model. found: of each seed. target: (N, seeds) the class whose payoff was divided. right:
    (N, seeds) whether the whole clip was predicted right."""

    clips: Clips
    patches: dict[str, Patches]
    found: list[PatchValues]
    target: Array
    right: Array

    def sizes(self, half: int | None = None) -> dict[str, Array]:
        """modality -> (N, seeds): the sum of |phi| over its patches, from all permutations or from half of them."""
        return {
            name: np.stack(
                [
                    np.abs(values.whole[name] if half is None else values.halves[name][half]).sum(1)
                    for values in self.found
                ],
                axis=1,
            )
            for name in self.patches
        }


def modality_rows(asked: Asked, means: ClipMeans) -> Iterator[dict[str, Any]]:
    quantities = {"size": [asked.sizes(half) for half in (None, 0, 1)]}
    quantities["share"] = [_shares(sizes) for sizes in quantities["size"]]
    labels = asked.clips.table["label"].to_numpy()
    for label in ["", *sorted(set(labels))]:
        of_label = np.broadcast_to(((labels == label) | (label == ""))[:, None], asked.right.shape)
        inside = {"all": of_label, "correct": of_label & asked.right, "incorrect": of_label & ~asked.right}
        for predictions, counted in inside.items():
            for name in asked.patches:
                for quantity in ("share", "size"):
                    values = [each[name] for each in quantities[quantity]]
                    row = _summary(values, counted, means, quantity)
                    if row:
                        key = {"kind": "modality", "modality": name, "predictions": predictions, "label": label}
                        yield key | {"quantity": quantity} | row | {"patches": len(asked.patches[name])}


def patch_rows(asked: Asked) -> Iterator[dict[str, Any]]:
    for name, patches in asked.patches.items():
        values = np.stack([one.whole[name] for one in asked.found])
        for quantity, means in (("size", np.abs(values).mean((0, 1))), ("value", values.mean((0, 1)))):
            for patch, value in zip(patches.names, means, strict=True):
                key = {"kind": "patch", "modality": name, "predictions": "all", "label": "", "quantity": quantity}
                yield key | {"value": float(value), "patch": patch}


def example_rows(asked: Asked, count: int) -> Iterator[dict[str, Any]]:
    values, right = asked.found[0], asked.right[:, 0]
    table, labels = asked.clips.table, asked.clips.labels
    for clip in _examples(asked, count):
        key = {"kind": "clip", "clip_id": table["clip_id"].iloc[clip], "label": table["label"].iloc[clip]}
        key |= {"predictions": "correct" if right[clip] else "incorrect", "target": labels[asked.target[clip, 0]]}
        for name, patches in asked.patches.items():
            for patch, value in zip(patches.names, values.whole[name][clip], strict=True):
                yield key | {"modality": name, "quantity": "value", "value": float(value), "patch": patch}


def _examples(asked: Asked, count: int) -> list[int]:
    """Places of clips: by turns of each modality the right ones with its greatest share, then the wrong ones."""
    shares = {name: np.nan_to_num(values[:, 0]) for name, values in _shares(asked.sizes()).items()}
    right = asked.right[:, 0]
    turns = [[int(at) for at in np.argsort(-shares[name], kind="stable") if right[at]] for name in shares]
    turns.append([int(at) for at in np.flatnonzero(~right)])
    found: list[int] = []
    for place in range(len(right)):
        for turn in turns:
            if place < len(turn) and turn[place] not in found and len(found) < count:
                found.append(turn[place])
    return found


def _shares(sizes: dict[str, Array]) -> dict[str, Array]:
    """Not-a-number for a clip of which no patch changes anything."""
    total = np.sum(list(sizes.values()), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: np.where(total > 0, values / total, np.nan) for name, values in sizes.items()}


def _summary(values: list[Array], counted: Array, means: ClipMeans, quantity: str) -> dict[str, Any]:
    """values: (N, seeds) from all permutations, and from each half of them."""
    whole, *halves = values
    counted = counted & np.isfinite(whole) & np.isfinite(halves[0]) & np.isfinite(halves[1])
    # Over many patches, some of them near zero, noise adds in proportion to its variance: twice as much in each half.
    unbiased = 2 * whole - np.mean(halves, axis=0)
    row: dict[str, Any] = means.summary(unbiased, counted, "rate" if quantity == "share" else "real")
    if row:
        row["value"] = max(row["value"], 0.0) if quantity == "size" else min(max(row["value"], 0.0), 1.0)
        # Of a mean of two halves with independent noise.
        noise = np.where(counted, (halves[0] - halves[1]) / 2, 0.0)
        row["sampling_error"] = float(np.sqrt((noise**2).sum()) / counted.sum())
    return row
