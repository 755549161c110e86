"""Does what modalens prints hold where the answer is known? `make calibration` -> docs/calibration/*.csv and figures.

For each setting of calibration_settings.py so many test sets, each with trainings of its own; of each the intervals,
tests and sentences that a study would print, by the library's own code, are held against the truth.
"""

import argparse
import os
import sys
import time
import zlib
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from calibration_claims import Facts, false_parts, kind
from calibration_sampling import REPLACEMENT, Cells, TestSet, Truth, cells_of, draw, truth
from calibration_settings import Setting, settings

from modalens.measures.coalition_values import CoalitionValues
from modalens.measures.interaction import Interaction
from modalens.measures.leave_one_out import LeaveOneOut
from modalens.measures.shapley import Shapley
from modalens.reporting import summary
from modalens.reporting.model_scores import ModelScores
from modalens.reporting.study_results import Study
from modalens.reporting.summary import Finding
from modalens.stats.coalitions import Coalition, from_text, interaction_values, shapley_values, to_text
from modalens.stats.leaderboard import NOT_DISTINGUISHABLE, ranking

DOCS = Path(__file__).resolve().parents[1] / "docs" / "calibration"
METRICS = ("accuracy", "log_probability")
PERMUTATIONS, LEVEL, TASK = 999, 0.05, "task"
PART = 100  # test sets of a recount that a process makes at a time
Rows = list[dict[str, Any]]
Found = dict[tuple[str, ...], tuple[float, float, float, float]]  # (truth, estimate, low, high)


def measures_of(test: TestSet, imbalanced: bool) -> dict[str, Rows]:
    """What a study measures of the joint model; of the others what the sentences want."""
    metrics = ("accuracy", "log_probability", *(["balanced_accuracy"] if imbalanced else []))
    singles = [model for kept, model in test.experts.items() if len(kept) == 1]
    tables = [
        LeaveOneOut(metrics=metrics, permutations=PERMUTATIONS).of([test.joint]),
        LeaveOneOut(metrics=metrics[-1 if imbalanced else 0 :][:1], permutations=1).of(singles),
    ]
    found = {
        "leave_one_out": pd.concat(tables, ignore_index=True),
        "coalition_values": CoalitionValues(metrics=metrics).of([test.joint]),
        "interaction": Interaction(value_functions=metrics).of([test.joint]),
        "shapley": Shapley(value_functions=METRICS[:2]).of([test.joint, *test.experts.values()]),
    }
    return {name: table.to_dict("records") for name, table in found.items()}  # type: ignore[misc]


def estimates(tables: dict[str, Rows], test: TestSet, known: Truth, cells: Cells) -> Found:
    """(measure, quantity, of what, interval over) -> truth, estimate and interval."""
    names, found = test.joint.modalities, {}
    for row in _of_joint(tables["leave_one_out"]):
        values, metric, modality = known.reached[row["metric"]], row["metric"], row["modality"]
        kept = tuple(name for name in names if name != modality)
        key = ("leave_one_out", metric)
        found[*key, "all modalities", "both"] = values[names], row["full"], row["full_low"], row["full_high"]
        true = values[names] - values[kept]
        found[*key, f"drop of {modality}", "both"] = true, row["drop"], row["low"], row["high"]
        if metric == "accuracy":
            # Of these trainings on all clips, and of all trainings on these clips.
            change = (test.right[names].astype(float) - test.right[kept]).mean(0)
            share = np.bincount(test.cell, minlength=len(cells.chance)) / test.clips
            of_groups, of_seeds = float(cells.chance @ change), float(share @ (known.right[names] - known.right[kept]))
            for over, true in (("groups", of_groups), ("seeds", of_seeds)):
                ends = row[f"{over}_low"], row[f"{over}_high"]
                found[*key, f"drop of {modality}", over] = true, row["drop"], *ends
    for row in tables["coalition_values"]:
        kept, values = from_text(row["coalition"]), known.reached[row["metric"]]
        if len(kept) < len(names) - 1:
            key = ("coalition_values", row["metric"], f"lost with {row['coalition'] or 'none'}", "both")
            found[key] = values[names] - values[kept], row["lost"], row["low"], row["high"]
    for row in tables["interaction"]:
        true = interaction_values(known.reached[row["value_function"]])[row["modality"], row["other"]]
        key = ("interaction", row["value_function"], f"{row['modality']} and {row['other']}", "both")
        found[key] = true, row["value"], row["low"], row["high"]
    for row in _of_joint(tables["shapley"]):
        game = dict(known.reached[row["value_function"]])
        if row["notion"] == "available":
            game[()] = known.none[row["value_function"]]
        true = shapley_values(game)[row["modality"]]
        key = (f"shapley {row['notion']}", row["value_function"], row["modality"], "both")
        found[key] = true, row["value"], row["low"], row["high"]
        total = game[names] - game[()]
        if not np.isnan(row["share"]) and abs(total) > 0.002:
            key = (f"shapley {row['notion']}", f"share of {row['value_function']}", row["modality"], "both")
            found[key] = true / total, row["share"], row["share_low"], row["share_high"]
    return found


