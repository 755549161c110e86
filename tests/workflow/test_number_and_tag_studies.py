"""A study of numbers and of tags from its list to its page, where the answer is known."""

import numpy as np
import pandas as pd
import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1800)]
CLIPS = 600


@pytest.fixture(scope="module")
def study(checkout, tmp_path_factory):
    """valence: .81 of its variance from what is seen, .09 from what is heard, .10 from neither. sounds: dog and cat
    are seen, rain is heard, each in three of ten clips. mood: seen."""
    draw = np.random.default_rng(0)
    seen, other, heard, rest = draw.normal(size=(4, CLIPS))
    tags = {"dog": seen > 0.524, "cat": other > 0.524, "rain": heard > 0.524}
    table = pd.DataFrame({"clip_id": [f"c{at:03d}" for at in range(CLIPS)], "s1": seen, "s2": other, "h": heard})
    table["valence"] = 50 + 10 * (0.9 * seen + 0.3 * heard + np.sqrt(0.1) * rest)
    table["sounds"] = [";".join(name for name in tags if tags[name][at]) or ";" for at in range(CLIPS)]
    table["mood"] = np.where(seen > 0, "good", "bad")
    folder = tmp_path_factory.mktemp("list")
    table.to_csv(folder / "list.csv", index=False)
    config = {
        "name": "numbers_and_tags",
        "dataset": {"name": "folder", "csv": str(folder / "list.csv")},
        "tasks": ["valence", "sounds", "mood"],
        "targets": {"valence": "regression", "sounds": "multilabel"},
        "shards": 1,
        "seeds": [0, 1, 2],
        "modalities": {
            "seen": {"kind": "table", "encoder": "fields", "columns": ["s1", "s2"]},
            "heard": {"kind": "table", "encoder": "fields", "columns": ["h"]},
        },
        "models": {"late_fusion": {}, "logistic": {}},
        "evaluate": {"replacements": ["mean@fusion"]},
        "relevance": {
            "bootstrap": 300,
            "measures": {"leave_one_out": {}, "shapley": {}, "interaction": {}, "coalition_values": {}, "pid": {}},
        },
        "splits": {"train": 0.5, "validation": 0.2, "test": 0.3},
    }
    made = checkout(config)
    made.snakemake()
    return made


def drops(study, task, model, metric):
    table = pd.read_csv(study.results / "relevance" / task / "leave_one_out.csv")
    table = table[(table.model == model) & (table.metric == metric)].set_index("modality")
    return float(table["full"].iloc[0]), table["drop"].to_dict()


@pytest.mark.parametrize("model", ["late_fusion", "logistic"])
def test_of_numbers_each_modality_loses_its_share_of_the_variance(study, model):
    full, lost = drops(study, "valence", model, "r2")
    assert full == pytest.approx(0.9, abs=0.05)
    assert lost == pytest.approx({"seen": 0.81, "heard": 0.09}, abs=0.1)
    shapley = pd.read_csv(study.results / "relevance" / "valence" / "shapley.csv")
    used = shapley[(shapley.model == model) & (shapley.value_function == "r2") & (shapley.notion == "used")]
    assert dict(zip(used.modality, used.value, strict=True)) == pytest.approx({"seen": 0.81, "heard": 0.09}, abs=0.1)


@pytest.mark.parametrize("model", ["late_fusion", "logistic"])
def test_of_tags_a_modality_loses_those_that_it_tells(study, model):
    full, lost = drops(study, "sounds", model, "tag_accuracy")
    assert full > 0.93
    assert lost == pytest.approx({"seen": 0.2, "heard": 0.1}, abs=0.06)


def test_numbers_are_predicted_in_their_own_units_and_every_split_has_high_and_low_ones(study):
    rows = pd.read_parquet(study.results / "evaluate" / "valence" / "late_fusion.parquet")
    full = rows[rows.condition == "full"]
    assert (pd.to_numeric(full.label) - pd.to_numeric(full.predicted)).abs().mean() < 4
    parts = [pd.read_csv(study.results / "splits" / "valence" / f"{one}.csv") for one in ("train", "test")]
    first, second = (part.label.quantile([0.1, 0.5, 0.9]).to_numpy() for part in parts)
    assert first == pytest.approx(second, abs=3)
    assert pd.to_numeric(full.prior_predicted).iloc[0] == pytest.approx(parts[0].label.mean())


def test_classes_beside_them_are_studied_as_ever_and_what_is_of_classes_only_is_left_out(study):
    assert (study.results / "relevance" / "mood" / "pid.csv").exists()
    assert not (study.results / "relevance" / "valence" / "pid.csv").exists()


def test_page_and_summary_tell_the_answer_in_their_own_metrics(study):
    page = (study.results / "report" / "index.html").read_text()
    assert "R²" in page or "R2" in page
    assert "F1" in page
    assert study.plan() == {}
