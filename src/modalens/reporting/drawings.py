"""All charts of a page by name, each from a table; what is too long for one is cut here, and the page says so."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from modalens.reporting import charts, confusions
from modalens.reporting.rendering import RenderedChart, render
from modalens.reporting.study_results import Study
from modalens.stats.targets import CLASSES, SCORES, TARGETS, in_words

DRAWN = 12  # models in a chart
DRAWN_CLASSES = 30
DRAWN_EPOCHS = 60
SPLITS = ("train", "validation", "test")
WORST_CLASSES = 8  # of a task, in the chart of what was lost
DRAWN_ROWS = 40  # of a measure that the page does not know


def drawings(study: Study, tables: dict[str, pd.DataFrame], answers: dict[str, Any]) -> dict[str, RenderedChart]:
    """A chart whose table the study does not have is left out."""
    made: dict[str, RenderedChart] = {}

    def add(name: str, chart: Any, words: str) -> None:
        made[name] = render(name, chart, words)

    # Rows are stated in the specification; there is no limit to lift for the sizes that are drawn here.
    alt.data_transformers.disable_max_rows()
    for task in study.tasks:
        of_classes, main = study.target(task) == CLASSES, TARGETS[study.target(task)].metrics[0]
        words = in_words(main)
        board = of(tables["leaderboard"], task)
        first = study.headline(task)
        if len(board):
            best = board[board["model"].isin(drawn(list(board["model"]), first, board))]
            add(f"{task}-leaderboard", charts.leaderboard(best, study.scores[task][first].chance, main),
                f"{task}: {words} of each model with its interval")  # fmt: skip
        models = drawn(study.multimodal(task) or list(study.scores[task]), first, board)
        drops, values = (of(tables[name], task) for name in ("leave_one_out", "shapley"))
        if len(drops):
            told = in_words(study.metric(task))
            rows = drops[(drops["metric"] == study.metric(task)) & drops["model"].isin(models)]
            add(f"{task}-withheld", charts.withheld(rows, models, told), f"{task}: drop of {told} when withheld")
        if len(values):
            truth = {
                function: answers.get(task, {}).get(f"shapley_{function}", {})
                for function in set(values["value_function"])
            }
            rows = values[values["model"].isin(models)]
            add(f"{task}-shapley", charts.shapley(rows, models, truth), f"{task}: Shapley value of each modality")
        history = study.histories(task)
        if len(history):
            trained = drawn([name for name in study.scores[task] if name in set(history["model"])], first, board)
            score = SCORES[study.target(task)]
            rows = by_epoch(history[history["model"].isin(trained)], score)
            add(
                f"{task}-learning",
                charts.learning(rows, trained),
                f"{task}: loss and {in_words(score)} by epoch",
            )
        if not of_classes:
            continue
        rows = of(tables["per_class"], task)
        labels = telling(rows[rows["model"] == first])
        rows = rows[rows["model"].isin(models) & rows["label"].isin(labels)]
        add(f"{task}-classes", charts.classes(rows, models), f"{task}: accuracy in each class")
        cells = of(tables["confusion"], task)
        labels = confusions.most_confused(cells)
        square = confusions.squares(cells, labels)
        cases = list(dict.fromkeys(cells["case"]))
        add(f"{task}-confusion", charts.confusion(square, labels, cases), f"{task}: confusion matrix of {first}")
        points = of(tables["embeddings"], task)
        if len(points):
            add(f"{task}-embeddings", charts.embedding(points), f"{task}: test clips by their features")
    lost = tables["attrition"]
    if len(lost) and (lost["cause"] != "").any():
        add("clips-lost", charts.attrition(lost_shares(lost)), "share of clips lost, by cause, split and class")
    return made


def of(table: pd.DataFrame, task: str) -> pd.DataFrame:
    return table[table["task"] == task] if len(table) else table


def drawn(models: list[str], first: str, board: pd.DataFrame) -> list[str]:
    """The models in the charts of a task, `first` first: all, or where they are more than DRAWN the best of them."""
    order = sorted(models, key=first.__ne__)
    if len(order) <= DRAWN or board.empty:
        return order[:DRAWN]
    best = [model for model in board["model"] if model in order and model != first][: DRAWN - 1]
    return [first, *(model for model in order if model in best)]


def telling(per_class: pd.DataFrame) -> list[str]:
    """The classes in the chart: all, or where they are more than DRAWN_CLASSES those where the cases differ most."""
    labels = list(dict.fromkeys(per_class["label"]))
    if len(labels) <= DRAWN_CLASSES:
        return labels
    ends = per_class.groupby("label", sort=False)["mean"].agg(["max", "min"])
    spread = (ends["max"] - ends["min"]).sort_values(ascending=False, kind="stable")
    return list(spread.index[:DRAWN_CLASSES])


def by_epoch(history: pd.DataFrame, score: str = "accuracy") -> pd.DataFrame:
    """model, quantity (loss, and the score by its name), set, epoch, mean (as far as all seeds went), low and high over
    the seeds; at most DRAWN_EPOCHS epochs a model."""
    tables = []
    for model, part in history.groupby("model", sort=False):
        epochs = np.unique(part["epoch"])
        shown = epochs[np.unique(np.linspace(0, len(epochs) - 1, DRAWN_EPOCHS).round().astype(int))]
        seeds = part["seed"].nunique()
        for quantity in (score, "loss"):
            for which in ("train", "validation"):
                grouped = part[part["epoch"].isin(shown)].groupby("epoch")[f"{which}_{quantity}"]
                table = grouped.agg(["mean", "min", "max", "count"]).reset_index()
                table["mean"] = table["mean"].where(table["count"] == seeds)
                table = table.rename(columns={"min": "low", "max": "high"})
                tables.append(table.assign(model=model, quantity=quantity, set=which))
    return pd.concat(tables, ignore_index=True)


def lost_shares(attrition: pd.DataFrame) -> pd.DataFrame:
    """bar, cause, clips, share in percent: per task of all clips, of each split, of the classes that lost most."""
    rows = []
    for task, part in attrition.groupby("task", sort=False):
        bars = [(f"{task}: all clips", part)]
        bars += [(f"{task}: in {name}", part[part["split"] == name]) for name in SPLITS if name in set(part["split"])]
        lost = part["clips"].where(part["cause"] != "", 0).groupby(part["label"]).sum()
        shares = (lost / part.groupby("label")["clips"].sum()).sort_values(ascending=False, kind="stable")
        worst = shares[shares > 0].index[:WORST_CLASSES]
        bars += [(f"{task}: class {name}", part[part["label"] == name]) for name in worst]
        for name, some in bars:
            for cause, clips in some[some["cause"] != ""].groupby("cause")["clips"].sum().items():
                rows.append(
                    {"bar": name, "cause": cause, "clips": int(clips), "share": 100 * clips / some["clips"].sum()}
                )
    return pd.DataFrame(rows)
