"""A setting -> test sets: what models that know the joint distribution, but for noise, say of clips drawn from it.

A clip is a cell, a label and a symbol of each modality, and a model says the same of all clips of a cell. So a test set
is how many clips of each cell each group has, and resampling one is arithmetic on these counts: nothing is looped over
clips. The measures get the same counts that a table of predictions would give them (tests/test_calibration_study.py).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
import pandas as pd
from calibration_settings import WORLDS, Setting
from scipy.sparse import csr_array

from modalens.measures._predictions import Coalitions
from modalens.stats.bootstrap import Bootstrap
from modalens.stats.coalitions import Coalition, coalitions
from modalens.stats.information import Joint
from modalens.stats.metrics import Array, ConfusionCounts, CountAxes

FLOOR = 0.01  # probability that a model gives to what cannot be
TRAININGS = 4000  # behind the true values
REPLICATES = 300
REPLACEMENT = "blank@input"


@dataclass(frozen=True)
class Cells:
    """Those of a joint distribution that can be: label (K,), symbols by modality (K,), chance (K,)."""

    joint: Joint
    handicap: float

    @cached_property
    def places(self) -> tuple[np.ndarray, ...]:
        return np.nonzero(self.joint.table)

    @property
    def label(self) -> np.ndarray:
        return self.places[0]

    @cached_property
    def chance(self) -> Array:
        return self.joint.table[self.places]

    @property
    def classes(self) -> int:
        return len(self.joint.table)

    def answers(self, kept: Coalition, seeds: int, noise: float, rng: np.random.Generator) -> tuple[Array, Array]:
        """What so many models say of each cell given the kept modalities: class and log-probabilities of all classes,
        (seeds, K) and (seeds, K, C). Each has its own noise on each symbol that it can tell apart."""
        names = self.joint.modalities
        hidden = tuple(axis for axis, name in enumerate(names, start=1) if name not in kept)
        table = self.joint.table.sum(axis=hidden)
        posterior = table / np.maximum(table.sum(axis=0), 1e-300)
        shape = posterior.shape[1:]
        flat = posterior.reshape(self.classes, -1).T
        seen = [self.places[axis] for axis, name in enumerate(names, start=1) if name in kept]
        symbol = np.ravel_multi_index(seen, shape) if seen else np.zeros(len(self.label), int)
        used, symbol = np.unique(symbol, return_inverse=True)
        # Without any modality a model answers by the classes' shares, which it knows well.
        level = np.hypot(noise if kept else noise / 3, self.handicap if kept == names else 0.0)
        # Trainings differ in how good they are, too.
        levels = level * np.exp(0.2 * rng.standard_normal((seeds, 1, 1)))
        logits = np.log(flat[used] + FLOOR) + levels * rng.standard_normal((seeds, len(used), self.classes))
        logits -= np.log(np.exp(logits - logits.max(2, keepdims=True)).sum(2, keepdims=True)) + logits.max(
            2, keepdims=True
        )
        return logits.argmax(2)[:, symbol], logits[:, symbol]


@dataclass(frozen=True)
class CellCounts(ConfusionCounts):
    """`groups` of the matrix are cells; held: clips of each group in each cell (G, K)."""

    held: csr_array = field(kw_only=True)

    def per_group(self, metric: str) -> Array:
        return self.held @ super().per_group(metric)


def count_cells(cells: Cells, predicted: Array, log_probability: Array, held: csr_array) -> CellCounts:
    """predicted, log_probability of the true class: (seeds, K)."""
    seeds, classes, size = len(predicted), cells.classes, len(cells.label)
    matrix = np.zeros((seeds, classes**2 + 1, size))
    matrix[np.arange(seeds)[:, None], cells.label * classes + predicted, np.arange(size)] = 1
    matrix[:, -1] = log_probability
    return CellCounts(csr_array(matrix.reshape(-1, size)), seeds, classes, held=held)


class Sampled(Coalitions):
    """One model's predictions of a test set, as the measures ask for them."""

    def __init__(
        self, model: str, modalities: Coalition, counts: dict[Coalition, CellCounts], prior: CellCounts, test: "TestSet"
    ) -> None:
        self.model, self.modalities, self.replacements = model, modalities, [REPLACEMENT]
        self.counts, self.prior = counts, prior
        self.axes = CountAxes(*(pd.RangeIndex(n) for n in (test.bootstrap.groups, test.bootstrap.seeds, prior.classes)))
        self.target = self.axes.target
        self.clips, self.bootstrap = test.clips, test.bootstrap
        self._metrics = {}

    def tally(self, kept: Sequence[str], replacement: str) -> ConfusionCounts:
        del replacement
        return self.counts[tuple(kept)]

    def chance(self) -> dict[str, Array]:
        return self.bootstrap.metrics(self.prior)


