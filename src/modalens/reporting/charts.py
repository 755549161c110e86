"""The report's charts: tables -> Altair charts, the same for the same tables.

Where a task has several models, metrics or conditions, a chart shows those of one, chosen by a list below it.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from modalens.reporting.appearance import colors
from modalens.reporting.rendering import NEUTRAL, WIDTH
from modalens.stats.leaderboard import NOT_DISTINGUISHABLE
from modalens.stats.targets import in_words

# Against the reference model. Not the modalities' colours, and told apart by lightness, too.
VERDICTS = {"better": "#00795A", "reference": NEUTRAL, NOT_DISTINGUISHABLE: "#A0A0A0", "worse": "#CC79A7"}
ROW = 22  # pixels of a row with one dot
CAUSES = ("#767676", "#CC79A7", "#009E73", "#E69F00", "#56B4E9", "#8C6BB1", "#A0A0A0", "#7A5C00", "#D55E00", "#0072B2")
DIGITS = 4
# Of classes: Vega's tableau20 but for its greys, which stand for all others.
CLASSES = (
    *("#4c78a8", "#9ecae9", "#f58518", "#ffbf79", "#54a24b", "#88d27a", "#b79a20", "#f2cf5b", "#439894"),
    *("#83bcb6", "#e45756", "#ff9d98", "#d67195", "#fcbfd2", "#b279a2", "#d6a5c9", "#9e765f", "#d8b5a5"),
)
ANY = ""  # what a row has in a column that is not about it: performance has no replacement
HOLLOW = alt.Legend(symbolFillColor="transparent", symbolStrokeWidth=3)  # else Vega fills it black


def rounded(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The columns a chart reads, numbers with as many digits as a reader sees: a page carries them as text."""
    return table[list(dict.fromkeys(columns))].round(DIGITS)


def choice(name: str, column: str, values: Sequence[str]) -> tuple[Any, Any]:
    """A list of values below the chart, the first one chosen -> (parameter or None, filter expression or True).

    Rows of ANY are there whatever is chosen.
    """
    values = [str(value) for value in values]
    if len(values) < 2:
        return None, True
    menu = alt.binding_select(options=values, name=f"{name} ")
    parameter = alt.param(name=f"{column}_chosen", value=values[0], bind=menu)
    return parameter, (alt.datum[column] == parameter) | (alt.datum[column] == ANY)


def chosen(chart: Any, choices: Sequence[tuple[Any, Any]]) -> Any:
    """The rows that the lists have chosen. chart: one that bears its data itself."""
    for parameter, kept in choices:
        if parameter is not None:
            chart = chart.add_params(parameter).transform_filter(kept)
    return chart


def _palette(names: Sequence[str]) -> alt.Scale:
    found = colors(names)
    return alt.Scale(domain=list(found), range=list(found.values()))


def points(table: pd.DataFrame, value: str, row: str, title: str, extra: Sequence[str] = ()) -> Any:
    """A dot and its interval for each row and modality; hollow where `clear` is false. Zero is a line."""
    names = sorted(table["modality"].unique())
    palette = colors(names)
    fill = [
        palette[name] if clear else "transparent" for name, clear in zip(table["modality"], table["clear"], strict=True)
    ]
    said = [
        f"{name}, {at}: {number:.3g}, interval {low:.3g} to {high:.3g}"
        for name, at, number, low, high in table[["modality", row, value, "low", "high"]].itertuples(index=False)
    ]
    table = table.assign(fill=fill, said=said).drop(columns="clear")
    rows = list(dict.fromkeys(table[row]))
    base = alt.Chart(table).encode(
        y=alt.Y(f"{row}:N", sort=rows, title=None),
        yOffset=alt.YOffset("modality:N", sort=names),
        color=alt.Color("modality:N", scale=_palette(names), title=None, legend=HOLLOW),
        tooltip=[alt.Tooltip(f"{name}:{'N' if name in extra or name in (row, 'modality') else 'Q'}")
                 for name in (row, "modality", value, "low", "high", *extra)],
    )  # fmt: skip
    line = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    dot = base.mark_point(size=55, strokeWidth=2, opacity=1)
    dot = dot.encode(x=alt.X(f"{value}:Q", title=title), fill=alt.Fill("fill:N", scale=None), description="said:N")
    height = max(2, len(rows)) * (10 + 12 * len(names))
    return alt.layer(_rule(0), line, dot, data=table).properties(width=WIDTH, height=height)


