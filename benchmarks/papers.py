"""Tables of the source papers beside what a finished study of the same design measured, in the papers' own layout.

    PYTHONPATH=src python benchmarks/papers.py balance_mla_table1 results/balance_mla_avletters [results/...]
    PYTHONPATH=src python benchmarks/papers.py mult_concat_single results/mult_concat_single --output one_product.svg

A study stands for itself: another data set, smaller networks. Configs are in config/papers/, what the tables say and
cannot say is in docs/papers/. Prints Markdown; the papers' figures are those of src/modalens/reporting/published.csv.
"""

import argparse
import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import altair as alt
import pandas as pd

from modalens.evaluation.predict import scores
from modalens.reporting import published

SINGLE = "mult_concat_single"  # a figure, not a table
MISSING = "–"
MACRO = ("precision", "recall")  # means over classes, of a study's predictions
LATENCY = "latency_ms"  # no part of a study: benchmarks/latency.py measures it
OURS = {"top1": "accuracy", "top3": "top3_accuracy", "top5": "top5_accuracy"}  # where a paper calls it otherwise


@dataclass(frozen=True)
class Table:
    """paper: as published.csv has it. datasets: of the paper, a column each. metrics: of the paper, a column each.

    rows: (the paper's words, its model in published.csv, ours in the config). networks: ends of the models' names,
    where the paper has a column each.
    """

    paper: str
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, str, str], ...]
    networks: tuple[str, ...] = ("",)


PICTURES = ("precision", "recall", "accuracy", "latency_ms")
CLIPS = (
    ("rn50", "RN50"),
    ("rn101", "RN101"),
    ("vit_b_32", "ViT-B/32"),
    ("vit_b_16", "ViT-B/16"),
    ("vit_l_14", "ViT-L/14"),
)
RGBD = ("addition", "concat", "max", "product", "average", "gated", "rgb_only", "depth_only", "mult_concat")
CODES = ("mult_concat", "concat", "lmf")
TABLES = {
    "guidance_table1": Table(
        "Zhao et al. 2023, Table 1",
        ("twitch_violence",),
        PICTURES,
        (
            *((f"CLIP without training, {words}", f"clip_{name}", f"clip_{name}") for name, words in CLIPS),
            ("MiniLM without training, of the title", "", "title_zero_shot"),
            ("logistic regression on MiniLM of the title", "", "title_learnt"),
        ),
    ),
    "guidance_table2": Table(
        "Zhao et al. 2023, Table 2",
        ("twitch_violence",),
        PICTURES,
        tuple((f"MobileOne-S{size}", f"mobileone_s{size}", f"mobileone_s{size}") for size in range(5)),
    ),
    "guidance_table3": Table(
        "Zhao et al. 2023, Table 3",
        ("twitch_violence",),
        PICTURES,
        (
            ("CLIP without training", "clip_vit_b_16", ""),
            ("the image encoder alone (MobileOne-S4)", "mobileone_s4", "plain"),
            ("guidance network, text encoder frozen", "guidance_frozen", "guided_text_frozen"),
            ("guidance network, text encoder learnt", "guidance_unfrozen", "guided_text_learnt"),
            ("guidance network that also learns the unguided picture (ours)", "", "guided_and_plain"),
            ("logistic regression on the image encoder's features (ours)", "", "logistic"),
        ),
    ),
    "balance_mla_table1": Table(
        "BalanceMLA, Table 1",
        ("lrw", "lrw1000"),
        ("accuracy", "f1"),
        (
            ("spatio-temporal convolution", "spatio_temporal_convolution", "spatio_temporal_convolution"),
            ("2-layer BGRU", "bgru", "bgru"),
            ("transformer, audio", "audio_transformer", "audio_transformer"),
            ("BalanceMLA, audio", "balance_mla_audio", "balance_mla_audio"),
            ("transformer, video", "video_transformer", "video_transformer"),
            ("BalanceMLA, video", "balance_mla_video", "balance_mla_video"),
            ("concatenation", "concatenation", "concatenation"),
            ("single residual, audio-centric", "audio_centric", "audio_centric"),
            ("transformer, fusion", "transformer_fusion", "transformer_fusion"),
            ("BalanceMLA, fusion", "balance_mla", "balance_mla"),
            ("logistic regression (ours)", "", "logistic"),
        ),
    ),
    "balance_mla_table2": Table(
        "BalanceMLA, Table 2",
        ("iemocap",),
        ("accuracy",),
        (
            *tuple(
                (f"{label}, {words}" if part else label, name + part, name + part)
                for words, part in (("audio", "_audio_only"), ("video", "_video_only"), ("", ""))
                for label, name in (("AVHuBERT", "avhubert"), ("AVBERT", "avbert"), ("MAViL", "mavil"))
            ),
            ("BalanceMLA, audio", "balance_mla_audio", "balance_mla_audio"),
            ("BalanceMLA, video", "balance_mla_video", "balance_mla_video"),
            ("BalanceMLA", "balance_mla", "balance_mla"),
        ),
    ),
    "balance_mla_table3": Table(
        "BalanceMLA, Table 3",
        ("lrw1000", "iemocap"),
        ("accuracy",),
        (
            ("base model", "base", "base"),
            ("base + AttentionBRFF", "brff", "brff"),
            ("base + AttentionBRFF + adaptive decision fusion", "brff_decision", "brff_decision"),
            ("full model", "brff_decision_category", "balance_mla"),
        ),
    ),
    "mult_concat_codes": Table(
        "MultConcat, customs codes",
        ("eorigin_hs_code",),
        ("top1", "top3", "top5"),
        (
            *(
                (f"{fusion}: {picture}, title, description, category", f"{fusion}_{network}_simcse", "")
                for picture, network in (("ViT", "vit"), ("ResNet50", "resnet50"), ("CLIP", "clip"))
                for fusion in CODES
            ),
            ("mult_concat: title, description, category", "mult_concat_none_simcse", ""),
            ("mult_concat: ResNet50, description", "mult_concat_resnet50_simcse_id", ""),
            *((f"{fusion}: MobileNetV2, title, description", "", f"{fusion}_itd") for fusion in CODES),
            ("mult_concat: title, description", "", "mult_concat_td"),
            ("mult_concat: MobileNetV2, description", "", "mult_concat_id"),
            ("picture alone", "", "image_only"),
            ("title alone", "", "title_only"),
            ("description alone", "", "description_only"),
            ("logistic regression", "", "logistic"),
        ),
    ),
    "mult_concat_rgbd": Table(
        "MultConcat, RGB-D",
        ("infrabel_rgbd",),
        ("accuracy",),
        tuple((fusion, fusion, fusion) for fusion in (*RGBD, "logistic")),
        ("c3d", "slowfast", "timesformer", "mobilenet"),
    ),
}


