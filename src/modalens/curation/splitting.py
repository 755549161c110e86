"""Labels of one task + what decoded -> train, validation and test lists, which share no group.

Clips are assigned first and those that failed are dropped after, so that a failed clip moves no other one and the
losses of each split are known.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modalens.utils.csv_tables import read_table
from modalens.utils.errors import UserError
from modalens.utils.words import counted

log = logging.getLogger("modalens")

NAMES = ("train", "validation", "test")
FAR = 0.05  # of the share of a split from what was asked for
COLUMNS = ["clip_id", "shard", "group", "label"]
LACKS = "lacks"  # a further column where clips stay that lack a modality: which ones, joined by commas
Numbers = NDArray[np.int64]


def assign(labels: pd.DataFrame, fractions: dict[str, float], seed: int) -> pd.Series:
    """clip_id, group, label -> name of the split of each clip, by whole groups, with the classes in proportion.

    Each group, largest first, goes where the counts per class come nearest to what the fractions ask for; a split
    that then lacks a class gets its smallest group from a split that can spare it. That is the greedy idea of
    scikit-learn's StratifiedGroupKFold, for parts of unequal size. Row order does not matter.
    """
    groups, members = np.unique(labels["group"].to_numpy(str), return_inverse=True)
    classes, label_of = np.unique(labels["label"].to_numpy(str), return_inverse=True)
    names = sorted((name for name in NAMES if name in fractions), key=lambda name: -fractions[name])
    if len(groups) < len(names):
        raise UserError(
            f"{counted(len(labels), 'clip')} of {counted(len(groups), 'group')}: {len(names)} splits want at least "
            f"{len(names)} groups, "
            "since clips of one group stay together"
        )
    # Per group the classes that it holds and how often: a full table would not fit for millions of source videos.
    pairs, amounts = np.unique(np.stack([members, label_of]), axis=1, return_counts=True)
    cuts = np.flatnonzero(np.diff(pairs[0])) + 1
    held = np.split(pairs[1], cuts)
    clips = np.split(amounts, cuts)
    shuffled = np.random.default_rng(seed).permutation(len(groups))
    order = shuffled[np.argsort(-np.bincount(members)[shuffled], kind="stable")]
    share = np.array([fractions[name] for name in names])
    targets = np.outer(share / share.sum(), np.bincount(label_of))
    filled = np.zeros_like(targets)
    place = np.zeros(len(groups), np.int64)
    for group in order:
        own, count = held[group], clips[group]
        # Growth of sum over classes of (filled - target)^2 / target.
        growth = (count * (count + 2 * (filled[:, own] - targets[:, own])) / targets[:, own]).sum(axis=1)
        place[group] = growth.argmin()
        filled[place[group], own] += count
    _supply(held, place, order, np.zeros((len(names), len(classes)), np.int64))
    return pd.Series(np.array(names)[place[members]], index=labels.index)


def _supply(held: list[Numbers], place: Numbers, order: Numbers, holders: Numbers) -> None:
    """Move groups, in place, into splits that lack a class, as far as no other split loses its last of any class.

    held: classes of each group. place: split of each group. holders: (splits, classes) zeros, room for counting.
    """
    for group, own in enumerate(held):
        holders[place[group], own] += 1
    lacking = np.argwhere(holders == 0)
    wanted = set(lacking[:, 1])
    candidates = [group for group in order[::-1] if not wanted.isdisjoint(held[group])] if wanted else []
    for split, label in lacking:
        if holders[split, label]:
            continue  # an earlier move brought it along
        for group in candidates:
            own, donor = held[group], place[group]
            if label in own and donor != split and (holders[donor, own] > 1).all():
                holders[donor, own] -= 1
                holders[split, own] += 1
                place[group] = split
                break


def official(labels: pd.DataFrame, fractions: dict[str, float], seed: int) -> tuple[pd.Series, str]:
    """The split that the annotations give -> (split of each clip, what was done in one phrase).

    Validation is carved out of train, by group, where the annotations have none.
    """
    without = labels[labels["split"] == ""]
    if len(without):
        raise UserError(
            f"{len(without)} of {len(labels)} labelled clips have no split, first {without['clip_id'].iloc[0]!r}; "
            "give all of them one, or none"
        )
    split = labels["split"].copy()
    for name in ("train", "test"):
        if not (split == name).any():
            raise UserError(f"the annotations' split has no {name} clip; leave the split out to have one made")
    if (split == "validation").any():
        return split, "official"
    train = labels[split == "train"]
    parts = {name: fractions[name] for name in ("train", "validation")}
    split.update(assign(train, parts, seed))
    return split, "official, validation carved from train"


def shared_groups(labels: pd.DataFrame, split: pd.Series) -> pd.DataFrame:
    """Groups that more than one split holds: group, then clips in train, validation and test."""
    counts = pd.crosstab(labels["group"], split).reindex(columns=list(NAMES), fill_value=0)
    return counts[(counts > 0).sum(axis=1) > 1].rename_axis(columns=None).reset_index()


def failures(study: Path, stages: list[str], labels: pd.DataFrame) -> pd.DataFrame:
    """First failure of each labelled clip in the order of the stages: clip_id, cause, stage; "" for a good clip."""
    found = pd.DataFrame({"clip_id": labels["clip_id"], "cause": "", "stage": ""}).set_index("clip_id")
    for stage in stages:
        for shard, clips in labels.groupby("shard")["clip_id"]:
            path = study / stage / f"{shard}.csv"
            status = read_table(path).set_index("clip_id")
            waiting = clips[(found.loc[clips, "stage"] == "").to_numpy()]
            unknown = waiting[~waiting.isin(status.index)]
            if len(unknown):
                raise UserError(f"{path} says nothing of clip {unknown.iloc[0]!r}; delete it and run again")
            failed = status.loc[waiting][lambda rows: rows["status"] != "ok"]
            found.loc[failed.index, "cause"] = failed["cause"].where(failed["cause"] != "", "unknown")
            found.loc[failed.index, "stage"] = stage
    return found.reset_index()


def lacking(study: Path, forms: Mapping[str, str], labels: pd.DataFrame) -> pd.DataFrame:
    """What each labelled clip lacks: clip_id, and for each modality the cause, "" where it is there.

    forms: modality -> folder of its decoded form.
    """
    found = {name: failures(study, [form], labels)["cause"] for name, form in sorted(forms.items())}
    return pd.DataFrame({"clip_id": labels["clip_id"].to_numpy(), **found})


def keep_incomplete(clips: pd.DataFrame, lacks: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clips that lack some modalities are none that failed; those that lack all of them are.

    clips: clip_id, cause, stage and more. lacks: of `lacking`. Returns clips with a column `lacks`, names joined by
    commas; and split, label, modality, cause, clips: how many that are kept lack what.
    """
    causes = lacks.drop(columns="clip_id")
    kept = (causes == "").any(axis=1).to_numpy()
    absent = [",".join(str(name) for name, cause in row.items() if cause) for row in causes.to_dict("records")]
    clips = clips.assign(**{LACKS: np.where(kept, absent, "")})
    clips = clips.assign(**{name: clips[name].mask(kept, "") for name in ("cause", "stage")})
    told = clips[["split", "label"]].join(causes)[kept]
    told = told.melt(["split", "label"], var_name="modality", value_name="cause")
    table = told[told["cause"] != ""].groupby(["split", "label", "modality", "cause"]).size().rename("clips")
    return clips, table.reset_index()


