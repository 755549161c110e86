"""Shapley values of the patches of single clips: exact for few, by antithetic permutations for more.

Source: permutation sampling, Castro, Gomez and Tejada 2009 (algorithm 1); an order and its reverse, Mitchell, Cooper,
Frank and Holmes 2022 (section 4.1).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from modalens.measures._patches import Patches
from modalens.measures._studied import Array, Network
from modalens.stats.coalitions import shapley_values

ROWS = 256  # that go through a sub-network at once
BYTES = 2**26  # of masked features in memory at once


@dataclass
class PatchValues:
    """Of N clips: by modality (N, patches), the Shapley value of each patch.

    whole: from all permutations. halves: from the first and from the second half of them, (2, N, patches); from all
    coalitions there is nothing to halve, and both are the whole. full, none: what is divided, (N,).
    """

    whole: dict[str, Array]
    halves: dict[str, Array]
    full: Array
    none: Array


@dataclass(frozen=True)
class Game:
    """What the patches of a batch of clips are worth to one network.

    features, stand_ins: modality -> (N, ...). worth: log-probabilities (R, C) and the clips' places (R,) -> (R,).
    """

    network: Network
    patches: Mapping[str, Patches]
    features: Mapping[str, Array]
    stand_ins: Mapping[str, Array]
    worth: Callable[[Array, Array], Array]

    def clips_at_once(self, coalitions: int) -> int:
        each = sum(rows[0].nbytes for rows in self.features.values())
        return max(1, min(ROWS, BYTES // (max(each, 1) * (coalitions + 1))))

    def values(self, clips: Array, kept: Mapping[str, Array], which: Mapping[str, Array]) -> Array:
        """clips: (B,) places. kept: modality -> (B or 1, K_m, patches) sets of it; which: modality -> (B or 1, K), the
        set of it in each coalition. Returns (B, K).

        What one modality's sub-network says depends on that modality's patches alone: each set is embedded once.
        """
        coalitions = next(iter(which.values())).shape[1]
        rows = np.arange(len(clips))[:, None]
        embeddings = {}
        for name, sets in kept.items():
            sets = np.broadcast_to(sets, (len(clips), *sets.shape[1:]))
            masked = self.patches[name].keep(sets, self.features[name][clips], self.stand_ins[name][clips])
            made = self._embedded(name, masked.reshape(-1, *masked.shape[2:])).reshape(len(clips), sets.shape[1], -1)
            place = np.broadcast_to(which[name], (len(clips), coalitions))
            embeddings[name] = made[rows, place].reshape(len(clips) * coalitions, *self._shape(name))
        found = self.network.log_probabilities(embeddings)
        return self.worth(found, np.repeat(clips, coalitions)).reshape(len(clips), coalitions)

    def _embedded(self, name: str, masked: Array) -> Array:
        starts = range(0, len(masked), ROWS)
        return np.concatenate([self.network.embed({name: masked[at : at + ROWS]})[name] for at in starts])

    def _shape(self, name: str) -> tuple[int, ...]:
        """Of one embedding."""
        return self.network.embed({name: self.features[name][:1]})[name].shape[1:]


def exact_values(game: Game) -> PatchValues:
    """Over all 2^n coalitions of the n patches of all modalities."""
    names = sorted(game.patches)
    players = [(name, patch) for name in names for patch in range(len(game.patches[name]))]
    coalitions = np.array(list(product([False, True], repeat=len(players))))
    kept, which, at = {}, {}, 0
    for name in names:
        count = len(game.patches[name])
        kept[name] = np.array(list(product([False, True], repeat=count)))[None]
        # The binary number that a coalition's part of this modality is.
        which[name] = (coalitions[:, at : at + count] @ (2 ** np.arange(count)[::-1]))[None]
        at += count
    clips = len(next(iter(game.features.values())))
    step = game.clips_at_once(max(sets.shape[1] for sets in kept.values()))
    found = np.concatenate([game.values(part, kept, which) for part in _blocks(clips, step)])
    value_function = {
        tuple(f"{place:03d}" for place in np.flatnonzero(coalition)): found[:, at]
        for at, coalition in enumerate(coalitions)
    }
    each = shapley_values(value_function)
    values = np.stack([each[f"{place:03d}"] for place in range(len(players))], axis=1)
    whole = _by_modality(values, game.patches)
    return PatchValues(whole, {name: np.stack([one, one]) for name, one in whole.items()}, found[:, -1], found[:, 0])


def sampled_values(game: Game, permutations: int, draw: np.random.Generator) -> PatchValues:
    """From pairs of a random order of all patches and its reverse, `permutations` pairs of each clip's own.

    permutations: even, so that there are two halves. Source: Castro, Gomez and Tejada 2009; Mitchell et al. 2022
    (antithetic pairs).
    """
    clips = len(next(iter(game.features.values())))
    count = sum(map(len, game.patches.values()))
    sums = np.zeros((2, clips, count))
    full, none = np.zeros(clips), np.zeros(clips)
    step = game.clips_at_once(max(map(len, game.patches.values())))
    for half, _ in product(range(2), range(permutations // 2)):
        orders = draw.permuted(np.tile(np.arange(count), (clips, 1)), axis=1)
        for part in _blocks(clips, step):
            for order in (orders[part], orders[part][:, ::-1]):
                values = game.values(part, *_walk(order, game.patches))
                gains = np.empty_like(order, float)
                np.put_along_axis(gains, order, np.diff(values, axis=1), axis=1)
                sums[half, part] += gains
                none[part], full[part] = values[:, 0], values[:, -1]
    halves = sums / permutations  # each half has permutations / 2 pairs
    return PatchValues(_by_modality(halves.mean(0), game.patches), _by_modality(halves, game.patches), full, none)


def _walk(order: Array, patches: Mapping[str, Patches]) -> tuple[dict[str, Array], dict[str, Array]]:
    """order: (B, n) patches in the order in which they are added -> the sets of each modality that are met on the way,
    (B, K_m, patches), and which of them stands at each of the n + 1 steps, (B, n + 1)."""
    kept, which, at = {}, {}, 0
    for name in sorted(patches):
        count = len(patches[name])
        inside = (order >= at) & (order < at + count)
        so_far = np.concatenate([np.zeros((len(order), 1), int), inside.cumsum(1)], axis=1)
        # How many of this modality come before each of its patches.
        rank = np.empty((len(order), count), int)
        rows, steps = np.nonzero(inside)
        rank[rows, order[rows, steps] - at] = so_far[rows, steps]
        kept[name] = rank[:, None, :] < np.arange(count + 1)[None, :, None]
        which[name] = so_far
        at += count
    return kept, which


def _by_modality(values: Array, patches: Mapping[str, Patches]) -> dict[str, Array]:
    """(..., n) -> modality -> (..., patches)."""
    names = sorted(patches)
    parts = np.split(values, np.cumsum([len(patches[name]) for name in names])[:-1], axis=-1)
    return dict(zip(names, parts, strict=True))


def _blocks(clips: int, step: int) -> Iterator[Array]:
    for start in range(0, clips, step):
        yield np.arange(start, min(start + step, clips))