def scores_of(test: TestSet, cells: Cells) -> dict[str, ModelScores]:
    """What the report reads of each model's predictions."""
    scores = {}
    present = np.unique(cells.label[test.cell])
    for model in (test.joint, *test.experts.values()):
        flat = model.counts[model.modalities].matrix @ np.bincount(test.cell, minlength=len(cells.chance))
        confusion = flat.reshape(test.bootstrap.seeds, -1)[:, :-1].reshape(-1, cells.classes, cells.classes)
        # The page knows the classes that are true or named.
        seen = np.union1d(present, np.flatnonzero(confusion.sum((0, 1))))
        confusion = confusion[:, seen][:, :, seen]
        share = np.bincount(cells.label, cells.chance)
        chance = float((cells.label[test.cell] == share.argmax()).mean())
        where = {("", to_text(model.modalities)): confusion}
        scores[model.model] = ModelScores(
            model.modalities,
            [str(one) for one in seen],
            test.clips,
            test.bootstrap.groups,
            chance,
            where,
            test.bootstrap.seeds,
        )
    return scores


class DrawnStudy(Study):
    """A study whose predictions were drawn. What it decides, the headline model and the metric, stays its own."""

    def __init__(self, tables: dict[str, Rows], scores: dict[str, ModelScores]) -> None:
        self.root, self.config, self.tables = DOCS, {}, tables  # DOCS: where no leaderboard lies
        self.scores = {TASK: scores}
        self.replacement = REPLACEMENT

    # Rows as they are: a data frame of each test set's few would take as long as all the rest.
    def measure(self, name: str) -> Rows:  # type: ignore[override]
        return self.tables.get(name, [])


def finding(tables: dict[str, Rows], scores: dict[str, ModelScores]) -> Finding:
    """What the report would say."""
    with patch.object(summary, "rows_of", _rows):
        return summary.find(DrawnStudy(tables, scores), TASK)


def _rows(rows: Rows, task: str, **equal: str) -> Rows:
    del task
    return [row for row in rows if all(row[column] == value for column, value in equal.items())]


def _of_joint(rows: Rows) -> Rows:
    return _rows(rows, TASK, model="joint")


def facts_of(known: Truth, metric: str, names: Coalition) -> Facts:
    values = known.reached[metric]
    return Facts(values, known.none[metric], {name: values[name,] for name in names})


def tests_of(tables: dict[str, Rows], test: TestSet, known: Truth) -> dict[tuple[str, str, bool], bool]:
    """(test, of what, whether there is something to find) -> whether it was found."""
    found = {}
    for row in _of_joint(tables["leave_one_out"]):
        if row["metric"] not in METRICS:
            continue
        kept = tuple(name for name in test.joint.modalities if name != row["modality"])
        values = known.reached[row["metric"]]
        there = abs(values[test.joint.modalities] - values[kept]) > 0.002
        found[f"leave_one_out {row['metric']}", row["modality"], there] = row["p_value"] < LEVEL
        found[f"leave_one_out {row['metric']}, Holm", row["modality"], there] = row["p_holm"] < LEVEL
    board = ranking(test.rivals, "joint", test.bootstrap, test.clips).set_index("model")
    names = test.joint.modalities
    # Trained alike, `again` differs by nothing; but a joint model with a handicap is not what is trained alike.
    gap = abs(known.reached["accuracy"][names] - known.reached["accuracy"][names[1:]])
    for rival, there in (("again", False), ("without", gap > 0.002)):
        verdict = board.loc[rival, "verdict"]
        found["leaderboard", rival, there] = verdict != NOT_DISTINGUISHABLE
    return found


