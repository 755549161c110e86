"""Two more tables for docs/calibration: what `pid` is off by, and what no estimator of a Shapley value could go below.

pid.csv: settings of two modalities with 2,000 clips, against the decomposition (BROJA) of the joint distribution.
floor.csv: mean absolute error of the Shapley values (`used`) of who has only a sample of one kind and knows the rest.
`clips`: the test clips, and what all trainings say of each cell on average. `trainings`: as many trainings as the
setting has, and the true distribution of the clips. An estimator has both against it.
"""

import argparse
import sys
import time
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from calibration_sampling import TRAININGS, Cells, cells_of, truth
from calibration_settings import WORLDS, Setting, settings

from modalens.measures.pid import Pid
from modalens.stats.coalitions import coalitions, shapley_values, to_text
from modalens.stats.information import decomposition

DOCS = Path(__file__).resolve().parents[1] / "docs" / "calibration"
CLIPS, SEEDS = 2000, 3
MOST_CLASSES = 8  # cells of `pid`: of more classes its cells are as many as these
TOTALS = ("cells", "log_probability")
PARTS = {"redundant": "redundant", "unique": "unique_audio", "unique_other": "unique_video", "synergy": "synergy"}


def sampled(setting: Setting, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """cell and group of each clip, as in calibration_sampling.draw."""
    cells = cells_of(setting.world)
    groups = setting.clips // setting.per_group
    cell = rng.choice(len(cells.chance), size=(groups, setting.per_group), p=cells.chance / cells.chance.sum())
    cell = np.where(rng.random(cell.shape) < setting.alike, cell[:, :1], cell).ravel()
    return cell, np.repeat(np.arange(groups), setting.per_group)


def predictions(cells: Cells, noise: float, cell: np.ndarray, seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """The table that `pid` reads."""
    names = [f"c{index:02d}" for index in range(cells.classes)]
    ids = [f"clip{index:05d}" for index in range(len(cell))]
    frames = []
    for kept in coalitions(cells.joint.modalities):
        _, told = cells.answers(kept, seeds, noise, rng)
        for seed in range(seeds):
            values = told[seed, cell]
            frame = pd.DataFrame(np.exp(values), columns=[f"p_{name}" for name in names])
            frame["clip_id"] = frame["group"] = ids
            label = cells.label[cell]
            frame["label"], frame["predicted"] = np.array(names)[label], np.array(names)[values.argmax(1)]
            frame["log_probability"] = values[np.arange(len(cell)), label]
            withheld = "" if kept == cells.joint.modalities else "blank@input"
            frames.append(frame.assign(model="joint", seed=seed, coalition=to_text(kept), replacement=withheld))
    return pd.concat(frames, ignore_index=True)


def of_pid(sets: int) -> pd.DataFrame:
    """setting, noise, total, part: truth, bias and mean absolute error over test sets, in bits."""
    rows = []
    for name, world in WORLDS.items():
        cells = cells_of(name)
        if len(cells.joint.modalities) > 2 or world.handicap or cells.classes > MOST_CLASSES:
            continue
        known = decomposition(cells.joint)
        for noise in (0.0, 1.0):
            rng, started = np.random.default_rng(zlib.crc32(f"{name} {noise}".encode())), time.perf_counter()
            found = []
            for _ in range(sets):
                cell, _ = sampled(Setting(name, CLIPS), rng)
                said = predictions(cells, noise, cell, SEEDS, rng)
                tables = [Pid(bootstrap=200, total=total)(said).set_index("part") for total in TOTALS]
                found.append([table.loc[list(PARTS), "value"].to_numpy() for table in tables])
            for (at, total), (place, part) in product(enumerate(TOTALS), enumerate(PARTS.values())):
                value = np.array(found, np.float64)[:, at, place]
                true = known[part]
                row = {"setting": name, "noise": noise, "total": total, "part": part, "truth": true}
                rows.append(row | {"bias": (value - true).mean(), "mae": np.abs(value - true).mean(), "sets": sets})
            print(f"{time.perf_counter() - started:6.1f} s  {name}, noise {noise:g}", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def trained(cells: Cells, setting: Setting, metric: str, rng: np.random.Generator) -> dict[tuple[str, ...], float]:
    """coalition -> what the setting's trainings reach on all clips there are."""
    game = {}
    for kept in coalitions(cells.joint.modalities):
        predicted, told = cells.answers(kept, setting.seeds, setting.noise, rng)
        right = predicted == cells.label
        of_truth = np.take_along_axis(told, cells.label[None, :, None], 2)[:, :, 0]
        game[kept] = float((right if metric == "accuracy" else of_truth).mean(0) @ cells.chance)
    return game


def of_floor(sets: int) -> pd.DataFrame:
    """setting, metric, modality: mean absolute error where only the clips, or only the trainings, are a sample."""
    rows = []
    for setting in settings():
        if setting.clips < CLIPS:
            continue
        cells, known = cells_of(setting.world), truth(setting.world, setting.noise)
        rng, names = np.random.default_rng(zlib.crc32(setting.name.encode())), cells.joint.modalities
        # Few trainings will do: their mean differs from that of all by the same in every test set.
        told = {}
        part = max(1, min(TRAININGS, 4_000_000 // (len(cells.chance) * cells.classes)))
        for kept in coalitions(names):
            _, values = cells.answers(kept, part, setting.noise, rng)
            told[kept] = np.take_along_axis(values, cells.label[None, :, None], 2)[:, :, 0].mean(0)
        for metric, each in (("accuracy", known.right), ("log_probability", told)):
            true = shapley_values({kept: float(cells.chance @ values) for kept, values in each.items()})
            shares = (np.bincount(sampled(setting, rng)[0], minlength=len(cells.chance)) for _ in range(sets))
            of_clips = [{kept: float(one @ values) / setting.clips for kept, values in each.items()} for one in shares]
            of_trainings = [trained(cells, setting, metric, rng) for _ in range(sets)]
            for name in names:
                row = {"setting": setting.name, "metric": metric, "of": name, "sets": sets}
                for what, games in (("clips", of_clips), ("trainings", of_trainings)):
                    row[what] = np.mean([abs(shapley_values(game)[name] - true[name]) for game in games])
                rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=200, help="test sets of each setting, of the floor")
    parser.add_argument("--pid-sets", type=int, default=10, help="the same of pid, which takes longer")
    parser.add_argument("--only", nargs="+", default=["floor", "pid"])
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    makers = {"floor": lambda: of_floor(arguments.sets), "pid": lambda: of_pid(arguments.pid_sets)}
    for name in arguments.only:
        table = makers[name]()
        table.round(4).to_csv(arguments.output / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
