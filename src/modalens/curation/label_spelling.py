"""Labels that are one class to a person and several to a program."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping

SHOWN = 3
# How programs write that there is no value. Here an empty cell says so, as a class may be called `None`.
MISSING = {
    "nan",
    "-nan",
    "na",
    "n/a",
    "n.a.",
    "#na",
    "#n/a",
    "<na>",
    "nat",
    "1.#qnan",
    "none",
    "null",
    "nil",
    "-",
    "--",
}
MISSING |= {"?", "missing"}


def canonical(label: str) -> str:
    """Equal for labels that differ by case, Unicode form, letters that are not seen, blanks, _ and -, or as a number is
    written (1, 1.0, 01, 1e0)."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    # Zero-width spaces and joiners, soft hyphens, marks of direction.
    folded = "".join(letter for letter in folded if unicodedata.category(letter) != "Cf") or folded
    if re.fullmatch(r"[+-]?\d+(\.\d*)?(e[+-]?\d{1,2})?", folded):
        return repr(float(folded))
    return re.sub(r"[\s_-]+", " ", folded).strip() or folded


def remarks(clips: Mapping[str, int]) -> list[str]:
    """{label: number of its clips} -> what a person should know of its labels, one line each."""
    same: dict[str, list[str]] = defaultdict(list)
    for label in sorted(clips):
        same[canonical(label)].append(label)
    said = []
    absent = [label for label in sorted(clips) if label.casefold() in MISSING]
    several = [labels for labels in same.values() if len(labels) > 1 and not set(labels) <= set(absent)]
    if several:
        shown = "; ".join(" / ".join(f"{label!r} ({clips[label]})" for label in labels) for labels in several[:SHOWN])
        more = f" and {len(several) - SHOWN} more" if len(several) > SHOWN else ""
        said.append(
            f"{sum(map(len, several))} labels differ only in spelling from one another and are {len(several)} classes "
            f"if they are made equal in the list: {shown}{more}"
        )
    if absent:
        shown = ", ".join(f"{label!r} ({clips[label]})" for label in absent)
        said.append(f"{shown} count as classes; leave the cell empty where a clip has no label")
    return said
