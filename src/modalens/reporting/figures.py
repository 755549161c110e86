"""The report's figures: tables -> matplotlib figures, the same for the same tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from modalens.reporting.appearance import colors
from modalens.reporting.figure_style import DARK, legend, panels, plain
from modalens.stats.leaderboard import NOT_DISTINGUISHABLE

PALE = {"#D55E00": "#F2B48C", "#0072B2": "#8CC0E0"}
CAUSES = ("#333333", "#7A7A7A", "#B0B0B0", "#CC79A7", "#009E73", "#E69F00", "#56B4E9", "#8C6BB1", "#F0E442", "#000000")
# Against the reference model. Not the two modalities' colours, and told apart by lightness, too.
VERDICTS = {"better": "#00795A", "reference": "#333333", NOT_DISTINGUISHABLE: "#999999", "worse": "#CC79A7"}
DRAWN_POINTS = 6000
SPLITS = ("train", "validation", "test")
WORST_CLASSES = 8  # of a task, in the figure of what was lost


def _points(axes: Axes, table: pd.DataFrame, value: str, rows: Sequence[Any], by: str, palette: dict[str, str]) -> None:
    """A dot and its interval for each row of the figure and modality; hollow where `p_holm` is not below 0.05."""
    names = sorted(table["modality"].unique())
    for index, name in enumerate(names):
        part = table[table["modality"] == name].set_index(by).reindex(rows)
        y = np.arange(len(rows)) + 0.22 * (index - (len(names) - 1) / 2)
        axes.hlines(y, part["low"], part["high"], color=palette[name], linewidth=1.6)
        clear = part["p_holm"] < 0.05 if "p_holm" in part else np.ones(len(part), bool)
        fill = [palette[name] if sure else "white" for sure in clear]
        axes.scatter(part[value], y, 22, c=fill, edgecolors=palette[name], linewidths=1.2, zorder=3)
    axes.axvline(0, color=DARK, linewidth=0.8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def withheld(table: pd.DataFrame, models: list[str]) -> Figure:
    """leave_one_out rows of one task and metric -> one panel a model: the drop under each replacement."""
    rows = sorted(table["replacement"].unique())
    count = min(len(models), 3)
    figure, axes = panels(-(-len(models) // count), count, 3.6, 0.32 * len(rows) + 0.2, left=1.35, top=0.6)
    palette = colors(table["modality"])
    ends = table[["low", "high", "drop"]].to_numpy()
    low, high = min(np.nanmin(ends), 0), np.nanmax(ends)
    for axis in axes.ravel()[len(models) :]:
        axis.set_visible(False)
    for index, (axis, model) in enumerate(zip(axes.ravel(), models, strict=False)):
        _points(axis, table[table["model"] == model], "drop", rows, "replacement", palette)
        axis.set_title(plain(model, 40))
        axis.set_xlim(low - 0.04, high + 0.04)
        axis.set_yticks(range(len(rows)), [plain(row) for row in rows] if index % count == 0 else [])
        axis.set_xlabel("drop of accuracy when withheld")
    legend(figure, {f"{name} withheld": palette[name] for name in sorted(table["modality"].unique())})
    return figure


def shapley(table: pd.DataFrame, models: list[str], known: dict[str, dict[str, float]]) -> Figure:
    """shapley rows of one task -> one panel a value function.

    known: value function -> modality -> value, drawn as dashed lines.
    """
    keys = list(zip(table["model"], table["notion"], table["replacement"], strict=True))
    # By key, not by what is written there: long names are cut, and may then look the same.
    rows = sorted(set(keys), key=lambda key: (models.index(key[0]), *key[1:]))
    place = {key: index for index, key in enumerate(rows)}
    table = table.assign(row=[place[key] for key in keys])
    value_functions = list(dict.fromkeys(table["value_function"]))
    figure, axes = panels(1, len(value_functions), 3.6, 0.3 * len(rows) + 0.2, left=2.9, top=0.6)
    palette = colors(table["modality"])
    for index, (axis, value_function) in enumerate(zip(axes.ravel(), value_functions, strict=True)):
        _points(axis, table[table["value_function"] == value_function], "value", range(len(rows)), "row", palette)
        for name, value in known.get(value_function, {}).items():
            axis.axvline(value, color=palette.get(name, DARK), linewidth=1, linestyle=(0, (4, 3)))
        axis.set_yticks(range(len(rows)), [_row_name(*key) for key in rows] if index == 0 else [])
        axis.set_title(
            "value_function: log-probability (nats)"
            if value_function == "log_probability"
            else f"value_function: {value_function}"
        )
        axis.set_xlabel("Shapley value")
    legend(figure, {name: palette[name] for name in sorted(table["modality"].unique())})
    return figure


def _row_name(model: str, notion: str, replacement: str) -> str:
    return f"{plain(model, 20)}: {plain(replacement, 18) if notion == 'used' else 'available'}"


def leaderboard(table: pd.DataFrame, chance: float) -> Figure:
    """leaderboard rows of one task, best first -> accuracy in percent and its interval; chance is dashed."""
    names = [plain(name, 32) for name in table["model"]]
    figure, axes = panels(1, 1, 4.6, 0.21 * len(table) + 0.25, left=0.4 + 0.078 * max(map(len, names)), top=0.5)
    axis = axes[0, 0]
    y = np.arange(len(table))
    colour = [VERDICTS.get(verdict, VERDICTS[NOT_DISTINGUISHABLE]) for verdict in table["verdict"]]
    axis.hlines(y, 100 * table["low"], 100 * table["high"], color=colour, linewidth=1.6)
    axis.scatter(100 * table["accuracy"], y, 22, c=colour, zorder=3)
    against = table.loc[table["verdict"] == "reference", "accuracy"]
    for value in against:
        axis.axvline(100 * value, color=VERDICTS["reference"], linewidth=0.8)
    axis.axvline(100 * chance, color=DARK, linewidth=1, linestyle=(0, (4, 3)))
    axis.set_yticks(y, names)
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.margins(x=0.04)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("accuracy, %")
    legend(figure, {name: colour for name, colour in VERDICTS.items() if name in set(table["verdict"])})
    return figure


def classes(table: pd.DataFrame, models: list[str]) -> Figure:
    """per_class rows of one task -> the seed paper's Figure 4, one panel a model, one group of bars a class."""
    labels = list(dict.fromkeys(table["label"]))
    cases = list(dict.fromkeys(zip(table["case"], table["modality"], strict=True)))
    palette = colors(table["modality"].loc[table["modality"] != ""])
    width = float(np.clip(0.09 * len(labels) * (len(cases) + 1), 5.5, 10.8))
    longest = 0.075 * max(len(plain(label)) for label in labels)
    crowded = width / len(labels) < 1.1 * longest
    figure, axes = panels(len(models), 1, width, 1.7, left=max(0.6, longest / 2) if crowded else 0.6, top=0.6)
    if crowded:
        _make_room(figure, below=0.85 * longest)
    for axis, model in zip(axes.ravel(), models, strict=True):
        part = table[table["model"] == model].set_index(["case", "modality", "label"])
        for index, (case, modality) in enumerate(cases):
            bars = part.reindex([(case, modality, label) for label in labels])
            x = np.arange(len(labels)) + 0.8 * ((index + 0.5) / len(cases) - 0.5)
            colour = _case_colour(case, modality, palette)
            error = bars["std"].fillna(0)
            axis.bar(x, bars["mean"], 0.8 / len(cases), color=colour)
            low, high = (bars["mean"] - error).clip(lower=0), (bars["mean"] + error).clip(upper=1)
            axis.vlines(x, low, high, DARK, linewidth=0.8)
        axis.set(title=plain(model, 60), ylim=(0, 1.02), xlim=(-0.6, len(labels) - 0.4), ylabel="accuracy")
        axis.grid(axis="x", visible=False)
        last = axis is axes.ravel()[-1] or not crowded
        turn = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        axis.set_xticks(range(len(labels)), [plain(label) for label in labels] if last else [], **turn)
    names = {_case_name(case, modality): _case_colour(case, modality, palette) for case, modality in cases}
    handles = [Line2D([], [], color=colour, label=name, marker="s", linestyle="") for name, colour in names.items()]
    columns = min(len(handles), max(1, int((width + 0.7) / 1.9)))
    figure.legend(handles=handles, loc="upper left", ncols=columns, borderaxespad=0.2, columnspacing=1, handlelength=1)
    if columns < len(handles):
        _make_room(figure, top=0.2 * (-(-len(handles) // columns) - 1))
    return figure


def _make_room(figure: Figure, top: float = 0.0, below: float = 0.0) -> None:
    """Grow the figure above (legend rows) or below (turned class names), the panels staying as they are."""
    width, height = figure.get_size_inches()
    new = height + top + below
    layout = figure.subplotpars
    figure.set_size_inches(width, new)
    low, high = layout.bottom * height + below, layout.top * height + below
    figure.subplots_adjust(bottom=low / new, top=high / new)


def _case_colour(case: str, modality: str, palette: dict[str, str]) -> str:
    if case == "full":
        return DARK
    colour = palette[modality]
    return colour if case == "expert" else PALE.get(colour, f"{colour}80")


def _case_name(case: str, modality: str) -> str:
    names = {"full": "multimodal", "only": f"multimodal, {modality} only", "expert": f"{modality} network"}
    return plain(names[case], 32)


def curves(table: pd.DataFrame, models: list[str]) -> Figure:
    """histories of one task -> per model the loss and the accuracy by epoch: each seed thin, their mean thick."""
    count = min(len(models), 4)
    blocks = -(-len(models) // count)
    figure, axes = panels(2 * blocks, count, 2.3, 1.25, top=0.6)
    heavy = 4 * len(table) > DRAWN_POINTS
    lines = (("train", DARK), ("validation", "#009E73"))
    limit = float(np.nanquantile(table[["train_loss", "validation_loss"]].to_numpy(), 0.99)) * 1.1
    for index in range(blocks * count):
        pair = axes[2 * (index // count) : 2 * (index // count) + 2, index % count]
        if index >= len(models):
            for axis in pair:
                axis.set_visible(False)
            continue
        rows = table[table["model"] == models[index]]
        for axis, quantity in zip(pair, ("loss", "accuracy"), strict=True):
            for part, colour in lines:
                wide = rows.pivot_table(index="epoch", columns="seed", values=f"{part}_{quantity}")
                axis.plot(wide.index, wide.to_numpy(), color=colour, alpha=0.3, linewidth=0.7, rasterized=heavy)
                # Past the epoch where one seed stopped, a mean would be of other seeds.
                axis.plot(wide.index, wide.mean(axis=1, skipna=False), color=colour, linewidth=1.8, rasterized=heavy)
            axis.set_ylim((0, max(limit, 0.01)) if quantity == "loss" else (0, 1.02))
            axis.set_ylabel(quantity if index % count == 0 else "")
            axis.tick_params(labelleft=index % count == 0, labelbottom=quantity == "accuracy")
            axis.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axis.yaxis.set_major_locator(MaxNLocator(3))
        pair[0].set_title(plain(models[index], 28))
        pair[1].set_xlabel("epoch")
    legend(figure, dict(lines), marker="")
    return figure


def attrition(table: pd.DataFrame) -> Figure:
    """attrition rows -> per task the share of its clips lost, by cause: of all, of each split, of the worst classes."""
    bars: list[tuple[str, pd.DataFrame] | None] = []
    for task, part in table.groupby("task", sort=False):
        bars += [None] if bars else []
        bars += [(f"{task}: all clips", part)]
        bars += [(f"in {name}", part[part["split"] == name]) for name in SPLITS if (part["split"] == name).any()]
        lost = part["clips"].where(part["cause"] != "", 0).groupby(part["label"]).sum()
        shares = (lost / part.groupby("label")["clips"].sum()).sort_values(ascending=False, kind="stable")
        bars += [(f"class {name}", part[part["label"] == name]) for name in shares.index[:WORST_CLASSES]]
    causes = sorted(set(table["cause"]) - {""})
    figure, axes = panels(1, 1, 5.5, 0.2 * len(bars) + 0.2, left=2.2, top=0.5)
    axis = axes[0, 0]
    for place, bar in enumerate(bars):
        left = 0.0
        for index, cause in enumerate(causes if bar else ()):
            clips = bar[1].groupby("cause")["clips"].sum() if bar else pd.Series(dtype=float)
            share = 100 * clips.get(cause, 0) / clips.sum()
            axis.barh(place, share, 0.7, left, color=CAUSES[index % len(CAUSES)])
            left += share
    axis.set_yticks([place for place, bar in enumerate(bars) if bar], [plain(bar[0], 32) for bar in bars if bar])
    axis.set_ylim(len(bars) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("clips lost, %")
    colour = {cause: CAUSES[index % len(CAUSES)] for index, cause in enumerate(causes)}
    legend(figure, colour, marker="s", linestyle="")
    return figure
