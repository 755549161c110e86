"""What the source papers measure of a model beside its accuracy, of a finished study, in the papers' own layout.

    PYTHONPATH=src python benchmarks/paper_measures.py mm_shap results/mult_concat_codes    # pairs and classes
    PYTHONPATH=src python benchmarks/paper_measures.py lengths results/balance_mla_avletters_lengths    # figure 1b, c
    PYTHONPATH=src python benchmarks/paper_measures.py epochs results/balance_mla_avletters    # figure 1a

Prints Markdown, percent and points with 95 % intervals; MM-SHAP beside the figures of the slides.
"""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import yaml

from modalens.reporting import published
from modalens.utils.words import counted

SHAP = "MultConcat, MM-SHAP"
PARTS = ("all", "correct", "incorrect")
METRIC = re.compile(r"(\w+)_shap(?:_(\w+))?")  # of published.csv: text_shap, text_shap_correct


def mm_shap(study: Path) -> pd.DataFrame:
    """Shares of each modality over all, correct and incorrect predictions: of the slides, then of each model of the
    study and of each of its classes."""
    facts = pd.read_csv(published.FACTS)
    lines = []
    for row, part in facts[facts["paper"] == SHAP].groupby("row", sort=False):
        told: dict[str, list[str]] = {one: [] for one in PARTS}
        for metric, value in zip(part["metric"], part["value"], strict=True):
            modality, predictions = METRIC.fullmatch(metric).groups(default="all")
            told[predictions].append(f"{modality} {value:.1f}")
        lines.append({"": f"slides, {row}"} | {one: ", ".join(said) for one, said in told.items()})
    for path in _tables(study, "mm_shap"):
        table = pd.read_csv(path)
        table = table[(table["kind"] == "modality") & (table["quantity"] == "share")]
        table = table.assign(label=table["label"].fillna(""))
        for (model, label), part in table.groupby(["model", "label"], sort=False):
            line = {"": f"{path.parent.name}, {model}{label and f', class={label}'}"}
            for predictions, own in part.groupby("predictions", sort=False):
                told_of = ", ".join(f"{row.modality} {_percent(row)}" for row in own.itertuples())
                line[predictions] = f"{told_of} ({counted(int(own['clips'].iloc[0]), 'clip')})"
            lines.append(line)
    return pd.DataFrame(lines).fillna("")


def lengths(study: Path) -> pd.DataFrame:
    """A row a ratio of lengths: what the model reaches, what that gains, and what it loses without each modality."""
    replacement = yaml.safe_load((study / "config.yaml").read_text())["report"].get("replacement", "")
    lines = []
    for path in _tables(study, "length_contribution"):
        table = pd.read_csv(path)
        table = table[table["metric"] == "accuracy"]
        drops = pd.read_csv(path.with_name("leave_one_out.csv"))
        drops = drops[drops["metric"] == "accuracy"]
        replacement = replacement or drops["replacement"].iloc[0]
        drops = drops[drops["replacement"] == replacement].assign(value=drops["drop"])
        for (model, words), part in table.groupby(["model", "lengths"], sort=False):
            line = {"task": path.parent.name, "lengths": words}
            for quantity in ("performance", "gain"):
                own = part[part["quantity"] == quantity]
                line[quantity] = _percent(next(own.itertuples())) if len(own) else ""
            for row in drops[drops["model"] == model].itertuples():
                line[f"lost without {row.modality} ({replacement})"] = _percent(row)
            lines.append(line)
    return pd.DataFrame(lines)


def epochs(study: Path) -> pd.DataFrame:
    """Epochs to 95 % of the best, of each model and modality, and how many more one needs than another."""
    found = []
    for path in _tables(study, "dynamics"):
        table = pd.read_csv(path)
        table = table[table["quantity"].isin(["convergence_epoch", "convergence_difference"])]
        told = ["not reached" if row.value != row.value else _told(row, 1) for row in table.itertuples()]
        columns = table[["model", "modality", "other", "quantity"]].fillna("")
        found.append(columns.assign(task=path.parent.name, epochs=told))
    return pd.concat(found, ignore_index=True)[["task", "model", "modality", "other", "quantity", "epochs"]]


def _tables(study: Path, measure: str) -> list[Path]:
    found = sorted((study / "relevance").glob(f"*/{measure}.csv"))
    if not found:
        raise SystemExit(f"{study}: expected the results of a study with the measure {measure}, got no table of it")
    return found


def _percent(row: object) -> str:
    return _told(row, 100)


def _told(row: object, factor: float) -> str:
    value, low, high = (factor * getattr(row, name) for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]" if low == low else f"{value:.1f} (no interval)"


WHAT: dict[str, Callable[[Path], pd.DataFrame]] = {"mm_shap": mm_shap, "lengths": lengths, "epochs": epochs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(WHAT))
    parser.add_argument("study", type=Path, help="results of a finished study")
    arguments = parser.parse_args()
    print(WHAT[arguments.what](arguments.study).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
