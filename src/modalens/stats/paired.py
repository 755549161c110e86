"""Models from several studies or programs side by side: on the clips that all of them were tested on, in pairs.

The tests are those of the leaderboard: p is the larger one of a sign-flip test over groups and of a paired t-test over
seeds, and all comparisons of a table are one family for Holm's correction.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from modalens.stats.bootstrap import Bootstrap, kind_of
from modalens.stats.coalitions import from_text, to_text
from modalens.stats.leaderboard import REFERENCE, judged
from modalens.stats.metrics import Array, CountAxes, count_confusions
from modalens.stats.significance import both_tests
from modalens.utils.errors import UserError
from modalens.utils.words import counted

METRICS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "f1": "macro F1"}
DROP = "accuracy lost without "
OF_A_LOSS = {"better": "larger", "worse": "smaller"}
COLUMNS = ["quantity", "name", "value", "low", "high", "difference", "difference_low", "difference_high", "detectable"]
COLUMNS += ["p_groups", "p_seeds", "p", "p_holm", "verdict", "clips", "groups", "seeds"]


def compare(tables: Mapping[str, pd.DataFrame], replacement: str = "", **options: Any) -> pd.DataFrame:
    """{name: predictions of one model, as `aligned` gives them} -> COLUMNS: each quantity of each against the first.

    Quantities: accuracy, balanced accuracy and macro F1 with all modalities, and the accuracy that is lost without each
    modality that all of them have, where `replacement` takes its place. Only what is counted clip by clip, accuracy, is
    tested; the others have intervals. verdict: better or worse of what is to be high, larger or smaller of what is
    lost, not distinguishable, untested, or reference. options: Bootstrap's replicates, confidence and seed.
    """
    first, *_ = tables
    axes = CountAxes.from_frame(
        pd.concat([frame[["group", "seed", "label", "predicted"]] for frame in tables.values()])
    )
    size = {"clips": tables[first]["clip_id"].nunique(), "groups": len(axes.groups), "seeds": len(axes.seeds)}
    bootstrap = Bootstrap(size["groups"], size["seeds"], **options)
    modalities = shared_modalities(tables, replacement)
    found = {name: dict(_quantities(frame, axes, bootstrap, modalities, replacement)) for name, frame in tables.items()}
    rows = []
    for quantity in found[first]:
        for name in tables:
            values, by_group = found[name][quantity]
            kind = kind_of("accuracy", difference=quantity.startswith(DROP))
            row: dict[str, Any] = {"quantity": quantity, "name": name, "value": float(values[0].mean()), **size}
            row["low"], row["high"] = bootstrap.interval(values, kind)
            if name != first:
                base, base_by_group = found[first][quantity]
                change = values - base
                spread = bootstrap.summary(change, "difference")
                row["difference"] = float(change[0].mean())
                row["detectable"] = spread["detectable"]
                row |= {f"difference_{end}": spread[end] for end in ("low", "high")}
                if by_group is not None and base_by_group is not None:
                    row |= both_tests(by_group - base_by_group, change[0])
            rows.append(row)
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["verdict"] = np.where(table["name"] == first, REFERENCE, "")
    return judge(table)


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `p_holm` and `verdict`, all its comparisons as one family: of one task, or of several."""
    table = judged(table)
    lost = table["quantity"].str.startswith(DROP)
    return table.assign(verdict=table["verdict"].mask(lost, table["verdict"].replace(OF_A_LOSS)))


def shared_modalities(tables: Mapping[str, pd.DataFrame], replacement: str) -> list[str]:
    """Those that are withheld, each alone, in every table, with this replacement."""
    shared: list[set[str]] = []
    for frame in tables.values():
        everything = _all_of(frame)
        kept = set(frame.loc[frame["replacement"] == replacement, "coalition"].unique()) if replacement else set()
        shared.append({name for name in everything if to_text([one for one in everything if one != name]) in kept})
    return sorted(set.intersection(*shared))