def curves(table: pd.DataFrame, axis: str, value: str, title: str) -> Any:
    """A line and its interval for each modality along a number: of a share, of noise, of epochs."""
    names = sorted(table["modality"].unique())
    base = alt.Chart(table).encode(
        x=alt.X(f"{axis}:Q", title=axis),
        color=alt.Color("modality:N", scale=_palette(names), title=None),
        tooltip=["modality:N", f"{axis}:Q", f"{value}:Q", "low:Q", "high:Q"],
    )
    scale = alt.Scale(zero=False)
    band = base.mark_area(opacity=0.18, aria=False).encode(y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q")
    line = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=30))
    line = line.encode(y=alt.Y(f"{value}:Q", title=title, scale=scale))
    return alt.layer(band, line, data=table).properties(width=WIDTH, height=240)


def _rule(at: float, **style: Any) -> Any:
    return alt.Chart().mark_rule(color=NEUTRAL, aria=False, **style).encode(x=alt.datum(at))


def withheld(table: pd.DataFrame, models: Sequence[str], words: str = "accuracy") -> Any:
    """leave_one_out rows of one task and metric -> the drop under each replacement. Of a metric that no test is of, a
    drop is clear where its interval excludes 0."""
    beside = (table["low"] > 0) | (table["high"] < 0)
    kept = table.assign(clear=beside.where(table["p_holm"].isna(), table["p_holm"] < 0.05), p=table["p_holm"])
    columns = ["model", "replacement", "modality", "drop", "low", "high", "clear", "p"]
    chart = points(rounded(kept, columns), "drop", "replacement", f"drop of {words} when withheld", ["model"])
    return chosen(chart, [choice("model", "model", models)])


def shapley(table: pd.DataFrame, models: Sequence[str], known: dict[str, dict[str, float]]) -> Any:
    """shapley rows of one task. known: value function -> modality -> value, drawn as dashed lines."""
    available = table["notion"] != "used"
    kept = table.assign(clear=True, basis=("used: " + table["replacement"]).mask(available, "available"))
    functions = list(dict.fromkeys(kept["value_function"]))
    columns = ["model", "basis", "value_function", "modality", "value", "low", "high", "clear"]
    kept = rounded(kept.sort_values("basis", kind="stable"), columns)
    choices = [choice("model", "model", models), choice("value in", "value_function", functions)]
    chart = chosen(points(kept, "value", "basis", "Shapley value", ["model"]), choices)
    truth = [
        {"value_function": function, "modality": name, "known": value, "model": model}
        for function in functions
        for name, value in known.get(function, {}).items()
        for model in models
    ]
    if not truth:
        return chart
    lines = alt.Chart(pd.DataFrame(truth)).mark_rule(strokeDash=[5, 3], strokeWidth=1.5)
    lines = lines.encode(x="known:Q", color="modality:N", tooltip=["modality:N", "known:Q"])
    for parameter, kept_rows in choices:
        lines = lines.transform_filter(kept_rows) if parameter is not None else lines
    return alt.layer(chart, lines).properties(width=WIDTH)


