"""A printed sentence and the truth -> what in it is false."""

import re
from collections.abc import Iterator, Mapping

from modalens.reporting.verdict import MARGIN
from modalens.stats.coalitions import Coalition, coalitions, interaction_values

NOTHING = 0.002  # what true values are known to


class Facts:
    """What is true of one metric. values: what the joint model reaches with each coalition. experts: what a model of
    one modality reaches alone. chance: that of who sees nothing."""

    def __init__(self, values: Mapping[Coalition, float], chance: float, experts: Mapping[str, float]) -> None:
        self.values, self.chance, self.experts = values, chance, experts
        self.names = max(values, key=len)
        self.full = values[self.names]
        self.interaction = interaction_values(values)

    def lost(self, coalition: Coalition) -> float:
        return self.full - self.values[coalition]

    def drop(self, name: str) -> float:
        return self.lost(tuple(other for other in self.names if other != name))


def false_parts(lead: str, text: str, notes: tuple[str, ...], facts: Facts) -> list[str]:
    """What is claimed and not so. A sentence that says it cannot tell is never false."""
    parts = [part for part in lead.split("; ") if not _lead_holds(part, facts)]
    parts += [said for said, holds in _bounds(text, facts) if not holds]
    return parts + [note.split(",")[0] for note in notes if not _note_holds(note, facts)]


def kind(part: str, names: Coalition) -> str:
    """A sentence without the names and numbers in it, for counting."""
    found = re.sub(r"reaches [\d.]+", "reaches N", re.sub("|".join(names), "X", part))
    found = found.split(":")[0] if found.startswith("The joint") else found
    return re.sub(r"\bX(?:, X)*(?: (?:and|or) X)+\b", "X and X", found)


def _lead_holds(part: str, facts: Facts) -> bool:
    named = [name for name in facts.names if re.search(rf"\b{name}\b", part)]
    if part.startswith("cannot tell") or part == "too few test groups to tell":
        return True
    if part == "worse than chance":
        return facts.full < facts.chance + NOTHING
    if part == "no better than chance":
        return facts.full < facts.chance + MARGIN + NOTHING
    if part == "nothing learned":
        return abs(facts.full - facts.chance) < MARGIN + NOTHING
    if part == "hardly better than chance":
        return -NOTHING < facts.full - facts.chance < MARGIN + NOTHING
    if facts.full < facts.chance + NOTHING:
        return False  # of nothing no modality has a part
    if part.startswith("better without"):
        return all(facts.drop(name) < NOTHING for name in named)
    if part.endswith("dominates"):
        others = max(facts.drop(name) for name in facts.names if name not in named)
        return facts.drop(named[0]) > max(NOTHING, others)
    if "not needed" in part or part == "no single modality is needed" or part == "no modality is needed":
        return all(_small(facts.drop(name)) for name in named or facts.names)
    if found := re.match(r"redundant: any (one|\d+)", part):
        size = 1 if found[1] == "one" else int(found[1])
        return all(_small(facts.lost(kept)) for kept in coalitions(facts.names) if len(kept) == size)
    if "suffice" in part:
        return all(_small(facts.lost((name,))) for name in named)
    pairs = list(facts.interaction.values())
    if part.startswith("synergistic: only together"):
        parts = [facts.values[kept] for kept in coalitions(facts.names) if 0 < len(kept) < len(facts.names)]
        quarter = facts.chance + (facts.full - facts.chance) / 4 + NOTHING
        return min(pairs) > 0 and max(parts) < quarter and _count(facts, facts.names)
    # Of the metric: what log-probability says is counted as an interaction of its own.
    if part == "synergistic" or part.startswith("synergistic in "):
        return min(pairs) > -NOTHING
    if part == "partly redundant":
        return max(pairs) < NOTHING
    if part == "additive":
        return max(map(abs, pairs)) < 2 * MARGIN + NOTHING
    if found := re.match(r"(.*) counts? in this model, yet (\w+) alone reaches [\d.]+$", part):
        counting = [name for name in facts.names if name in re.findall(r"\w+", found[1])] or facts.names
        return _count(facts, counting) and facts.experts[found[2]] > facts.full - MARGIN - NOTHING
    if re.search(r"\bcounts?$", part):
        return _count(facts, named or facts.names)
    raise ValueError(f"no truth is known of {part!r}")


def _count(facts: Facts, names) -> bool:
    return all(facts.drop(name) > NOTHING for name in names)


def _small(lost: float) -> bool:
    return lost < MARGIN + NOTHING


def _bounds(text: str, facts: Facts) -> Iterator[tuple[str, bool]]:
    """`without NAME it is .., a drop of at most N points`."""
    for name, points in re.findall(r"without (\w+) \D*?is [\d.]+, a drop of at most ([\d.]+) points?", text):
        yield "a drop of at most", facts.drop(name) <= float(points) / 100 + NOTHING


def _note_holds(note: str, facts: Facts) -> bool:
    (alone,) = re.findall(r"(\w+) alone(?: reaches|:)", note)
    if note.startswith("The joint model is worse"):
        return facts.experts[alone] > facts.full + NOTHING
    if facts.experts[alone] < facts.chance + NOTHING:
        return False
    if missed := re.match(r"It loses without (.+), although", note):
        return _count(facts, [name for name in facts.names if re.search(rf"\b{name}\b", missed[1])])
    if "better without" in note:
        return facts.drop(alone) < NOTHING
    if "not need" in note:
        return _small(facts.drop(alone))
    raise ValueError(f"no truth is known of {note!r}")