def laid_out(table: Table, studies: list[Path], latency: Path | None = None) -> pd.DataFrame:
    """The paper's rows; a column each data set and metric of the paper, then each task of ours, in percent. latency:
    results of benchmarks/latency.py, in milliseconds a picture."""
    facts = pd.read_csv(published.FACTS)
    facts = facts[facts["paper"] == table.paper]
    ours = [(study, one) for study in studies for one in sorted((study / "leaderboard").glob("*.csv"))]
    told = {f"{study.name}, {one.stem}": study / "evaluate" / one.stem for study, one in ours}
    boards = {f"{study.name}, {one.stem}": pd.read_csv(one).set_index("model") for study, one in ours}
    timed = json.loads(latency.read_text())["milliseconds"] if latency else {}
    lines = []
    for words, published_as, mine in table.rows:
        line = {"": words}
        for dataset, metric, network in product(table.datasets, table.metrics, table.networks):
            model = "_".join(filter(None, [published_as, network]))
            here = (facts["dataset"] == dataset) & (facts["model"] == model) & (facts["metric"] == metric)
            line[_column("paper", dataset, metric, network)] = _as_printed(facts.loc[here, "value"])
        for name, board in boards.items():
            for metric, network in product((one for one in table.metrics if one != LATENCY), table.networks):
                model = "_".join(filter(None, [mine, network]))
                column = _column("here", name, metric, network)
                line[column] = _measured(board, model, OURS.get(metric, metric), told[name])
        for pictures, times in timed.items():
            line[f"here: ms a picture, {pictures} a call"] = (
                f"{times[published_as]:.2f}" if published_as in times else MISSING
            )
        lines.append(line)
    # A network that neither has.
    found = pd.DataFrame(lines)
    return found.loc[:, (found != MISSING).any() | ~found.columns.str.endswith(tuple(filter(None, table.networks)))]


def _column(whose: str, name: str, metric: str, network: str) -> str:
    return f"{whose}: {' '.join(filter(None, [name, metric, network]))}"


def _as_printed(values: pd.Series) -> str:
    """With a digit at least, and as many as the paper has."""
    return repr(float(values.iloc[0])) if len(values) else MISSING