@dataclass(frozen=True)
class TestSet:
    """joint: the model that all is asked of. experts: one for each smaller coalition. rivals: on all modalities,
    `again` learned like the joint one, `without` has not seen the first modality. cell: of each clip."""

    clips: int
    cell: np.ndarray
    bootstrap: Bootstrap
    joint: Sampled
    experts: dict[Coalition, Sampled]
    rivals: dict[str, CellCounts]
    right: dict[Coalition, Array]


@cache
def bootstrap(groups: int, seeds: int) -> Bootstrap:
    return Bootstrap(groups, seeds, REPLICATES)


@cache
def cells_of(world: str) -> Cells:
    return Cells(WORLDS[world].joint, WORLDS[world].handicap)


def draw(setting: Setting, rng: np.random.Generator) -> TestSet:
    cells = cells_of(setting.world)
    groups = setting.clips // setting.per_group
    cell = rng.choice(len(cells.chance), size=(groups, setting.per_group), p=cells.chance / cells.chance.sum())
    cell = np.where(rng.random(cell.shape) < setting.alike, cell[:, :1], cell).ravel()
    group = np.repeat(np.arange(groups), setting.per_group)
    held = csr_array((np.ones(len(cell)), (group, cell)), shape=(groups, len(cells.chance)))
    own = copy.copy(bootstrap(groups, setting.seeds))
    own.group_weights = (held.T @ own.group_weights.T.astype(np.float64)).T
    test = TestSet(setting.clips, cell, own, None, {}, {}, {})  # type: ignore[arg-type]

    def said(kept: Coalition) -> tuple[CellCounts, Array]:
        predicted, log_probability = cells.answers(kept, setting.seeds, setting.noise, rng)
        true = np.take_along_axis(log_probability, cells.label[None, :, None], 2)[:, :, 0]
        return count_cells(cells, predicted, true, held), predicted == cells.label

    names = cells.joint.modalities
    subsets = coalitions(names)
    made = {kept: said(kept) for kept in subsets}
    share = np.bincount(cells.label, cells.chance)
    commonest = np.full((setting.seeds, len(cells.label)), share.argmax())
    told = np.broadcast_to(np.log(share)[cells.label], commonest.shape)
    prior = count_cells(cells, commonest, told, held)
    counts = {kept: one for kept, (one, _) in made.items()}
    joint = Sampled("joint", names, counts, prior, test)
    experts = {
        kept: Sampled(
            f"{'_'.join(kept)}_only", kept, {one: said(one)[0] for one in subsets if set(one) <= set(kept)}, prior, test
        )
        for kept in subsets[1:-1]
    }
    rivals = {"joint": counts[names], "again": said(names)[0], "without": said(names[1:])[0]}
    right = {kept: values for kept, (_, values) in made.items()}
    return TestSet(setting.clips, cell, own, joint, experts, rivals, right)


@dataclass(frozen=True)
class Truth:
    """reached: metric -> coalition -> what the mean over all trainings and clips is. right: chance that a training's
    model is right, by cell (K,). none: metric -> what one has who knows only how common the classes are."""

    reached: dict[str, dict[Coalition, float]]
    right: dict[Coalition, Array]
    none: dict[str, float]


@cache
def truth(world: str, noise: float, trainings: int = TRAININGS) -> Truth:
    cells, rng = cells_of(world), np.random.default_rng(1)
    chance, share = cells.chance, np.bincount(cells.label, cells.chance)
    values: dict[str, dict[Coalition, float]] = {"accuracy": {}, "balanced_accuracy": {}, "log_probability": {}}
    right = {}
    # Of many cells and classes a part at a time.
    part = max(1, min(trainings, 4_000_000 // (len(chance) * cells.classes)))
    for kept in coalitions(cells.joint.modalities):
        hit, told = np.zeros(len(chance)), np.zeros(len(chance))
        for _ in range(trainings // part):
            predicted, log_probability = cells.answers(kept, part, noise, rng)
            hit += (predicted == cells.label).mean(0)
            told += np.take_along_axis(log_probability, cells.label[None, :, None], 2)[:, :, 0].mean(0)
        right[kept] = hit / (trainings // part)
        values["accuracy"][kept] = float(chance @ right[kept])
        values["balanced_accuracy"][kept] = float(np.mean(np.bincount(cells.label, chance * right[kept]) / share))
        values["log_probability"][kept] = float(chance @ told / (trainings // part))
    none = {"accuracy": share.max(), "balanced_accuracy": 1 / len(share), "log_probability": share @ np.log(share)}
    return Truth(values, right, {name: float(value) for name, value in none.items()})
