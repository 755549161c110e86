"""Intervals -> one sentence on which modality counts, printed only where the intervals carry it.

Words: a modality is *needed* where withholding it costs something (interval above 0, and not within MARGIN of 0); *not
needed* where it costs at most MARGIN (an equivalence bound); in between nobody can tell with this test set, and the
sentence says so with the smallest drop that it could have shown. A coalition *suffices* where it loses at most MARGIN
against all modalities.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil, floor, isnan, nan

from modalens.stats.coalitions import Coalition, coalitions
from modalens.stats.significance import FEWEST_GROUPS
from modalens.stats.targets import IN_WORDS
from modalens.utils.words import listed

MARGIN = 0.05  # a rate that falls by less than this hardly matters


@dataclass(frozen=True)
class Estimate:
    """detectable: the smallest value that this test set and these seeds would have told from 0 (power 0.8)."""

    value: float
    low: float
    high: float
    detectable: float = nan


@dataclass(frozen=True)
class Evidence:
    """Of one model on one task, in one metric. full: with all modalities. above: full - chance, on the same clips.
    lost: full - value of each other coalition.

    interaction: by pair, where it was measured. in_log_probability: the same of log-probability, where the other is of
    decisions. alone: what a model of each modality by itself reaches, where there is one. same_unit: whether
    `interaction` is in this metric; of tags it is in right decisions on tags, which says whether there is one and not
    how large it is beside a drop. several: seeds; what one training did is no pattern of the task, and is not called
    redundant, additive or synergistic. groups: of the test.
    """

    metric: str  # in words: accuracy, balanced accuracy
    chance: float
    modalities: tuple[str, ...]
    full: Estimate
    above: Estimate
    lost: Mapping[Coalition, Estimate]
    interaction: Mapping[tuple[str, str], Estimate]
    same_unit: bool = True
    several: bool = True
    in_log_probability: Mapping[tuple[str, str], Estimate] = field(default_factory=dict)
    alone: Mapping[str, float] = field(default_factory=dict)
    groups: int = FEWEST_GROUPS

    def drop(self, modality: str) -> Estimate | None:
        return self.lost.get(tuple(name for name in self.modalities if name != modality))

    def reached(self, coalition: Coalition) -> float:
        return self.full.value - self.lost[coalition].value


@dataclass(frozen=True)
class Verdict:
    """lead: a few words. text: the sentence with its numbers."""

    lead: str
    text: str


def needed(drop: Estimate) -> bool:
    return drop.low > 0 and drop.high > MARGIN


def not_needed(drop: Estimate) -> bool:
    return drop.high <= MARGIN


def divisible(above: Estimate) -> bool:
    """Whether a score so far above chance is enough to be divided among modalities."""
    return above.low > 0 and above.high > MARGIN


def judge(evidence: Evidence) -> Verdict:
    """The sentence of a task. With one modality there is nothing to compare."""
    full, above, chance = evidence.full, evidence.above, round(evidence.chance, 2) + 0.0
    reached = f"{evidence.metric} {full.value:.2f} [{full.low:.2f}, {full.high:.2f}], chance {chance:.2f}"
    if isnan(full.low) or isnan(above.low):
        return Verdict("too few test groups to tell", f"{reached}: of one group no interval can be given.")
    if above.high < 0:
        return Verdict("worse than chance", f"{reached}: what was learned does not hold in the test clips.")
    if above.low <= 0:
        if above.low > -MARGIN and above.high < MARGIN:
            return Verdict("nothing learned", f"{reached}: within {_points(MARGIN)} of chance.")
        if above.high < MARGIN:
            return Verdict("no better than chance", f"{reached}: less than {_points(MARGIN)} above chance, if at all.")
        if evidence.groups < FEWEST_GROUPS:
            why = f"no test of fewer than {FEWEST_GROUPS} groups can tell them apart."
        else:
            least = _signed(_possible(evidence, above.low), floor)
            why = f"on the same clips between {least} and {_signed(_possible(evidence, above.high), ceil)} above it."
        return Verdict("cannot tell whether anything was learned", f"{reached}: {why}")
    if above.high <= MARGIN:
        bound = _points(above.high, up=True)
        return Verdict("hardly better than chance", f"{reached}: at most {bound} above it, too little to be divided.")
    if len(evidence.modalities) == 1:
        return Verdict(
            f"from {evidence.modalities[0]} alone", f"{reached}; no model of several modalities was studied."
        )
    drops = {name: evidence.drop(name) for name in evidence.modalities}
    known = {name: drop for name, drop in drops.items() if drop is not None}
    if len(known) < len(drops):
        return Verdict("not measured", f"{reached}; not all modalities were withheld.")
    if any(isnan(drop.low) or isnan(drop.high) for drop in known.values()):
        return Verdict("too few test groups to tell", f"{reached}: of the drops no interval can be given.")
    order = sorted(known, key=lambda name: -known[name].value)
    parts = [f"without {order[0]} {evidence.metric} {_moves(full.value, known[order[0]], first=True)}"]
    parts += [f"without {name} it {_moves(full.value, known[name])}" for name in order[1:]]
    text = f"{', '.join(parts)} (chance {chance:.2f})"
    unsure = [drop for drop in known.values() if not needed(drop) and not not_needed(drop)]
    if unsure and not any(isnan(one.detectable) for one in unsure):
        text += f"; the smallest drop that this test could show: {_points(max(one.detectable for one in unsure))}"
    return Verdict(_lead(evidence, known), text + ".")


def _lead(evidence: Evidence, drops: Mapping[str, Estimate]) -> str:
    wanted = [name for name, drop in drops.items() if needed(drop)]
    unsure = [name for name, drop in drops.items() if not needed(drop) and not not_needed(drop)]
    if unsure and not wanted:
        return "cannot tell which modality counts"
    if unsure:
        return f"{listed(wanted)} count{'s' * (len(wanted) == 1)}; cannot tell about {listed(unsure)}"
    worse = [name for name, drop in drops.items() if drop.high < 0]
    if worse and not wanted:
        return f"better without {listed(worse)}" if len(worse) == 1 else f"better without {' or '.join(worse)}"
    if not wanted:
        return _redundant(evidence)
    if len(wanted) < len(drops):
        spare = [name for name in drops if name not in wanted]
        if len(wanted) == 1 and drops[wanted[0]].low > max(drops[name].high for name in spare):
            return f"{wanted[0]} dominates" + (f"; better without {listed(worse)}" if worse else "")
        counts = f"{listed(wanted)} count{'s' * (len(wanted) == 1)}"
        return f"{counts}; {listed(spare)} {'is' if len(spare) == 1 else 'are'} not needed"
    return _all_needed(evidence)


def _redundant(evidence: Evidence) -> str:
    """No modality is needed: how many suffice."""
    for size in range(1, len(evidence.modalities)):
        losses = [evidence.lost.get(one) for one in coalitions(evidence.modalities) if len(one) == size]
        if all(lost is not None and lost.high <= MARGIN for lost in losses):
            suffices = "any one modality suffices" if size == 1 else f"any {size} modalities suffice"
            return f"redundant: {suffices}" if evidence.several else f"no modality is needed: {suffices}"
        if any(lost is None or lost.low <= 0 for lost in losses):
            break  # of some coalitions of this size it cannot be told
    sufficient = [one for one in evidence.modalities if (lost := evidence.lost.get((one,))) and lost.high <= MARGIN]
    if sufficient:
        return f"no modality is needed; {' or '.join(f'{name} alone' for name in sufficient)} suffices"
    return "no single modality is needed"


def _all_needed(evidence: Evidence) -> str:
    names = listed(evidence.modalities) if len(evidence.modalities) > 2 else "both"
    pairs = list(evidence.interaction.values()) if evidence.several else []
    if pairs and all(pair.low > 0 for pair in pairs):
        # A stand-in that misleads the model makes decisions wrong in pairs, which looks like synergy.
        if any(pair.high < 0 for pair in evidence.in_log_probability.values()):
            unlike = f"synergistic in {evidence.metric}, redundant in log-probability"
            return f"{names} count; {unlike}: the stand-in matters"
        best = max(evidence.alone, key=lambda name: evidence.alone[name], default="")
        if best and evidence.alone[best] >= evidence.full.value - MARGIN:
            return f"{names} count in this model, yet {best} alone reaches {evidence.alone[best]:.2f}"
        # Every smaller coalition measured, and of each the upper bound near chance.
        gained = evidence.full.value - evidence.chance
        silent = all(
            (lost := evidence.lost.get(one)) is not None
            and evidence.full.value - lost.low < evidence.chance + gained / 4
            for one in coalitions(evidence.modalities)
            if 0 < len(one) < len(evidence.modalities)
        )
        return "synergistic: only together do they tell" if silent else f"{names} count; synergistic"
    if pairs and all(pair.high < 0 for pair in pairs):
        return f"{names} count; partly redundant"
    # An interaction of half of what the least modality is worth would still be one.
    small = min(drop.value for name in evidence.modalities if (drop := evidence.drop(name))) / 2
    bound = min(2 * MARGIN, small)
    if evidence.same_unit and pairs and all(pair.low >= -bound and pair.high <= bound for pair in pairs):
        return f"{names} count; additive"
    return f"{names} count"


def _moves(full: float, drop: Estimate, *, first: bool = False) -> str:
    to = f"{full - drop.value:.2f}"
    if needed(drop):
        return f"falls from {full:.2f} to {to}" if first else f"falls to {to}"
    if drop.high < 0:
        return f"rises to {to}"
    if not_needed(drop):
        return f"is {to}, a drop of at most {_points(max(drop.high, 0.0), up=True)}"
    return f"is {to}, a drop between {_signed(drop.low)} and {_signed(drop.high)}"


def _signed(rate: float, to: Callable[[float], int] = round) -> str:
    """to: bounds are rounded outward, so that one beside zero is not told as zero."""
    return f"{to(round(100 * rate, 6)) / 100 + 0.0:+.2f}".replace("-", "−")  # no minus before nothing


def _possible(evidence: Evidence, above: float) -> float:
    """No score of classes or tags is over 1 or under 0. Chance as it is told, so that the sums come out."""
    chance = round(evidence.chance, 2)
    return above if evidence.metric == IN_WORDS["r2"] else max(-chance, min(above, 1 - chance))


def _points(rate: float, *, up: bool = False) -> str:
    """up: a bound is rounded so that it stays one."""
    points = 100 * rate
    if up:
        points = ceil(points) if points >= 1 else ceil(10 * points) / 10
    text = f"{points:.0f}" if points >= 1 or points == 0 else f"{points:.1f}"
    return f"{text} point{'s' * (text != '1')}"