def leaderboard(table: pd.DataFrame, chance: float, metric: str = "accuracy") -> Any:
    """leaderboard rows of one task, best first -> accuracy in percent, or another metric, and its interval; chance is
    dashed."""
    times, title = (100, "accuracy, %") if metric == "accuracy" else (1, in_words(metric))
    kept = table.assign(**{name: times * table[name] for name in (metric, "low", "high")})
    kept = rounded(kept, ["model", metric, "low", "high", "verdict"])
    shown = [name for name in VERDICTS if name in set(table["verdict"])]
    scale = alt.Scale(domain=shown, range=[VERDICTS[name] for name in shown])
    base = alt.Chart(kept).encode(
        y=alt.Y("model:N", sort=list(kept["model"]), title=None),
        color=alt.Color("verdict:N", scale=scale, title=None),
        tooltip=["model:N", f"{metric}:Q", "low:Q", "high:Q", "verdict:N"],
    )
    line = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    dot = base.mark_point(size=60, filled=True, opacity=1)
    dot = dot.encode(x=alt.X(f"{metric}:Q", scale=alt.Scale(zero=False), title=title))
    marks = [line, dot]
    if chance == chance:
        marks.insert(0, _rule(times * chance, strokeDash=[5, 3]))
    return alt.layer(*marks, data=kept).properties(width=WIDTH, height=max(2, len(kept)) * ROW)


def classes(table: pd.DataFrame, models: Sequence[str]) -> Any:
    """per_class rows of one task -> the seed paper's Figure 4: a row a class, a dot a case."""
    kept = table.assign(case=[_case_name(*pair) for pair in zip(table["case"], table["modality"], strict=True)])
    kept = kept.assign(low=(kept["mean"] - kept["std"].fillna(0)).clip(lower=0))
    kept = kept.assign(high=(kept["mean"] + kept["std"].fillna(0)).clip(upper=1))
    palette = colors(name for name in set(table["modality"]) if name)
    pairs = dict.fromkeys(zip(kept["case"], table["case"], table["modality"], strict=True))
    names = [name for name, _, _ in pairs]
    color = [NEUTRAL if case == "full" else palette[modality] for _, case, modality in pairs]
    shape = [{"full": "diamond", "expert": "circle"}.get(case, "triangle-up") for _, case, _ in pairs]
    kept = rounded(kept, ["model", "label", "case", "mean", "low", "high", "clips"])
    base = alt.Chart(kept).encode(
        y=alt.Y("label:N", sort=list(dict.fromkeys(kept["label"])), title=None),
        yOffset=alt.YOffset("case:N", sort=names),
        color=alt.Color("case:N", scale=alt.Scale(domain=names, range=color), title=None),
        tooltip=["model:N", "label:N", "case:N", "mean:Q", "low:Q", "high:Q", "clips:Q"],
    )
    line = base.mark_rule(strokeWidth=1.5).encode(x=alt.X("low:Q", title="accuracy"), x2="high:Q")
    dot = base.mark_point(size=45, filled=True, opacity=1).encode(
        x=alt.X("mean:Q", title="accuracy", scale=alt.Scale(domain=[0, 1])),
        shape=alt.Shape("case:N", scale=alt.Scale(domain=names, range=shape), title=None),
    )
    height = kept["label"].nunique() * (8 + 7 * len(names))
    return chosen(
        alt.layer(line, dot, data=kept).properties(width=WIDTH, height=height), [choice("model", "model", models)]
    )


def _case_name(case: str, modality: str) -> str:
    return {
        "full": "all modalities",
        "only": f"{modality} only, others withheld",
        "expert": f"model of {modality} alone",
    }[case]