def run(setting: Setting, sets: int) -> tuple[list[dict], list[dict], list[dict]]:
    """Rows of the intervals, of the tests and of the sentences."""
    rng = np.random.default_rng(zlib.crc32(setting.name.encode()))
    known, cells = truth(setting.world, setting.noise), cells_of(setting.world)
    intervals: dict[tuple[str, ...], list[tuple[float, ...]]] = defaultdict(list)
    tests: dict[tuple[str, str, bool], list[bool]] = defaultdict(list)
    said: dict[str, int] = defaultdict(int)
    false: dict[str, int] = defaultdict(int)
    wrong = leads = 0
    for _ in range(sets):
        test = draw(setting, rng)
        scores = scores_of(test, cells)
        tables = measures_of(test, scores["joint"].imbalanced)
        for key, values in estimates(tables, test, known, cells).items():
            intervals[key].append(values)
        for name, hit in tests_of(tables, test, known).items():
            tests[name].append(bool(hit))
        told = finding(tables, scores)
        names = test.joint.modalities
        parts = false_parts(told.lead, told.text, told.notes, facts_of(known, told.metric, names))
        wrong += bool(parts)
        leads += not told.lead.startswith(("cannot tell", "too few"))
        bounds = ["a drop of at most"] if "a drop of at most" in told.text else []
        for part in {
            kind(part, names) for part in [*told.lead.split("; "), *bounds, *(n.split(",")[0] for n in told.notes)]
        }:
            said[part] += 1
        for part in {kind(part, names) for part in parts}:
            false[part] += 1
    key = {"setting": setting.name}
    rows = [key | _interval_row(name, np.array(values)) for name, values in intervals.items()]
    hits = [
        key | {"test": one, "of": of, "there": there, "found": np.mean(values), "sets": len(values)}
        for (one, of, there), values in tests.items()
    ]
    sentences = [key | {"sentence": "any", "said": leads / sets, "false": wrong / sets, "sets": sets}]
    sentences += [
        key | {"sentence": part, "said": count / sets, "false": false[part] / sets, "sets": sets}
        for part, count in said.items()
    ]
    return rows, hits, sentences


def _interval_row(name: tuple[str, ...], values: np.ndarray) -> dict[str, Any]:
    true, estimate, low, high = values.T
    covered = (low <= true + 1e-9) & (true - 1e-9 <= high)
    row = dict(zip(("measure", "metric", "of", "over"), name, strict=True))
    row |= {"truth": true.mean(), "bias": (estimate - true).mean(), "mae": np.abs(estimate - true).mean()}
    return row | {"coverage": covered.mean(), "width": (high - low).mean(), "sets": len(values)}


def recount(name: str, part: int, sets: int) -> dict[tuple[str, str, bool], int]:
    """How often each test of a setting finds something in other test sets, by test, of what, and whether it is there"""
    setting = next(one for one in settings() if one.name == name)
    rng = np.random.default_rng(zlib.crc32(f"again {name} {part}".encode()))
    known = truth(setting.world, setting.noise)
    hits: dict[tuple[str, str, bool], int] = defaultdict(int)
    for _ in range(sets):
        test = draw(setting, rng)
        loss = LeaveOneOut(metrics=METRICS, permutations=PERMUTATIONS).of([test.joint])
        for key, hit in tests_of({"leave_one_out": loss.to_dict("records")}, test, known).items():
            hits[key] += bool(hit)
    return hits


def _recount_all(folder: Path, sets: int, cores: int) -> None:
    """The tests that found too much where nothing is: is it the luck of few test sets?"""
    table = pd.read_csv(folder / "tests.csv")
    high = table[~table["there"] & (table["found"] > LEVEL)]
    parts = -(-sets // PART)
    with ProcessPoolExecutor(cores) as pool:
        # Whole at a time: the settings of the most clips, which last longest, come last in the table.
        keys = [(str(name), part) for name in reversed(high["setting"].unique()) for part in range(parts)]
        counts = list(pool.map(recount, *zip(*keys, strict=True), [PART] * len(keys)))
    found = [
        sum(
            hits.get((row["test"], row["of"], row["there"]), 0)
            for (name, _), hits in zip(keys, counts, strict=True)
            if name == row["setting"]
        )
        for row in high.to_dict("records")
    ]
    again = high.assign(recount=np.array(found) / (parts * PART), recount_sets=parts * PART)
    again.round(4).to_csv(folder / "recount.csv", index=False, lineterminator="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=200, help="test sets of each setting")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="settings whose name holds this")
    parser.add_argument("--recount", type=int, default=0, help="test sets for what found too much where nothing is")
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    if arguments.recount:
        _recount_all(arguments.output, arguments.recount, arguments.cores)
        return
    chosen = [setting for setting in settings() if arguments.only in setting.name]
    started, parts = time.perf_counter(), []
    arguments.output.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(arguments.cores) as pool:
        running = {pool.submit(run, setting, arguments.sets): setting for setting in chosen}
        for done in as_completed(running):
            parts.append(done.result())
            print(f"{time.perf_counter() - started:6.0f} s  {running[done].name}", file=sys.stderr, flush=True)
            _write(parts, [setting.name for setting in chosen], arguments.output)


def _write(parts: list[Any], order: list[str], folder: Path) -> None:
    """What there is so far."""
    for name, tables in zip(("intervals", "tests", "sentences"), zip(*parts, strict=True), strict=True):
        table = pd.DataFrame([row for rows in tables for row in rows]).round(3)
        table["setting"] = pd.Categorical(table["setting"], order, ordered=True)
        table = table.sort_values("setting", kind="stable")
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    main()
