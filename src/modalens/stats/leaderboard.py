"""Stage `leaderboard`: the models of one task side by side, on the same test clips and seeds, with all modalities.

Each is compared with one reference model. A difference counts when it would be there for other groups of clips and for
other training seeds: p is the larger one of a sign-flip test over groups and of a paired t-test over seeds. Either
alone is not enough: with many clips the luck of five seeds is a clear difference, with many seeds that of few clips.
The comparisons of a table are one family for Holm's correction: those of one task, and on the page those of all tasks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from modalens.stats.bootstrap import Bootstrap, kind_of
from modalens.stats.metrics import TOP, Array
from modalens.stats.significance import both_tests, corrected
from modalens.stats.targets import CLASSES, TARGETS, Counts, axes_of, count
from modalens.utils.errors import UserError

METRICS = ("accuracy", "balanced_accuracy", "f1", *TOP)  # of classes; of another kind of target all of its own
LEVEL = 0.05
REFERENCE = "reference"
NOT_DISTINGUISHABLE = "not distinguishable"
COMPARED = [
    "metric",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
    "detectable",
    "p_groups",
    "p_seeds",
    "p",
    "p_holm",
]


def leaderboard(predictions: Mapping[str, pd.DataFrame], reference: str, **options: Any) -> pd.DataFrame:
    """{model: predictions} -> rank, model, sizes, metrics, COMPARED and `verdict`, a row a model, best first.

    predictions: clip_id, group, seed, label, predicted, log_probability of the full input, and target. rank: equals
    share their mean. Mean and standard deviation (ddof=1) over seeds of accuracy, balanced accuracy, macro F1 and, of
    more classes, top-3 and top-5 accuracy; or of the metrics of another kind of target. metric: the one that the rest
    is about, accuracy, r2 or micro_f1. low, high:
    over groups and seeds. difference: to the reference, with its own interval; p_groups is of what adds up over clips,
    accuracy, squared error or right decisions on tags. detectable: the
    smallest difference that this test set and these seeds would have shown (power 0.8); empty under
    significance.FEWEST_GROUPS groups. verdict: better, worse, not
    distinguishable, untested (neither two groups nor two seeds), or reference. options: Bootstrap's replicates,
    confidence and seed. Raises UserError for an unknown reference and for models that were not tested on the same clips
    with the same seeds.
    """
    if reference not in predictions:
        raise UserError(f"report.model: {reference!r} is none of {', '.join(predictions)}")
    for name in predictions:
        _check_same(predictions, name, reference)
    columns = ["group", "seed", "label", "predicted"]
    columns += ["target"] if all("target" in frame for frame in predictions.values()) else []
    axes = axes_of(pd.concat([frame[columns] for frame in predictions.values()]))
    counts = {name: count(frame, axes) for name, frame in predictions.items()}
    bootstrap = Bootstrap(len(axes.groups), len(axes.seeds), **options)
    return ranking(counts, reference, bootstrap, predictions[reference]["clip_id"].nunique())


def ranking(counts: Mapping[str, Counts], reference: str, bootstrap: Bootstrap, clips: int) -> pd.DataFrame:
    """The same from what was counted of each model."""
    size = {"seeds": bootstrap.seeds, "clips": clips, "groups": bootstrap.groups}
    base = bootstrap.metrics(counts[reference])
    kind = next(name for name, target in TARGETS.items() if target.metrics[0] in base)
    main = TARGETS[kind].metrics[0]
    shown = [name for name in (METRICS if kind == CLASSES else TARGETS[kind].metrics) if name in base]
    rows = []
    for name, own in counts.items():
        metrics = bootstrap.metrics(own)
        row = {"model": name, **size, **_spread(metrics, shown), "metric": main, "difference": 0.0}
        row["low"], row["high"] = bootstrap.interval(metrics[main], kind_of(main, difference=False))
        if name != reference:
            differences = metrics[main] - base[main]
            row["difference"] = float(differences[0].mean())
            found = bootstrap.summary(differences, kind_of(main, difference=True))
            row |= {f"difference_{end}": found[end] for end in ("low", "high")}
            row["detectable"] = found["detectable"]
            # What adds up over clips. Under two groups or two seeds the other test stands alone.
            summed = [each.per_group(TARGETS[kind].tested[0]) for each in (own, counts[reference])]
            row |= both_tests(summed[0] - summed[1], differences[0])
        rows.append(row)
    columns = ["rank", "model", "seeds", "clips", "groups", *(f"{m}{part}" for m in shown for part in ("", "_std"))]
    table = pd.DataFrame(rows).reindex(columns=[*columns, *COMPARED])
    table["verdict"] = np.where(table["model"] == reference, REFERENCE, "")
    table = judged(table)
    # Of what is equal but for rounding neither is the better one.
    table["rank"] = table[main].round(12).rank(ascending=False)
    return table.sort_values("rank", kind="stable").reset_index(drop=True)


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `p_holm` and `verdict` for all its comparisons as one family: of one task, or of several."""
    table = corrected(table, p="p")
    pairs = zip(table["verdict"], table["difference"], table["p_holm"], strict=True)
    return table.assign(verdict=[was if was == REFERENCE else _verdict(*rest) for was, *rest in pairs])


def _spread(metrics: Mapping[str, Array], shown: Sequence[str]) -> dict[str, Any]:
    spread = {}
    for metric in shown:
        values = metrics[metric][0]
        spread[metric] = float(values.mean())
        spread[f"{metric}_std"] = float(values.std(ddof=1)) if len(values) > 1 else np.nan
    return spread


def _verdict(difference: float, p_holm: float) -> str:
    if np.isnan(p_holm):
        return "untested"
    if p_holm >= LEVEL:
        return NOT_DISTINGUISHABLE
    return "better" if difference > 0 else "worse"


def _check_same(predictions: Mapping[str, pd.DataFrame], name: str, reference: str) -> None:
    key = ["clip_id", "seed", "group", "label"]
    one, other = (predictions[model][key].sort_values(key).to_numpy() for model in (name, reference))
    if not np.array_equal(one, other):
        raise UserError(f"{name!r} and {reference!r} were not tested on the same clips and seeds: evaluate again")