def confusion(table: pd.DataFrame, labels: Sequence[str], cases: Sequence[str]) -> Any:
    """case, label, predicted, share of the class's clips, clips -> a matrix, rows the true class."""
    kept = rounded(table, ["case", "label", "predicted", "share", "clips"])
    order = list(labels)
    base = alt.Chart(kept).encode(
        x=alt.X("predicted:N", sort=order, title="predicted", axis=alt.Axis(labelAngle=-45)),
        y=alt.Y("label:N", sort=order, title="true class"),
        tooltip=["case:N", "label:N", "predicted:N", "share:Q", "clips:Q"],
    )
    cells = base.mark_rect().encode(
        color=alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], scheme="blues"), title="share of the class")
    )
    chart = cells
    if len(order) <= 12:
        words = base.mark_text(fontSize=11).encode(
            text=alt.Text("share:Q", format=".2f"),
            color=alt.condition("datum.share > 0.55", alt.value("#ffffff"), alt.value("#1c1c1c")),
        )
        chart = alt.layer(cells, words)
    side = min(WIDTH, max(240, 46 * len(order) if len(order) <= 12 else 18 * len(order)))
    return chosen(chart.properties(width=side, height=side), [choice("input", "case", cases)])


def learning(table: pd.DataFrame, models: Sequence[str]) -> Any:
    """model, quantity, set, epoch, mean, low, high over seeds -> lines with the range of the seeds."""
    kept = rounded(table, ["model", "quantity", "set", "epoch", "mean", "low", "high"])
    quantities = list(dict.fromkeys(kept["quantity"]))
    scale = alt.Scale(domain=["train", "validation"], range=[NEUTRAL, "#009E73"])
    base = alt.Chart(kept).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d")),
        color=alt.Color("set:N", scale=scale, title=None),
        tooltip=["model:N", "quantity:N", "set:N", "epoch:Q", "mean:Q", "low:Q", "high:Q"],
    )
    band = base.mark_area(opacity=0.2, aria=False).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    line = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=14)).encode(
        y=alt.Y("mean:Q", title=None, scale=alt.Scale(zero=True))
    )
    choices = [choice("model", "model", models), choice("shown", "quantity", quantities)]
    return chosen(alt.layer(band, line, data=kept).properties(width=WIDTH, height=220), choices)


def attrition(bars: pd.DataFrame) -> Any:
    """bar, cause, clips, share in percent -> the share of clips lost, stacked by cause."""
    causes = sorted(set(bars["cause"]))
    scale = alt.Scale(domain=causes, range=[CAUSES[index % len(CAUSES)] for index in range(len(causes))])
    chart = alt.Chart(rounded(bars, ["bar", "cause", "clips", "share"])).mark_bar().encode(
        x=alt.X("share:Q", title="clips lost, %"),
        y=alt.Y("bar:N", sort=list(dict.fromkeys(bars["bar"])), title=None),
        color=alt.Color("cause:N", scale=scale, title=None),
        tooltip=["bar:N", "cause:N", "clips:Q", "share:Q"],
    )  # fmt: skip
    return chart.properties(width=WIDTH, height=ROW * bars["bar"].nunique())


def embedding(table: pd.DataFrame) -> Any:
    """modality, task, x, y, label, clip_id -> a point a clip, near where its features are alike. Of more than CLASSES
    the commonest have a color."""
    kept = rounded(table, ["modality", "x", "y", "label", "clip_id"])
    names = list(dict.fromkeys(kept["modality"]))
    counts = kept["label"].value_counts()
    common = sorted(sorted(counts.index, key=lambda label: (-counts[label], label))[: len(CLASSES)])
    scale = alt.Scale(domain=common, range=CLASSES[: len(common)])
    color = alt.Color("label:N", title=None, scale=scale)
    chart = alt.Chart(kept).mark_circle(size=45, opacity=0.8).encode(
        x=alt.X("x:Q", axis=None, scale=alt.Scale(zero=False)),
        y=alt.Y("y:Q", axis=None, scale=alt.Scale(zero=False)),
        color=alt.condition(alt.FieldOneOfPredicate("label", common), color, alt.value("#a8a8a8")),
        tooltip=["clip_id:N", "label:N"],
    )  # fmt: skip
    return chosen(chart.properties(width=WIDTH, height=360), [choice("map of", "modality", names)])