def aligned(tables: Mapping[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Predictions on the clips that all tables hold, seeds numbered alike -> (tables, what was left out, in sentences).

    Raises UserError, one line, for tables of other labels or groups, or without a common clip.
    """
    first, *others = tables
    shared = set.intersection(*(set(frame["clip_id"].unique()) for frame in tables.values()))
    if not shared:
        shown = ", ".join(f"{frame['clip_id'].iloc[0]!r} in {name}" for name, frame in tables.items())
        raise UserError(f"compare: no clip is in all of them: expected the same clip ids, got {shown}")
    notes = [
        f"{len(shared)} of {count} clips of {name} are in all of them."
        for name, frame in tables.items()
        if (count := frame["clip_id"].nunique()) > len(shared)
    ]
    made = {name: frame[frame["clip_id"].isin(shared)].copy() for name, frame in tables.items()}
    for name in others:
        _check_labels(made[first], made[name], first, name)
    _same_groups(made)
    seeds = {name: sorted(frame["seed"].unique()) for name, frame in made.items()}
    count = min(map(len, seeds.values()))
    if len({tuple(numbers) for numbers in seeds.values()}) > 1:
        told = ", ".join(f"{len(numbers)} of {name}" for name, numbers in seeds.items())
        notes.append(f"Seeds differ ({told}): they are paired in order, {count} of each.")
    for name, frame in made.items():
        numbers = {seed: place for place, seed in enumerate(seeds[name][:count])}
        frame = frame[frame["seed"].isin(numbers)]
        made[name] = frame.assign(seed=frame["seed"].map(numbers))
    return made, notes


def identical(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """A sentence for each table that names the same class as the first one in every case: all differences are 0."""
    first, *others = tables
    key = ["clip_id", "seed", "replacement", "coalition", "predicted"]
    named = {name: frame[key].sort_values(key[:-1]).to_numpy() for name, frame in tables.items()}
    return [
        f"{name} and {first} name the same class for every clip, seed and input: is it the same table twice?"
        for name in others
        if np.array_equal(named[first], named[name])
    ]


def _quantities(
    frame: pd.DataFrame, axes: CountAxes, bootstrap: Bootstrap, modalities: list[str], replacement: str
) -> Iterator[tuple[str, tuple[Array, Array | None]]]:
    """(what, ((1 + replicates, seeds), sum over each group's clips and all seeds, where it is one))."""
    everything = _all_of(frame)
    counts = count_confusions(frame[frame["replacement"] == ""], axes)
    metrics = bootstrap.metrics(counts)
    for metric, words in METRICS.items():
        yield words, (metrics[metric], counts.per_group(metric) if metric == "accuracy" else None)
    for name in modalities:
        rest = to_text([one for one in everything if one != name])
        without = count_confusions(frame[(frame["replacement"] == replacement) & (frame["coalition"] == rest)], axes)
        lost = metrics["accuracy"] - bootstrap.metrics(without)["accuracy"]
        yield DROP + name, (lost, counts.per_group("accuracy") - without.per_group("accuracy"))


def _all_of(frame: pd.DataFrame) -> tuple[str, ...]:
    return from_text(frame.loc[frame["replacement"] == "", "coalition"].iloc[0])


def _check_labels(one: pd.DataFrame, other: pd.DataFrame, first: str, name: str) -> None:
    labels, theirs = (frame.drop_duplicates("clip_id").set_index("clip_id")["label"] for frame in (one, other))
    theirs = theirs.reindex(labels.index)
    wrong = labels[labels != theirs]
    if len(wrong):
        clip = wrong.index[0]
        raise UserError(
            f"compare: {counted(len(wrong), 'clip has', 'clips have')} other labels: {clip!r} is {labels[clip]!r} in "
            f"{first} and {theirs[clip]!r} in {name}; are these the same task?"
        )


def _same_groups(tables: dict[str, pd.DataFrame]) -> None:
    """In place. A table without groups, where each clip is its own, takes those of the others."""
    known = {name: frame.drop_duplicates("clip_id").set_index("clip_id")["group"] for name, frame in tables.items()}
    real = {name: groups for name, groups in known.items() if (groups != groups.index).any()}
    if not real:
        return
    first, groups = next(iter(real.items()))
    for name, others in real.items():
        others = others.reindex(groups.index)
        if (others != groups).any():
            clip = others.index[(others != groups).to_numpy()][0]
            raise UserError(
                f"compare: the groups differ: {clip!r} is of {groups[clip]!r} in {first}, of {others[clip]!r} in {name}"
            )
    for name, frame in tables.items():
        tables[name] = frame.assign(group=frame["clip_id"].map(groups))
