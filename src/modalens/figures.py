"""The report's figures: tables -> matplotlib figures, the same bytes for the same tables."""

import base64
import io
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

# Okabe and Ito's colours, told apart by the colour-blind; sound and picture are always the same two.
COLOURS = {"audio": "#D55E00", "video": "#0072B2"}
OTHERS = ("#009E73", "#CC79A7", "#7A5C00", "#56B4E9", "#8C6BB1")
PALE = {"#D55E00": "#F2B48C", "#0072B2": "#8CC0E0"}
DARK = "#333333"
CAUSES = ("#333333", "#7A7A7A", "#B0B0B0", "#CC79A7", "#009E73", "#E69F00", "#56B4E9", "#8C6BB1", "#F0E442", "#000000")
STYLE: dict[str, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    # A stated height spares matplotlib a second layout of every panel.
    "axes.titley": 1.02,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.color": DARK,
    "ytick.color": DARK,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "modalens",
    # A class may be called "$5 to $10".
    "text.parse_math": False,
}
# Against the reference model. Not the two modalities' colours, and told apart by lightness, too.
VERDICTS = {"better": "#00795A", "reference": "#333333", "tie": "#999999", "worse": "#CC79A7"}
DRAWN_POINTS = 6000
SPLITS = ("train", "validation", "test")
WORST_CLASSES = 8  # of a task, in the figure of what was lost
PNG_DPI = 120


@dataclass(frozen=True)
class Drawing:
    """One figure as it is written: name (of its files), svg (text), png (bytes), what it shows in words."""

    name: str
    svg: str
    png: bytes
    words: str

    def small(self) -> str:
        """HTML of a PNG in few colours, for the page that its SVG would make too long."""
        image = Image.open(io.BytesIO(self.png)).convert("RGB").quantize(32)
        packed = io.BytesIO()
        image.save(packed, "PNG", optimize=True)
        data = base64.b64encode(packed.getvalue()).decode()
        width = round(image.width * 96 / PNG_DPI)
        return f'<img width="{width}" alt="{_attribute(self.words)}" src="data:image/png;base64,{data}">'


def inline(made: dict[str, Drawing], budget: int) -> dict[str, str]:
    """HTML of each figure: its SVG, but PNGs in place of the longest ones until all fit in `budget` characters."""
    shown = {name: drawing.svg for name, drawing in made.items()}
    for name in sorted(made, key=lambda name: -len(made[name].svg)):
        if sum(map(len, shown.values())) <= budget:
            break
        shown[name] = min(made[name].small(), shown[name], key=len)
    return shown


def draw(name: str, make: Callable[[], Figure], words: str) -> Drawing:
    """Make a figure in our style and write it. words: what it shows, for who cannot see it."""
    svg, png = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context(cast(Any, STYLE)), warnings.catch_warnings():
        # The page shows a label in the reader's own fonts; ours need not hold its letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = make()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=PNG_DPI, metadata={"Software": None})
    text = svg.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Several figures share one page: what they refer to by id must be their own.
    prefix = re.sub(r"\W", "_", name)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{_attribute(words)}" ', 1)
    return Drawing(name, text, png.getvalue(), words)


def _attribute(words: str) -> str:
    return words.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def colours(modalities: Iterable[str]) -> dict[str, str]:
    others = sorted(set(modalities) - set(COLOURS))
    return COLOURS | {name: OTHERS[index % len(OTHERS)] for index, name in enumerate(others)}


def plain(text: str, limit: int = 26) -> str:
    """A label that fits, on one line, without characters that SVG cannot hold."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(text))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def panels(rows: int, columns: int, width: float, height: float, left: float = 0.6, top: float = 0.55) -> tuple:
    """Figure and axes (rows, columns) with panels of width x height inches; far quicker than a layout engine."""
    gap_x, gap_y, right, bottom = 0.35, 0.6, 0.15, 0.5
    total_x = left + columns * width + (columns - 1) * gap_x + right
    total_y = top + rows * height + (rows - 1) * gap_y + bottom
    figure = Figure(figsize=(total_x, total_y))
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left / total_x, bottom / total_y, 1 - right / total_x, 1 - top / total_y, gap_x / width, gap_y / height
    )
    return figure, axes


def _legend(figure: Figure, names: dict[str, str], **marker: Any) -> None:
    style = {"marker": "o", "linestyle": "-", "markersize": 5, **marker}
    handles = [Line2D([], [], color=colour, label=plain(name, 40), **style) for name, colour in names.items()]
    figure.legend(handles=handles, loc="upper left", ncols=len(handles), borderaxespad=0.3, handlelength=1.5)


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
    palette = colours(table["modality"])
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
    _legend(figure, {f"{name} withheld": palette[name] for name in sorted(table["modality"].unique())})
    return figure


def shapley(table: pd.DataFrame, models: list[str], known: dict[str, dict[str, float]]) -> Figure:
    """shapley rows of one task -> one panel a payoff; known: payoff -> modality -> value, drawn as dashed lines."""
    keys = list(zip(table["model"], table["notion"], table["replacement"], strict=True))
    # By key, not by what is written there: long names are cut, and may then look the same.
    rows = sorted(set(keys), key=lambda key: (models.index(key[0]), *key[1:]))
    place = {key: index for index, key in enumerate(rows)}
    table = table.assign(row=[place[key] for key in keys])
    payoffs = list(dict.fromkeys(table["payoff"]))
    figure, axes = panels(1, len(payoffs), 3.6, 0.3 * len(rows) + 0.2, left=2.9, top=0.6)
    palette = colours(table["modality"])
    for index, (axis, payoff) in enumerate(zip(axes.ravel(), payoffs, strict=True)):
        _points(axis, table[table["payoff"] == payoff], "value", range(len(rows)), "row", palette)
        for name, value in known.get(payoff, {}).items():
            axis.axvline(value, color=palette.get(name, DARK), linewidth=1, linestyle=(0, (4, 3)))
        axis.set_yticks(range(len(rows)), [_row_name(*key) for key in rows] if index == 0 else [])
        axis.set_title("payoff: log-probability (nats)" if payoff == "log_probability" else f"payoff: {payoff}")
        axis.set_xlabel("Shapley value")
    _legend(figure, {name: palette[name] for name in sorted(table["modality"].unique())})
    return figure


def _row_name(model: str, notion: str, replacement: str) -> str:
    return f"{plain(model, 20)}: {plain(replacement, 18) if notion == 'used' else 'available'}"


def leaderboard(table: pd.DataFrame, chance: float) -> Figure:
    """leaderboard rows of one task, best first -> accuracy in percent and its interval; chance is dashed."""
    names = [plain(name, 32) for name in table["model"]]
    figure, axes = panels(1, 1, 4.6, 0.21 * len(table) + 0.25, left=0.4 + 0.078 * max(map(len, names)), top=0.5)
    axis = axes[0, 0]
    y = np.arange(len(table))
    colour = [VERDICTS.get(verdict, VERDICTS["tie"]) for verdict in table["verdict"]]
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
    _legend(figure, {name: colour for name, colour in VERDICTS.items() if name in set(table["verdict"])})
    return figure


def classes(table: pd.DataFrame, models: list[str]) -> Figure:
    """per_class rows of one task -> the seed paper's Figure 4, one panel a model, one group of bars a class."""
    labels = list(dict.fromkeys(table["label"]))
    cases = list(dict.fromkeys(zip(table["case"], table["modality"], strict=True)))
    palette = colours(table["modality"].loc[table["modality"] != ""])
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
    _legend(figure, dict(lines), marker="")
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
    _legend(figure, colour, marker="s", linestyle="")
    return figure