def class_counts(used: pd.DataFrame, lost: pd.DataFrame, what: str = "class") -> pd.DataFrame:
    """label, then clips of it in train, validation and test. used, lost: clip_id, label, split, and cause. what: a
    label is.

    Raises UserError for a class that train or test has no clip of; a validation set without one is only said.
    """
    labels = sorted(set(used["label"]) | set(lost["label"]))
    table = pd.crosstab(used["label"], used["split"]).reindex(index=labels, columns=list(NAMES), fill_value=0)
    for label, counts in table.iterrows():
        for name in NAMES:
            if counts[name] == 0 and name != "validation":
                gone = lost[(lost["label"] == label) & (lost["split"] == name)]
                why = f"; {len(gone)} failed, mostly {gone['cause'].mode()[0]!r}" if len(gone) else ""
                raise UserError(
                    f"{what} {label!r} has no clip in {name} ({counts.sum()} in all{why}); leave it out or add clips"
                )
            if counts[name] == 0:
                log.warning("%s %r has no clip in validation", what, label)
    if not table["validation"].sum():
        raise UserError("validation has no clip; add clips or raise splits.validation")
    return table.rename_axis(index="label", columns=None).reset_index()


def sizes(split: pd.Series, fractions: dict[str, float]) -> pd.DataFrame:
    """split, clips, share and asked (of all clips), before any clip is lost."""
    table = pd.DataFrame({"split": NAMES, "clips": [int((split == name).sum()) for name in NAMES]})
    table["share"] = table["clips"] / max(len(split), 1)
    table["asked"] = [fractions[name] for name in NAMES]
    return table


def off(table: pd.DataFrame) -> str:
    """A phrase on splits that are far from what was asked for; empty where none is. table: of `sizes`."""
    far = table[(table["share"] - table["asked"]).abs() > FAR]
    if far.empty:
        return ""
    parts = [f"{row['split']} {row['share']:.0%} instead of {row['asked']:.0%}" for row in far.to_dict("records")]
    return f"{', '.join(parts)}: each class is spread over all splits by whole groups, and some classes have few"


def validate_fractions(fractions: dict[str, Any]) -> dict[str, float]:
    """All three splits, each above 0, sum 1."""
    if set(fractions) != set(NAMES):
        raise UserError(f"fractions: expected {', '.join(NAMES)}, got {', '.join(fractions) or 'none'}")
    for name, value in fractions.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise UserError(f"the fraction of {name} is a number between 0 and 1, not {value!r}")
    if not np.isclose(sum(fractions.values()), 1):
        raise UserError(f"the fractions sum to {sum(fractions.values()):g}, not to 1")
    return fractions
