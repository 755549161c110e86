"""What a study's lists promise before anything runs: files, classes, groups, test clips, the smallest effect."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from modalens.commands import _cells
from modalens.commands.counts import LABELLED, planned
from modalens.config import modalities, resolved
from modalens.curation import label_spelling, targets
from modalens.curation.splitting import NAMES, shared_groups
from modalens.media import local_file
from modalens.media.sources import is_address
from modalens.plugins import registry
from modalens.stats.planning import least_drop, smallest_drop, smallest_drop_of_r2
from modalens.stats.significance import FEWEST_GROUPS
from modalens.stats.targets import CLASSES, MULTILABEL, REGRESSION, tags_of
from modalens.terminal.run import printable
from modalens.utils.errors import UserError
from modalens.utils.words import counted

IMBALANCE = 3.0  # so many times the rarest class is the commonest, where it is said
FEW_GROUPS = 30
SHOWN = 3
LISTED = 12  # by name alone, after these
MANY_NUMBERS = 20  # as labels: an amount, not names of classes


@dataclass
class Survey:
    """told: what was found. warnings: what a study can run with. mistakes: what it cannot. classes: of each task that
    has any."""

    told: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    classes: dict[str, list[str]] = field(default_factory=dict)

    def show(self) -> None:
        for mark, lines in (("", self.told), ("look at: ", self.warnings), ("to mend: ", self.mistakes)):
            for line in dict.fromkeys(lines):
                print(printable(f"{mark}{line}"))

    def add(self, other: "Survey") -> None:
        self.told += other.told
        self.warnings += other.warnings
        self.mistakes += other.mistakes
        self.classes |= other.classes


def of_study(clips: pd.DataFrame, study: dict[str, Any]) -> Survey:
    """clips: manifest. study: resolved config."""
    found = of_files([clips["source"]], [clips[name] for name in modalities.file_columns(study)])
    found.warnings += resolved.left_out(study)
    for line, always in _cells.unreadable(clips, study):
        (found.mistakes if always else found.warnings).append(line)
    there = _modalities_there(clips, study)
    if not there.all(axis=None):
        kept = study["splits"]["incomplete"] == "keep"
        found.warnings.append(_lacking_modalities(there, kept))
        clips = clips[there.any(axis=1) if kept else there.all(axis=1)]
    for task in study["tasks"]:
        kind = resolved.target_of(study, task)
        found.add(of_task(clips, task, study["splits"], study["relevance"]["confidence"], kind))
    return found


def of_files(columns: "Sequence[pd.Series[str]]", more: "Sequence[pd.Series[str]]" = ()) -> Survey:
    """Files on disk that columns of a manifest name and that are not there or empty; addresses are only counted. more:
    columns of single modalities, whose cells may name a folder of pictures."""
    found = Survey()
    folders = set(_named(more))
    names = dict.fromkeys([*_named(columns), *_named(more)])
    makers = registry.names("datasets")
    made = sum(name.partition(":")[0] in makers for name in names)
    local = [name for name in names if not is_address(name) and name.partition(":")[0] not in makers]
    sizes = {name: _size(name, name in folders) for name in local}
    missing = [name for name, size in sizes.items() if size is None]
    empty = [name for name, size in sizes.items() if size == 0]
    if made:
        found.told.append(f"{counted(made, 'clip')} that the data set makes when the study runs")
    if remote := len(names) - made - len(local):
        found.told.append(f"{counted(remote, 'address', 'addresses')} to be asked for when the study runs")
    for wrong, what in ((missing, "not there"), (empty, "empty")):
        if wrong:
            are = "is" if len(wrong) == 1 else "are"
            where = f"{len(wrong)} of {counted(len(local), 'file')} {are} {what}, first {', '.join(wrong[:SHOWN])}"
            (found.mistakes if len(missing) + len(empty) == len(local) else found.warnings).append(where)
    if local and not missing and not empty:
        found.told.append(f"{counted(len(local), 'file')}, all there")
    return found


def _named(columns: "Sequence[pd.Series[str]]") -> list[str]:
    return [name for cells in columns for cell in cells.unique() for name in cell.split(local_file.SEPARATOR) if name]


def _size(source: str, folder: bool) -> int | None:
    """Bytes of a file, or how many a folder holds where it may be one; None where there is neither."""
    path = Path(source)
    try:
        if folder and path.is_dir():
            return sum(not one.name.startswith(".") for one in path.iterdir())
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        return None


def of_task(
    clips: pd.DataFrame, task: str, splits: dict[str, Any], confidence: float = 0.95, kind: str = CLASSES
) -> Survey:
    """clips: manifest. splits: of a resolved config. kind: of stats.targets."""
    found = Survey()
    labels = clips.loc[clips[task] != "", [*LABELLED, task]].set_axis([*LABELLED, "label"], axis=1)
    per_class = labels["label"].value_counts()
    if kind != CLASSES and (why := targets.mistake(labels["label"], kind)):
        found.mistakes.append(f"task {task}: {why}")
        return found
    if (
        kind == CLASSES
        and len(per_class) > MANY_NUMBERS
        and pd.to_numeric(labels["label"], errors="coerce").notna().all()
    ):
        found.mistakes.append(
            f"task {task}: {len(per_class)} different numbers; write `targets: {{{task}: regression}}`, or class names"
        )
        return found
    if kind == CLASSES and len(per_class) < 2:
        what = f"one class only, {per_class.index[0]!r}" if len(per_class) else "no label"
        found.mistakes.append(f"task {task}: {what}")
        return found
    if kind == CLASSES:
        found.classes[task] = sorted(map(str, per_class.index))
    found.warnings += [f"task {task}: {line}" for line in _remarks(clips, task, per_class, kind)]
    strata = labels.assign(label=targets.strata(labels["label"], labels["group"], kind))
    try:
        split, origin = planned(strata, {name: splits[name] for name in NAMES}, int(splits["seed"]))
    except UserError as error:
        found.mistakes.append(f"task {task}: {error}")
        return found
    if kind in (CLASSES, MULTILABEL):
        told = labels.assign(split=split)
        found.mistakes += [
            f"task {task}: {line}"
            for line in (_lacking(told) if kind == CLASSES else _lacking(targets.by_tag(told), "tag"))
        ]
    if shared := len(shared_groups(labels, split)):
        line = f"task {task}: {counted(shared, 'group is', 'groups are')} in more than one split"
        known = bool(splits["allow_overlap"])
        (found.warnings if known else found.mistakes).append(
            line + ("" if known else "; splits.allow_overlap accepts it")
        )
    test = labels[split == "test"]
    groups = test["group"].nunique()
    found.told += [
        f"task {task}: {counted(len(labels), 'clip')} of {counted(labels['group'].nunique(), 'group')}, "
        + _what(labels["label"], kind),
        f"task {task}: split {origin}: {counted(len(test), 'test clip')} of {counted(groups, 'group')}"
        + _smallest(groups, confidence, kind),
    ]
    if groups < FEW_GROUPS:
        rough = "the intervals will be rough"
        few = f"no test over so few has a p below 0.05, and {rough}" if 1 < groups < FEWEST_GROUPS else rough
        found.warnings.append(f"task {task}: only {counted(groups, 'test group')}: {few}")
    return found


def _smallest(groups: int, confidence: float, kind: str) -> str:
    """What so many test groups can show; of tags what they cannot: the rest hangs on the predictions."""
    if groups < FEWEST_GROUPS:
        return f"; no drop can be shown with p < 0.05: that takes {FEWEST_GROUPS} groups"
    often = "is shown in four studies of five, a smaller one less often"
    if kind == CLASSES:
        drop = smallest_drop(groups, confidence)
        return f"; a drop of {100 * drop:.0f} points of accuracy {often}" if drop < 1 else "; no drop can be shown"
    if kind == REGRESSION:
        drop = smallest_drop_of_r2(groups, confidence)
        if drop == 1:
            return "; too few to promise that a drop of R² is shown"
        return f"; a drop of R² from {drop:.2f} to 0 is shown in at least four studies of five"
    return f"; no drop of F1 or tag accuracy below {100 * least_drop(groups, confidence):.1f} points is shown"


def _modalities_there(clips: pd.DataFrame, study: dict[str, Any]) -> pd.DataFrame:
    """(clips, modalities): whether a clip names something for a modality."""
    there = {}
    for name in study["modalities"]:
        columns = modalities.columns(study | {"modalities": {name: study["modalities"][name]}})
        # Own features are looked up by clip id: what they lack shows when they are read.
        cells = clips[columns or ["source"]]
        there[name] = (cells != "").any(axis=1) | (modalities.media(study) == "none" and not columns)
    return pd.DataFrame(there, index=clips.index)


def _lacking_modalities(there: pd.DataFrame, kept: bool) -> str:
    """`7 of 60 clips lack image (6) or title (5) and stay, ...`. kept: whether clips that lack some are used."""
    lacking = " or ".join(f"{name} ({number})" for name, number in (~there).sum().items() if number)
    number, without = int((~there.all(axis=1)).sum()), int((~there.any(axis=1)).sum())
    one = number == 1
    said = f"{number} of {counted(len(there), 'clip')} {'lacks' if one else 'lack'} {lacking} "
    out = f"and {'is' if one else 'are'} left out"
    if number == without:
        return said + out
    if kept:
        return (
            said
            + f"and {'stays' if one else 'stay'}, by splits.incomplete"
            + (f", but for {without} without any" if without else "")
        )
    return said + f"{out}; splits.incomplete: keep uses " + ("those that have one" if without else "them")


def _what(labels: "pd.Series[str]", kind: str) -> str:
    if kind == CLASSES:
        return _classes(labels.value_counts())
    if kind == MULTILABEL:
        tags = targets.exploded(labels).value_counts()
        without = int((labels.map(tags_of).map(len) == 0).sum())
        rest = f"; {counted(without, 'clip')} without any" if without else ""
        return (
            f"{counted(len(tags), 'tag')}, {tags.index[0]!r} {tags.iloc[0]} to {tags.index[-1]!r} {tags.iloc[-1]}{rest}"
        )
    values = pd.to_numeric(labels)
    return f"numbers from {values.min():g} to {values.max():g}, mean {values.mean():.3g}"


def _classes(per_class: "pd.Series[int]") -> str:
    most, least = per_class.index[0], per_class.index[-1]
    if per_class.iloc[0] == per_class.iloc[-1]:
        return f"{len(per_class)} classes of {per_class.iloc[0]}"
    return f"{len(per_class)} classes, {most!r} {per_class.iloc[0]} to {least!r} {per_class.iloc[-1]}"


def _remarks(clips: pd.DataFrame, task: str, per_class: "pd.Series[int]", kind: str) -> Iterator[str]:
    if kind == CLASSES:
        yield from label_spelling.remarks({str(name): int(number) for name, number in per_class.items()})
    if kind == CLASSES and per_class.iloc[0] > IMBALANCE * per_class.iloc[-1]:
        share = per_class.iloc[0] / per_class.sum()
        yield f"unequal classes: always saying {per_class.index[0]!r} is right in {share:.0%}"
    if without := int((clips[task] == "").sum()):
        yield f"{counted(without, 'clip')} without a label, left out of it"


def _lacking(labels: pd.DataFrame, what: str = "class") -> Iterator[str]:
    """Classes, or tags, that a split that needs them has no clip of."""
    table = pd.crosstab(labels["label"], labels["split"]).reindex(columns=list(NAMES), fill_value=0)
    table = table[(table[["train", "test"]] == 0).any(axis=1)]
    for label, row in table.head(SHOWN).iterrows():
        empty = [name for name in ("train", "test") if not row[name]]
        groups = labels.loc[labels["label"] == label, "group"].nunique()
        yield (
            f"{what} {label!r} has no clip in {' and '.join(empty)} ({counted(int(row.sum()), 'clip')} of "
            f"{counted(groups, 'group')}); leave it out or add clips of other groups"
        )
    if len(table) > SHOWN:
        others = ", ".join(repr(label) for label in table.index[SHOWN : SHOWN + LISTED])
        more = f" and {len(table) - SHOWN - LISTED:,} more" if len(table) > SHOWN + LISTED else ""
        yield f"so has {what} {others}{more}" if len(table) == SHOWN + 1 else f"so have {others}{more}"
