"""What the report says of models side by side: a study folder -> tables and sentences."""

from typing import Any

import pandas as pd

from modalens.reporting.study_results import Study
from modalens.reporting.tables import read
from modalens.search.space import SCORE
from modalens.stats.leaderboard import judged
from modalens.stats.significance import FEWEST_GROUPS
from modalens.utils.words import counted

FIXED = ("task", "model", "trial", "chosen", "status", SCORE, "validation_accuracy", "best_epoch", "epochs", "seconds")


def boards(study: Study) -> pd.DataFrame:
    """leaderboard/<task>.csv of all tasks, models of the config, and `score`, `score_std` in the task's metric; empty
    where there is nothing to compare."""
    paths = {task: study.root / "leaderboard" / f"{task}.csv" for task in study.tasks}
    tables = [read(path, "leaderboard", task) for task, path in paths.items() if path.exists()]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    if table.empty:
        return table
    table = table[table["model"].isin(study.models)].copy()
    if len(set(table["model"])) < 2:
        return pd.DataFrame()
    for part in ("", "_std"):
        table[f"score{part}"] = [row[f"{row['metric']}{part}"] for row in table.to_dict("records")]
    # A file is of one task; what is read together is one family.
    return judged(table)


def ranks(board: pd.DataFrame) -> pd.DataFrame:
    """model, mean_rank over the tasks, and the score in each task, best first. Empty for one task."""
    if board.empty or board["task"].nunique() < 2:
        return pd.DataFrame()
    table = board.pivot_table(index="model", columns="task", values="score", sort=False)
    table = table[list(dict.fromkeys(board["task"]))]
    table.insert(0, "mean_rank", board.groupby("model")["rank"].mean())
    table.columns.name = None
    # A model that was not tried in every task has no place among those that were.
    return table.dropna().sort_values("mean_rank", kind="stable").reset_index()


def trials(study: Study) -> pd.DataFrame:
    """search/<task>/<model>/trials.csv of the study; empty where there was no search."""
    if not _budget(study):
        return pd.DataFrame()
    paths = {(t, m): study.root / "search" / t / m / "trials.csv" for t in study.tasks for m in study.models}
    tables = [read(path, "trials").assign(task=t, model=m) for (t, m), path in paths.items() if path.exists()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def choices(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """For each task and model: task, model, trials, diverged, own and best (scores: of the config's settings, of the
    chosen ones), changed, settings in words."""
    rows = []
    for (task, model), part in trials.groupby(["task", "model"], sort=False) if len(trials) else ():
        best = part[part["chosen"]].iloc[0]
        varied = [name for name in part.columns if name not in FIXED and part[name].notna().any()]
        row = {"task": task, "model": model, "trials": len(part), "diverged": int((part["status"] != "ok").sum())}
        row |= {"own": part.loc[part["trial"] == 0, SCORE].item(), "best": best[SCORE], "changed": best["trial"] != 0}
        rows.append(row | {"settings": ", ".join(f"{name} {_shown(best[name])}" for name in varied)})
    return rows


def sentences(study: Study, board: pd.DataFrame, choices: list[dict[str, Any]]) -> list[str]:
    """What was compared with what, over how many seeds, and with what effort of search."""
    seeds = int(board["seeds"].min())
    tasks = board["task"].nunique()
    family = f"{counted(int(board['p'].count()), 'comparison')} of {'the task' if tasks == 1 else f'all {tasks} tasks'}"
    said = [
        f"Every model is compared with {board['reference'].iloc[0]}, on the same test clips and the same {seeds} "
        f"seed{'s' * (seeds > 1)}, with all modalities given. p is the larger one of a sign-flip test over groups and "
        f"a paired t-test over seeds, by Holm's method for the {family}; a difference is called "
        "one where that is below 0.05; elsewhere two models are not distinguishable, which does not say that they are "
        "equally good."
    ]
    if seeds < 2:
        said.append("With one seed the luck of a training is not told from a difference between models.")
    groups = int(board["groups"].min()) if "groups" in board else FEWEST_GROUPS
    if 1 < groups < FEWEST_GROUPS:
        said.append(
            f"With {counted(groups, 'test group')} no such test is ever below 0.05, however far apart two models are, "
            "and the intervals of the differences are as wide."
        )
    if not choices:
        said.append(
            "There was no search: every model has the settings of the config, which may suit some better than others."
        )
        return said
    least, most = (pick(row["trials"] for row in choices) for pick in (min, max))
    number = f"{most}" if least == most else f"{least} to {most} (fewer where the choices are used up)"
    used = ", ".join(map(str, study.config["search"]["seeds"]))
    said.append(
        f"Settings were searched: for each model and task the best of {number} trial{'s' * (most > 1)}, the config's "
        f"own first, by the calibrated loss on the validation clips, trained from seed {used}. The search "
        "read no test clip."
    )
    missing = sorted(set(board["model"]) - {row["model"] for row in choices})
    return [*said, f"Not searched: {', '.join(missing)}."] if missing else said


def _budget(study: Study) -> int:
    return int((study.config.get("search") or {}).get("budget", 0))


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
