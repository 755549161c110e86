"""What measures of trained models share: which models are asked, of which clips, and what clips are shuffled with."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from modalens.measures._studied import Array, Clips, StudiedModel
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest


def multimodal(measure: str, models: Sequence[StudiedModel], wanted: Sequence[str] | None) -> list[StudiedModel]:
    """Those of several modalities, of these the ones in `wanted`. Raises UserError for a name that is not there."""
    known = [model.name for model in models]
    for name in wanted or ():
        if name not in known:
            raise UserError(f"{measure}: models: no model {name!r}; {suggest(str(name), known)}")
    return [model for model in models if len(model.modalities) > 1 and (wanted is None or model.name in wanted)]


def drawn_clips(clips: Clips, most: int, seed: int, whole: Sequence[str] = ()) -> Clips:
    """At most so many (0: all) of those that have all modalities in `whole`, drawn at random, in their order. Raises
    UserError where none has them all."""
    own = np.all([having(clips, modality) for modality in whole], axis=0) if whole else np.ones(len(clips.truth), bool)
    rows = np.flatnonzero(own)
    if not len(rows):
        raise UserError(f"no test clip has all of {', '.join(whole)}")
    if 0 < most < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return _some(clips, rows)


def _some(clips: Clips, rows: Array) -> Clips:
    features = {name: values[rows] for name, values in clips.features.items()}
    return Clips(clips.table.iloc[rows].reset_index(drop=True), clips.labels, clips.truth[rows], features)


def having(clips: Clips, modality: str) -> Array:
    """(N,) whether a clip has a modality: where studies keep clips that lack one, its features are a stand-in."""
    if "lacks" not in clips.table:
        return np.ones(len(clips.table), bool)
    lacks = clips.table["lacks"].fillna("").map(lambda text: modality in str(text).split(","))
    return ~lacks.to_numpy(bool)


def with_modality(clips: Clips, modality: str) -> Clips:
    """Those that have it; all are given back as they are."""
    own = having(clips, modality)
    return clips if own.all() else _some(clips, np.flatnonzero(own))


def exchanged(clips: Clips, modality: str, draw: np.random.Generator) -> Array:
    """(N,) the place of the clip whose modality each clip is given: of another group, as `other_groups` draws them. A
    clip that lacks it gives none, and keeps what stands for it."""
    found, own = np.arange(len(clips.table)), np.flatnonzero(having(clips, modality))
    found[own] = own[other_groups(clips.table["group"].iloc[own], draw)]
    return found


def other_groups(groups: pd.Series, draw: np.random.Generator) -> Array:
    """(N,) the place of a clip of another group for each clip: a permutation, where no group holds more than half.

    Clips in a random order of their groups, moved on by the size of the largest one: so no clip meets its own group.
    """
    codes, names = pd.factorize(groups)
    if len(names) < 2:
        raise UserError("clips are shuffled between groups: expected test clips of two groups or more, got one")
    order = np.argsort(draw.permutation(len(names))[codes] + draw.random(len(codes)))
    largest = int(np.bincount(codes).max())
    found = np.empty(len(codes), np.int64)
    if 2 * largest <= len(codes):
        found[order] = np.roll(order, largest)
        return found
    # More than half are of one group: some clips stand in for several.
    for code in range(len(names)):
        own = codes == code
        found[own] = draw.choice(np.flatnonzero(~own), int(own.sum()), replace=True)
    return found
