"""What the measures of trained models share: a network asked in batches, and its answers counted."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from modalens.measures._studied import Array, Clips, Network
from modalens.stats.metrics import ConfusionCounts, CountAxes, count_confusions, rank_of_truth

BATCH = 256  # clips at once; changes no result


def embeddings(network: Network, features: Mapping[str, Array]) -> dict[str, Array]:
    """{modality: (N, ...)} of some modalities -> {modality: (N, D_m) or (N, T, D_m)}."""
    count = len(next(iter(features.values())))
    parts = [
        network.embed({name: values[start : start + BATCH] for name, values in features.items()})
        for start in range(0, count, BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in features}


def log_probabilities(network: Network, embedded: Mapping[str, Array]) -> Array:
    """{modality: (N, ...)} of all modalities -> (N, C)."""
    count = len(next(iter(embedded.values())))
    parts = [
        network.log_probabilities({name: values[start : start + BATCH] for name, values in embedded.items()})
        for start in range(0, count, BATCH)
    ]
    return np.concatenate(parts)


def axes_of(clips: Clips, seeds: Sequence[int]) -> CountAxes:
    groups = pd.Index(sorted(clips.table["group"].unique()))
    return CountAxes(groups, pd.Index(sorted(seeds)), pd.Index(sorted(clips.labels)))


def counted(clips: Clips, answers: Mapping[int, Array], axes: CountAxes) -> ConfusionCounts:
    """answers: seed -> (N, C) log-probabilities, columns in the order of clips.labels."""
    frames = [
        clips.table[["group", "label"]].assign(
            seed=seed,
            predicted=np.array(clips.labels, dtype=object)[values.argmax(1)],
            log_probability=values[np.arange(len(values)), clips.truth],
            label_rank=rank_of_truth(values, clips.truth),
        )
        for seed, values in answers.items()
    ]
    return count_confusions(pd.concat(frames, ignore_index=True), axes)
