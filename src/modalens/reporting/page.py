"""A study folder -> one HTML page that opens anywhere; beside it its tables as CSV, its figures as SVG and PNG."""

import math
import os
import platform
import subprocess
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from modalens.reporting import attrition, comparison, figures
from modalens.reporting.appearance import colors
from modalens.reporting.figure_style import RenderedFigure, draw, inline
from modalens.reporting.study_results import METRIC_NAMES, Study, per_class, results, weights
from modalens.reporting.summary import Finding, caveats, find, known

PACKAGE = Path(__file__).parent
# Characters of the page that its figures may take.
FIGURE_BUDGET = 2_000_000
DRAWN = 12  # models in a figure
SHOWN_PAIRS = 30  # all are in the table beside the page
PACKAGES = ["modalens", "torch", "torchaudio", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "h5py"]
PACKAGES += ["av", "decord", "snakemake", "mlflow", "matplotlib", "jinja2"]


def number(value: Any, digits: int = 2, sign: bool = False) -> str:
    """A number as the page shows it: a real minus sign, a dash for not-a-number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    text = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
    # Not "-0.00".
    return text.lstrip("-+") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{number(100 * value, 0)} %"


def probability(value: float) -> str:
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def drawings(study: Study, tables: dict[str, pd.DataFrame], answers: dict[str, Any]) -> dict[str, RenderedFigure]:
    """All figures by name; a figure whose table the study does not have is left out."""
    made: dict[str, RenderedFigure] = {}

    def add(name: str, make: Any, words: str) -> None:
        made[name] = draw(name, make, words)

    for task in study.tasks:
        board = _of(tables["leaderboard"], task)
        if len(board):
            chance = study.scores[task][study.headline(task)].chance
            add(f"{task}-leaderboard", partial(figures.leaderboard, board, chance), f"{task}: accuracy of each model")
        first = study.headline(task)
        models = drawn(study.multimodal(task) or list(study.scores[task]), first, board)
        drops, values = (_of(tables[name], task) for name in ("leave_one_out", "shapley"))
        if len(drops):
            rows = drops[(drops["metric"] == "accuracy") & drops["model"].isin(models)]
            add(f"{task}-withheld", partial(figures.withheld, rows, models), f"{task}: drop of accuracy when withheld")
        if len(values):
            truth = {
                value_function: answers.get(task, {}).get(f"shapley_{value_function}", {})
                for value_function in set(values["value_function"])
            }
            rows = values[values["model"].isin(models)]
            add(
                f"{task}-shapley",
                partial(figures.shapley, rows, models, truth),
                f"{task}: Shapley value of each modality",
            )
        rows = _of(tables["per_class"], task)
        add(f"{task}-classes", partial(figures.classes, rows, models), f"{task}: accuracy in each class")
        history = study.histories(task)
        if len(history):
            trained = [model for model in study.scores[task] if model in set(history["model"])]
            shown = set(drawn(trained, first, board))
            trained = [model for model in trained if model in shown]
            add(f"{task}-learning", partial(figures.curves, history, trained), f"{task}: loss and accuracy by epoch")
    lost = tables["attrition"]
    if len(lost) and (lost["cause"] != "").any():
        add("clips-lost", partial(figures.attrition, lost), "share of clips lost, by cause, split and class")
    return made


def drawn(models: list[str], first: str, board: pd.DataFrame) -> list[str]:
    """The models in the figures of a task, `first` first: all, or where they are more than DRAWN the best of them."""
    order = sorted(models, key=first.__ne__)
    if len(order) <= DRAWN or board.empty:
        return order[:DRAWN]
    best = [model for model in board["model"] if model in order and model != first][: DRAWN - 1]
    return [first, *(model for model in order if model in best)]


def evidence(study: Study, task: str, tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """What the page shows of one task below the answer."""
    rows = _of(tables["results"], task)
    published = {}
    for model, part in rows.groupby("model", sort=False):
        cells = part.set_index(["row", "metric"])[["mean", "std"]]
        names = list(dict.fromkeys(part["row"]))
        published[str(model)] = [(name, [tuple(cells.loc[(name, key)]) for key in METRIC_NAMES]) for name in names]
    drops, values = (_of(tables[name], task) for name in ("leave_one_out", "shapley"))
    scored = study.scores[task][study.headline(task)]
    return {
        "published": published,
        "drops": drops[drops["metric"] == "accuracy"].to_dict("records") if len(drops) else [],
        "values": values[values["value_function"] == "accuracy"].to_dict("records") if len(values) else [],
        "undrawn": max(0, len(study.multimodal(task) or study.scores[task]) - DRAWN),
        "size": f"{scored.clips:,} test clips of {scored.groups:,} groups, {len(scored.classes)} classes",
    }


def scale(findings: list[Finding], known_values: dict[str, Any]) -> tuple[float, float]:
    """Ends of the axis that all Shapley bars of the answer share."""
    rows = [row for finding in findings for part in finding.parts for row in (part.used, part.available) if row]
    ends = [row[key] for row in rows for key in ("low", "high", "value") if not math.isnan(row[key])]
    ends += [value for answer in known_values.values() for value in answer.get("shapley_accuracy", {}).values()]
    return min([0.0, *ends]), max([0.01, *ends])


def provenance() -> dict[str, str]:
    """Commit, machine and versions; packages that are not installed are left out."""
    rows = {"code": _commit(), "machine": f"{platform.platform()}, {os.cpu_count()} CPU cores"}
    rows["python"] = platform.python_version()
    for name in PACKAGES:
        try:
            rows[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return rows


def _commit() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(PACKAGE), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        # Of an installed copy in someone's project, the project's commit says nothing.
        git("ls-files", "--error-unmatch", str(Path(__file__)))
        return f"commit {git('rev-parse', 'HEAD')}{' with uncommitted changes' if git('status', '--porcelain') else ''}"
    except (OSError, subprocess.SubprocessError):
        return "not in a git repository"


def _of(table: pd.DataFrame, task: str) -> pd.DataFrame:
    return table[table["task"] == task] if len(table) else table


def page(
    study: Study, config_text: str, beside: bool = True
) -> tuple[str, dict[str, pd.DataFrame], dict[str, RenderedFigure], list[Finding]]:
    """HTML, its tables and figures by name, its findings. beside: tables and figures will lie beside the page, and the
    study had clips to lose; else the page stands alone and speaks of predictions only."""
    findings = [find(study, task) for task in study.tasks]
    answers = study.answers()
    tables = {"results": results(study), "per_class": per_class(study), "attrition": study.attrition()}
    tables |= {name: study.measure(name) for name in ("leave_one_out", "shapley")}
    tables |= {"known": known(study, findings), "decoding": study.decoding()}
    tables |= {"lost": attrition.by_cause(tables["attrition"]), "since": attrition.since(study)}
    tables |= {"incomplete": attrition.incomplete(study)}
    tables |= {"shared": attrition.shared(study), "duplicates": attrition.pairs(study)}
    tables |= {"leaderboard": comparison.boards(study), "trials": comparison.trials(study)}
    tables |= {"ranks": comparison.ranks(tables["leaderboard"])}
    choices = comparison.choices(tables["trials"])
    made = drawings(study, tables, answers)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PACKAGE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "percent": percent, "probability": probability}
    encoders = weights(study)
    modalities = sorted({part.modality for finding in findings for part in finding.parts})
    lost = tables["attrition"]
    html = environment.get_template("report.html.j2").render(
        title=study.settings.get("title") or study.root.name,
        study=study,
        findings=findings,
        answers=answers,
        scale=scale(findings, answers),
        colours=colors(modalities),
        modalities=modalities,
        caveats=caveats(study, encoders),
        evidence={task: evidence(study, task, tables) for task in study.tasks},
        figures={name: Markup(html) for name, html in inline(made, FIGURE_BUDGET).items()},
        metric_names=METRIC_NAMES.values(),
        known=tables["known"].to_dict("records"),
        boards={task: _of(tables["leaderboard"], task).to_dict("records") for task in study.tasks},
        ranks=tables["ranks"].to_dict("records"),
        choices=choices,
        compared=comparison.sentences(study, tables["leaderboard"], choices) if len(tables["leaderboard"]) else [],
        lost=lost[lost["cause"] != ""].to_dict("records") if len(lost) else [],
        attrition_known=len(lost) > 0,
        attrition=tables["lost"].to_dict("records"),
        uneven=attrition.uneven(lost),
        incomplete=tables["incomplete"].to_dict("records"),
        since=tables["since"].to_dict("records"),
        shared=tables["shared"].to_dict("records"),
        pairs=tables["duplicates"].head(SHOWN_PAIRS).to_dict("records"),
        decoding=tables["decoding"].to_dict("records"),
        weights=encoders,
        provenance=provenance(),
        config=config_text,
        tables=sorted(name for name, table in tables.items() if len(table)) if beside else [],
        beside=beside,
        confidence=(study.config.get("relevance") or {}).get("confidence", 0.95),
    )
    return html, tables, made, findings
