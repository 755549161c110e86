"""Settings whose answer is known: joint distributions of label and symbols, and how they are sampled and predicted."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from modalens.stats.information import Joint

PAIR, TRIPLE = ("audio", "video"), ("audio", "text", "video")
CLIPS, SEEDS = (60, 200, 2000), (3, 5, 10)
NOISE = 1.0


def shown(
    strengths: dict[str, float],
    classes: int = 3,
    *,
    shared: bool = False,
    synergy: float = 0.0,
    prior: tuple[float, ...] = (),
    neutrals: int = 3,
    forms: int = 4,
) -> Joint:
    """Each modality shows the label with the chance that is its strength, else one of the neutral symbols.

    forms: a label is shown in so many forms, equally often, each of which a model has to learn by itself.

    shared: one draw decides for all, so that the weaker one tells nothing that the stronger does not. synergy: share of
    the clips in which the symbols are instead keys whose sum modulo the classes is the label: only all together tell.
    """
    names = sorted(strengths)
    share = np.array(prior or [1 / classes] * classes)
    shown_by = {label: range(label * forms, (label + 1) * forms) for label in range(2 * classes)}
    nothing = range(2 * classes * forms, 2 * classes * forms + neutrals)
    size = 2 * classes * forms + neutrals
    table = np.zeros((classes, *[size] * len(names)))
    for label in range(classes):
        for seen in product((False, True), repeat=len(names)):
            weight = share[label] * (1 - synergy) * _chance([strengths[name] for name in names], seen, shared)
            own = [shown_by[label] if yes else nothing for yes in seen]
            share_of_each = weight / np.prod([len(part) for part in own])
            for symbols in product(*own):
                table[(label, *symbols)] += share_of_each
        for first in product(range(classes), repeat=len(names) - 1) if synergy else ():
            keys = (*first, (label - sum(first)) % classes)
            amount = share[label] * synergy / (classes * forms) ** len(names) * classes
            for symbols in product(*(shown_by[classes + key] for key in keys)):
                table[(label, *symbols)] += amount
    return Joint(tuple(names), table)


def _chance(strengths: list[float], seen: tuple[bool, ...], shared: bool) -> float:
    """That just these modalities show the label."""
    pairs = list(zip(strengths, seen, strict=True))
    if not shared:
        return float(np.prod([one if yes else 1 - one for one, yes in pairs]))
    held, lost = ([one for one, yes in pairs if yes == wanted] for wanted in (True, False))
    return max(min(held, default=1.0) - max(lost, default=0.0), 0.0)


def pair_of_symbols(symbols: int = 2, forms: int = 4) -> Joint:
    """The label is the pair (audio, video): each modality tells its half."""
    table = np.zeros((symbols**2, symbols * forms, symbols * forms))
    for audio, video in product(range(symbols * forms), repeat=2):
        table[symbols * (audio // forms) + video // forms, audio, video] = 1 / (symbols * forms) ** 2
    return Joint(PAIR, table)


def two_of_three(symbols: int = 3, forms: int = 2) -> Joint:
    """A code: any two of the three symbols tell the label, one alone a third of it."""
    size = symbols * forms
    table = np.zeros((symbols**2, size, size, size))
    for audio, text in product(range(size), repeat=2):
        label = symbols * (audio // forms) + text // forms
        third = (audio // forms + text // forms) % symbols * forms
        table[label, audio, text, third : third + forms] = 1 / size**2 / forms
    return Joint(TRIPLE, table)


@dataclass(frozen=True)
class World:
    """joint: the truth. handicap: what is added to the noise where all modalities are given: a joint model that
    learned worse than its parts."""

    words: str
    joint: Joint
    handicap: float = 0.0


WORLDS = {
    "none": World("neither modality tells anything", shown({"audio": 0, "video": 0})),
    "video": World("video .85, audio nothing", shown({"audio": 0, "video": 0.85})),
    "video weak": World("video .30, audio nothing", shown({"audio": 0, "video": 0.3})),
    "either": World("both .85, independently", shown({"audio": 0.85, "video": 0.85})),
    "mostly video": World("video .80, audio .40", shown({"audio": 0.4, "video": 0.8})),
    "both weak": World("both .25", shown({"audio": 0.25, "video": 0.25})),
    "hardly audio": World("video .90, audio .20: a drop of .013", shown({"audio": 0.2, "video": 0.9})),
    "at the margin": World("video .80, audio .375: a drop of exactly .05", shown({"audio": 0.375, "video": 0.8})),
    "copies": World("both .85, in the same clips", shown({"audio": 0.85, "video": 0.85}, shared=True)),
    "ceiling": World("both .99", shown({"audio": 0.99, "video": 0.99})),
    "both": World("only together", shown({"audio": 0, "video": 0}, synergy=1)),
    "mixed": World("half together, video .80 in the rest", shown({"audio": 0, "video": 0.8}, synergy=0.5)),
    "halves": World("the label is the pair of symbols", pair_of_symbols()),
    "93:7": World("two classes, 93 to 7; video .90", shown({"audio": 0, "video": 0.9}, 2, prior=(0.93, 0.07))),
    "80:20": World("two classes, 80 to 20; both .60", shown({"audio": 0.6, "video": 0.6}, 2, prior=(0.8, 0.2))),
    "harmed": World("video .85, a joint model that learned worse", shown({"audio": 0.1, "video": 0.85}), 4.0),
    "26 classes": World(
        "26 classes, video .60, audio .30", shown({"audio": 0.3, "video": 0.6}, 26, neutrals=1, forms=1)
    ),
    "three none": World("three modalities, nothing", shown(dict.fromkeys(TRIPLE, 0.0), forms=2)),
    "three": World("audio .3, text .6, video .8", shown({"audio": 0.3, "text": 0.6, "video": 0.8}, forms=2)),
    "two of three": World("a code: any two tell all", two_of_three()),
    "text useless": World(
        "audio and video the same .9, text nothing",
        shown({"audio": 0.9, "text": 0, "video": 0.9}, shared=True, forms=2),
    ),
    "three together": World("only all three together", shown(dict.fromkeys(TRIPLE, 0.0), synergy=1, forms=2)),
}


@dataclass(frozen=True)
class Setting:
    """world: of WORLDS. per_group: clips of a group; each of them is a copy of the group's first one with the chance
    `alike`. noise: standard deviation of what each seed's model adds to its logits; 0: Bayes-optimal."""

    world: str
    clips: int
    per_group: int = 1
    seeds: int = 5
    noise: float = NOISE
    alike: float = 0.5

    @property
    def name(self) -> str:
        made = f"{self.world}, {self.clips} clips"
        made += f" in {self.clips // self.per_group} groups" if self.per_group > 1 else ""
        return f"{made}, {self.seeds} seeds" + ("" if self.noise == NOISE else f", noise {self.noise:g}")


def settings() -> list[Setting]:
    """Every world in every number of clips, with groups and seeds in turn; then other noise."""
    found = []
    for at, clips in enumerate(CLIPS):
        for place, world in enumerate(WORLDS):
            found.append(Setting(world, clips, (1, 5)[(place + at) % 2], SEEDS[(place + at) % 3]))
    for world in ("video", "either"):
        found += [Setting(world, 200, 1, 5, noise) for noise in (0.0, 2.0)]
    return list(dict.fromkeys(found))
