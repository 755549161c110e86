"""docs/calibration/*.csv -> figures in docs/images: what holds, and where a measure is fooled."""

from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
from calibration_settings import WORLDS, shown

from modalens.stats.coalitions import from_text, interaction_values, shapley_values
from modalens.stats.information import bayes_accuracy, decomposition

DOCS = Path(__file__).resolve().parents[1] / "docs"
LEAST_SETS = 100  # behind a share in a figure
CLIPS = ["60 clips", "200 clips", "2000 clips"]


def main() -> None:
    tables = {name: pd.read_csv(DOCS / "calibration" / f"{name}.csv") for name in ("intervals", "tests", "sentences")}
    side = alt.hconcat(sentences(tables["sentences"]), power(tables["tests"])).resolve_scale(color="independent")
    both = alt.vconcat(coverage(tables["intervals"]), side).resolve_scale(color="independent")
    for name, chart in {"calibration": both, "fooled": fooled()}.items():
        chart = chart.configure_view(stroke=None).configure_axis(gridColor="#E4E4E4")
        chart.save(DOCS / "images" / f"{name}.svg")


def _with_clips(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(clips=table["setting"].str.extract(r", (\d+ clips)")[0])


def coverage(table: pd.DataFrame) -> alt.Chart:
    """Of each interval: the middle, and from the 5th to the 95th of a hundred settings and modalities."""
    rows = _with_clips(table[table["sets"] >= LEAST_SETS])
    over = rows["over"].map({"both": "", "groups": " (groups)", "seeds": " (seeds)"})
    rows["interval"] = rows["measure"] + ", " + rows["metric"] + over
    part = rows.groupby(["interval", "clips"])["coverage"]
    ends = {"low": part.quantile(0.05), "middle": part.median(), "high": part.quantile(0.95)}
    found = pd.DataFrame(ends).reset_index()
    y = alt.Y("interval:N", title=None)
    color = alt.Color("clips:N", sort=CLIPS, title=None)
    offset = alt.YOffset("clips:N", sort=CLIPS)
    scale = alt.Scale(domain=[0.5, 1], clamp=True)
    x = alt.X("low:Q", title="share of test sets whose interval holds the truth", scale=scale)
    base = alt.Chart(found)
    lines = base.mark_rule().encode(x=x, x2="high:Q", y=y, yOffset=offset, color=color)
    dots = base.mark_circle(size=22, opacity=1).encode(x="middle:Q", y=y, yOffset=offset, color=color)
    wanted = alt.Chart(pd.DataFrame({"x": [0.9, 0.95, 0.99]})).mark_rule(strokeDash=[4, 3]).encode(x="x:Q")
    return (wanted + lines + dots).properties(width=520, height=alt.Step(9), title="Coverage of the 95 % intervals")


def sentences(table: pd.DataFrame) -> alt.Chart:
    rows = _with_clips(table[table["sentence"] == "any"])
    base = alt.Chart(rows[["setting", "said", "false", "clips"]])
    dots = base.mark_circle(size=45, opacity=0.7).encode(
        x=alt.X("said:Q", title="share of test sets with a verdict"),
        y=alt.Y("false:Q", title="share with a false statement"),
        color=alt.Color("clips:N", sort=CLIPS, title=None),
        tooltip=["setting", "said", "false"],
    )
    limit = alt.Chart(pd.DataFrame({"y": [0.05]})).mark_rule(strokeDash=[4, 3]).encode(y="y:Q")
    return (dots + limit).properties(width=230, height=200, title="Sentences, a dot a setting")


def power(table: pd.DataFrame) -> alt.Chart:
    rows = _with_clips(table[~table["test"].str.contains("Holm")])
    rows["case"] = np.where(rows["there"], "a difference: found", "none: found all the same")
    mean = rows.groupby(["test", "clips", "case"], as_index=False)["found"].mean()
    return (
        alt.Chart(mean)
        .mark_line(point=True)
        .encode(
            x=alt.X("clips:N", sort=CLIPS, title=None),
            y=alt.Y("found:Q", title="mean share of test sets, p < 0.05"),
            color=alt.Color("test:N", title=None),
            strokeDash=alt.StrokeDash("case:N", title=None, sort=["a difference: found"]),
        )
        .properties(width=230, height=200, title="Tests")
    )


def fooled() -> alt.Chart:
    """Three true distributions, ideal models."""
    return alt.hconcat(nothing(), redundancy(), synergy()).resolve_scale(color="independent")


def nothing() -> alt.Chart:
    """Audio and video both show one of two classes, as features of mean 4. The joint model is their sum, cut at 8."""
    draw = np.random.default_rng(0)
    label = draw.integers(2, size=4000)
    audio, video = (4 + 2 * label - 1 + 0.2 * draw.normal(size=4000) for _ in range(2))
    stand_ins = {"training mean": 4.0, "zeros": 0.0, "another clip": draw.permutation(video)}
    full = ((audio + video > 8) == label).mean()
    drops = {name: full - ((audio + gone > 8) == label).mean() for name, gone in stand_ins.items()}
    return _bars(drops, "drop without video", "The stand-in decides: video is not needed")


def redundancy() -> alt.Chart:
    values = {from_text(key): value for key, value in bayes_accuracy(WORLDS["copies"].joint).items()}
    full = max(values, key=len)
    found = {f"leave out {name}": values[full] - values[full[1 - place : 2 - place]] for place, name in enumerate(full)}
    found |= {f"Shapley {name}": value for name, value in shapley_values(values).items()}
    return _bars(found, "accuracy", "Copies: leave-one-out sees nothing")


def synergy() -> alt.Chart:
    joint = shown({"audio": 0.85, "video": 0.85}, neutrals=1, forms=1)
    parts = {name.replace("_", " "): value for name, value in decomposition(joint).items()}
    values = {from_text(key): value for key, value in bayes_accuracy(joint).items()}
    parts["interaction, accuracy"] = next(iter(interaction_values(values).values()))
    return _bars(parts, "bit (interaction: accuracy)", "Either: PID's synergy, and no interaction above 0")


def _bars(values: dict[str, float], axis: str, title: str) -> alt.Chart:
    rows = pd.DataFrame({"name": list(values), "value": list(values.values())})
    base = alt.Chart(rows).encode(y=alt.Y("name:N", sort=list(values), title=None))
    bars = base.mark_bar(color="#4C78A8", height=14).encode(x=alt.X("value:Q", title=axis))
    words = base.mark_text(align="left", dx=3, fontSize=9).encode(x="value:Q", text=alt.Text("value:Q", format=".2f"))
    return (bars + words).properties(width=190, height=120, title=alt.Title(title, fontSize=11))


if __name__ == "__main__":
    main()