def _measured(board: pd.DataFrame, model: str, metric: str, predictions: Path) -> str:
    """Mean over the seeds in percent, with the 95 % interval where the study has one, else the standard deviation."""
    if model not in board.index:
        return MISSING
    row = board.loc[model]
    if metric in board and row["metric"] == metric:
        return f"{100 * row[metric]:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    if metric in board:
        return _told(row[metric], row[f"{metric}_std"])
    if metric not in MACRO or not (path := predictions / f"{model}.parquet").exists():
        return MISSING
    table = pd.read_parquet(path, columns=["seed", "condition", "label", "predicted"])
    seeds = table[table["condition"] == "full"].groupby("seed")
    values = pd.Series([scores(one["label"], one["predicted"])[metric] for _, one in seeds])
    return _told(values.mean(), values.std())


def _told(mean: float, std: float) -> str:
    """Of one seed nothing varies."""
    return f"{100 * mean:.1f}" if pd.isna(std) else f"{100 * mean:.1f} ± {100 * std:.1f}"


def singles(study: Path) -> pd.DataFrame:
    """Of each single clip that MM-SHAP at the input tells of: modality, patch, value, and `title` with its shares."""
    found = [pd.read_csv(path) for path in sorted((study / "relevance").glob("*/mm_shap_input.csv"))]
    table = pd.concat(found, ignore_index=True)
    rows = table[table["kind"] == "clip"].copy()
    # A text is masked whole.
    rows["patch"] = rows["patch"].fillna(rows["modality"])
    sizes = rows["value"].abs().groupby([rows["clip_id"], rows["modality"]], sort=False).sum()
    shares = 100 * sizes / sizes.groupby(level=0).transform("sum")
    words = {clip: ", ".join(f"{name} {share:.0f} %" for name, share in part.droplevel(0).items())
             for clip, part in shares.groupby(level=0)}  # fmt: skip
    right = rows["predictions"].map({"correct": "right", "incorrect": "wrong"})
    number = (pd.factorize(rows["clip_id"])[0] + 1).astype(str)
    rows["title"] = number + ". " + rows["target"] + ", " + right + ": " + rows["clip_id"].map(words)
    return rows[["clip_id", "title", "modality", "patch", "value"]]


def drawn(rows: pd.DataFrame) -> alt.FacetChart:
    """A bar a patch: what it says for the class that is predicted, of each clip beside the others."""
    bars = alt.Chart(rows).mark_bar()
    bars = bars.encode(
        x=alt.X("value:Q", title="Shapley value of the predicted class's probability"),
        y=alt.Y("patch:N", sort=list(dict.fromkeys(rows["patch"])), title=None),
        color=alt.Color("modality:N", title=None, legend=alt.Legend(orient="top")),
    )
    whole = bars.properties(width=260, height=alt.Step(12)).facet(facet=alt.Facet("title:N", title=None), columns=2)
    found: alt.FacetChart = whole.configure_view(stroke=None)
    return found


def _nothing_of(table: str, studies: list[Path]) -> str:
    """What is said of studies that have none of a table's models; else ""."""
    boards = [pd.read_csv(board) for study in studies for board in sorted((study / "leaderboard").glob("*.csv"))]
    found = sorted({str(name) for board in boards for name in board["model"]})
    ends = [f"_{network}" if network else "" for network in TABLES[table].networks]
    wanted = [mine + end for _, _, mine in TABLES[table].rows if mine for end in ends]
    if set(wanted) & set(found):
        return ""
    named = ", ".join(map(str, studies))
    return f"{named}: expected models of {table}, such as {wanted[0]}, got {', '.join(found) or 'none'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=[*sorted(TABLES), SINGLE])
    parser.add_argument("studies", type=Path, nargs="+", help="results of finished studies")
    parser.add_argument("--latency", type=Path, help="results of benchmarks/latency.py")
    parser.add_argument("--output", type=Path, help=f"SVG of {SINGLE}")
    arguments = parser.parse_args()
    if arguments.table == SINGLE:
        if not arguments.output or not list(arguments.studies[0].glob("relevance/*/mm_shap_input.csv")):
            raise SystemExit(f"{SINGLE}: expected --output, and a study with the measure mm_shap_input")
        drawn(singles(arguments.studies[0])).save(arguments.output)
        return
    for study in arguments.studies:
        if not (study / "leaderboard").is_dir():
            raise SystemExit(f"{study}: expected the results of a finished study, got no folder leaderboard in it")
    if why := _nothing_of(arguments.table, arguments.studies):
        raise SystemExit(why)
    found = laid_out(TABLES[arguments.table], arguments.studies, arguments.latency)
    print(found.to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
