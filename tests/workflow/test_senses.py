"""Studies of five modalities, and of clips that lack some: configs of the repository, made small, to their reports."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from modalens.plugins import registry

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1800)]
FIVE = ("audio", "series", "table", "text", "video")
# All of the registry but `length_contribution`, which compares models of several lengths.
MEASURES = {
    "coalition_values": {},
    "dynamics": {},
    "interaction": {},
    "leave_one_out": {},
    "missing_curve": {},
    "mm_shap": {"models": ["late_fusion"], "clips": 10, "patches": 2, "permutations": 2},
    "mm_shap_input": {"models": ["late_fusion"], "clips": 4, "patches": 2, "permutations": 2},
    "noise_curve": {"levels": [0, 1]},
    "permutation_importance": {"exchanges": 20},
    "pid": {"replacement": "mean@input", "cells": 3},
    "probe": {"strengths": [1.0]},
    "sample_relevance": {"replacement": "mean@input"},
    "shapley": {},
}


def small(name, clips, **more):
    config = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
    config["dataset"]["clips"] = clips
    return {**config, "seeds": [0, 1], "shards": 1, "relevance": {"bootstrap": 200}, **more}


def shapley(study, task, model="late_fusion", replacement="mean@input"):
    table = pd.read_csv(study.results / "relevance" / task / "shapley.csv", keep_default_na=False)
    table = table[(table["model"] == model) & (table["replacement"] == replacement)]
    table = table[(table["value_function"] == "accuracy") & (table["notion"] == "used")]
    return pd.to_numeric(table.set_index("modality")["value"])


def test_five_modalities_get_the_worth_that_is_known_of_them(checkout):
    study = checkout(
        small(
            "known_senses",
            700,
            tasks=["everywhere", "sum", "written"],
            models={"late_fusion": {}},
            evaluate={"replacements": ["mean@input"]},
        )
    )
    study.snakemake()
    assert study.plan() == {}, "a finished study has nothing to do"
    answers = json.loads((study.results / "manifest" / "answers.json").read_text())
    rows = pd.read_parquet(study.results / "evaluate" / "everywhere" / "late_fusion.parquet")
    assert rows["coalition"].nunique() == 32
    for task in ("everywhere", "written"):
        found, known = shapley(study, task), answers[task]["shapley_accuracy"]
        assert set(found.index) == set(FIVE)
        for name in FIVE:
            assert abs(found[name] - known[name]) < 0.15, (task, name)
    found = shapley(study, "sum")
    assert min(found["series"], found["table"]) > 0.1 > max(found["audio"], found["text"], found["video"])
    page = (study.results / "report" / "index.html").read_text()
    assert all(f">{name}<" in page for name in FIVE)


@pytest.mark.parametrize(("name", "modalities"), [("known_senses", FIVE), ("incomplete", ("series", "table", "text"))])
def test_every_measure_speaks_of_every_modality_also_where_clips_lack_some(checkout, name, modalities):
    assert {*MEASURES, "length_contribution"} == set(registry.names("measures"))
    config = small(
        name,
        150,
        tasks=["everywhere"],
        models={"late_fusion": {}, **{f"{one}_only": {} for one in modalities}},
        training={"learning_rate": 0.002, "epochs": 8, "dynamics": True},
        evaluate={"replacements": ["mean@input"]},
        relevance={"bootstrap": 100, "measures": MEASURES},
    )
    for one in config["modalities"].values():
        one["keep"] = True  # mm_shap_input reads what was decoded
    study = checkout(config)
    study.snakemake()
    for measure in MEASURES:
        table = pd.read_csv(study.results / "relevance" / "everywhere" / f"{measure}.csv", keep_default_na=False)
        columns = [column for column in ("modality", "other", "coalition") if column in table]
        told = {word for column in columns for cell in table[column].unique() for word in str(cell).split(",")}
        assert set(modalities) <= told, measure
    page = (study.results / "report" / "index.html").read_text()
    assert "nan" not in page.split("</style>")[-1].partition("<script")[0].lower().split()


def test_clips_that_lack_a_modality_stay_and_the_report_says_how_many(checkout):
    study = checkout(small("incomplete", 400, tasks=["written"], models={"late_fusion": {}, "text_only": {}}))
    study.snakemake()
    lists = [
        pd.read_csv(study.results / "splits" / "written" / f"{name}.csv") for name in ("train", "validation", "test")
    ]
    lacks = pd.concat(lists)["lacks"].fillna("")
    assert len(lacks) > 395, "hardly any clip lacks all three"
    assert 0.2 < lacks.str.contains("text").mean() < 0.4
    known = json.loads((study.results / "manifest" / "answers.json").read_text())["written"]
    assert known["bayes_accuracy"]["series,table,text"] == pytest.approx(0.7 + 0.3 / 3)
    rows = pd.read_parquet(study.results / "evaluate" / "written" / "late_fusion.parquet")
    gone = rows["lacks"].str.contains("text").to_numpy()
    full = (rows["replacement"] == "").to_numpy()
    right = (rows["predicted"] == rows["label"]).to_numpy()
    assert right[full & ~gone].mean() > 0.95
    assert right[full & gone].mean() < 0.6
    # Withholding the text changes nothing for a clip that has none.
    told = rows[gone & rows["coalition"].isin(["series,table", "series,table,text"])]
    spread = told.groupby(["clip_id", "seed"])["log_probability"].agg(np.ptp)
    assert spread.max() == 0
    page = (study.results / "report" / "index.html").read_text()
    assert "Clips that lack a modality" in page
    attrition = pd.read_csv(study.results / "report" / "tables" / "incomplete.csv")
    assert set(attrition["modality"]) == {"series", "table", "text"}
