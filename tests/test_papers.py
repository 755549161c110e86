"""Tables of the source papers: every published figure has its row, and ours stand beside it."""

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest

from modalens.config.resolve import load, resolve
from modalens.reporting import published

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
CONFIG = BENCHMARKS.parent / "config" / "papers"


def script(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def papers():
    return script("papers")


@pytest.fixture(scope="module")
def measures():
    return script("paper_measures")


def test_every_figure_of_a_paper_s_table_is_in_its_layout(papers):
    facts = pd.read_csv(published.FACTS)
    for name, table in papers.TABLES.items():
        part = facts[facts["paper"] == table.paper]
        assert len(part), name
        assert set(part["dataset"]) <= set(table.datasets), name
        assert set(part["metric"]) <= set(table.metrics), name
        ends = [f"_{network}" if network else "" for network in table.networks]
        assert set(part["model"]) <= {theirs + end for _, theirs, _ in table.rows for end in ends}, name


def test_a_study_s_results_stand_beside_the_paper_s_and_what_was_not_measured_is_a_dash(papers, tmp_path):
    (tmp_path / "mine/leaderboard").mkdir(parents=True)
    board = {"model": ["concatenation"], "accuracy": [0.935], "low": [0.898], "high": [0.959], "metric": ["accuracy"]}
    pd.DataFrame(board | {"f1": [0.93], "f1_std": [0.012]}).to_csv(
        tmp_path / "mine/leaderboard/letter.csv", index=False
    )
    table = papers.laid_out(papers.TABLES["balance_mla_table1"], [tmp_path / "mine"]).set_index("")
    row = table.loc["concatenation"]
    assert row["paper: lrw accuracy"] == "97.59", "as it is printed"
    assert row["paper: lrw f1"] == "–"
    assert row["here: mine, letter accuracy"] == "93.5 [89.8, 95.9]"
    assert row["here: mine, letter f1"] == "93.0 ± 1.2"
    assert table.loc["2-layer BGRU", "here: mine, letter accuracy"] == "–"


def test_a_study_with_none_of_the_table_s_models_is_one_line(papers, tmp_path, monkeypatch):
    (tmp_path / "leaderboard").mkdir()
    argv = ["papers.py", "balance_mla_table1", str(tmp_path)]
    monkeypatch.setattr("sys.argv", argv)
    with pytest.raises(SystemExit, match=r"expected models of balance_mla_table1, such as spatio_.*, got none$"):
        papers.main()
    pd.DataFrame({"model": ["late_fusion"]}).to_csv(tmp_path / "leaderboard/letter.csv", index=False)
    with pytest.raises(SystemExit, match=r"got late_fusion$"):
        papers.main()


def test_latency_of_a_picture_stands_beside_the_paper_s_in_milliseconds(papers, tmp_path):
    (tmp_path / "mine/leaderboard").mkdir(parents=True)
    pd.DataFrame({"model": ["mobileone_s0"], "accuracy": [0.5], "accuracy_std": [0.01], "metric": ["f1"]}).to_csv(
        tmp_path / "mine/leaderboard/category.csv", index=False
    )
    times = {"1": {"mobileone_s0": 1.234}, "32": {"mobileone_s0": 0.056}}
    (tmp_path / "latency.json").write_text(json.dumps({"milliseconds": times}))
    table = papers.laid_out(papers.TABLES["guidance_table2"], [tmp_path / "mine"], tmp_path / "latency.json")
    row = table.set_index("").loc["MobileOne-S0"]
    assert row["paper: twitch_violence latency_ms"] == "0.11"
    assert row["here: mine, category accuracy"] == "50.0 ± 1.0"
    assert [row[f"here: ms a picture, {one} a call"] for one in (1, 32)] == ["1.23", "0.06"]
    assert "here: mine, category latency_ms" not in table


# Tables whose rows a config has; of table 2 the rows of other people's models are the paper's figures alone.
CORPORA = {
    "lrw": ["balance_mla_table1"],
    "lrw1000": ["balance_mla_table1", "balance_mla_table3"],
    "iemocap": ["balance_mla_table3"],
    "crema_d": ["balance_mla_table3"],
    "ravdess": ["balance_mla_table3"],
}


@pytest.mark.parametrize("corpus", CORPORA)
def test_balance_mla_has_a_config_at_its_paper_s_size_for_corpora_that_are_not_here(
    papers, corpus, tmp_path, monkeypatch
):
    config = load(CONFIG / f"balance_mla_{corpus}.yaml")
    monkeypatch.chdir(tmp_path)
    weights = config["modalities"]["video"].get("options", {}).get("weights")
    if weights:
        Path(weights).parent.mkdir(parents=True)
        Path(weights).touch()
    study = resolve(config)
    models = study["models"]
    for table in CORPORA[corpus]:
        missing = {ours for *_, ours in papers.TABLES[table].rows} - set(models)
        assert not missing
    assert study["dataset"]["name"] == corpus
    assert study["modalities"]["audio"]["options"]["model"] == "facebook/hubert-base-ls960"
    for name, model in models.items():
        if model["model"] in ("transformer", "joint_transformer", "balance_mla"):
            options = {**{"layers": 6, "heads": 8, "dropout": 0.1, "cross_layers": 3}, **model["options"]}
            assert (options["layers"], options["heads"], options["dropout"], options["cross_layers"]) == (6, 8, 0.1, 3)
        training = {**study["training"], **model["training"]}
        found = training["epochs"], training["learning_rate"], training["batch_size"]
        fine = model["model"] == "balance_mla"
        wanted = (5, 5e-5, 32) if fine else (25, 5e-7, 16) if name == "transformer_fusion" else (25, 3e-4, 32)
        assert found == wanted, name


def test_precision_and_recall_are_means_over_classes_and_then_over_seeds(papers, tmp_path):
    for folder in ("leaderboard", "evaluate/category"):
        (tmp_path / "mine" / folder).mkdir(parents=True)
    pd.DataFrame({"model": ["plain"], "accuracy": [0.5], "accuracy_std": [0.0], "metric": ["f1"]}).to_csv(
        tmp_path / "mine/leaderboard/category.csv", index=False
    )
    told = {"label": ["a", "a", "b", "b"] * 2, "predicted": ["a", "a", "a", "b", "a", "a", "b", "b"]}
    table = pd.DataFrame(told | {"seed": [0] * 4 + [1] * 4, "condition": "full"})
    other = table.assign(condition="image=mean", predicted="a")
    pd.concat([table, other]).to_parquet(tmp_path / "mine/evaluate/category/plain.parquet")
    row = papers.laid_out(papers.TABLES["guidance_table3"], [tmp_path / "mine"]).set_index("")
    row = row.loc["the image encoder alone (MobileOne-S4)"]
    # Seed 0: precision (2/3 + 1) / 2, recall (1 + 1/2) / 2. Seed 1: all right.
    assert row["here: mine, category precision"] == "91.7 ± 11.8"
    assert row["here: mine, category recall"] == "87.5 ± 17.7"


def test_a_product_by_itself_is_drawn_with_the_shares_of_its_modalities(papers, tmp_path):
    (tmp_path / "relevance/category").mkdir(parents=True)
    rows = [("image", "height 0:2", 0.1), ("image", "height 2:4", -0.1), ("text", None, 0.6)]
    table = pd.DataFrame(rows, columns=["modality", "patch", "value"]).assign(
        kind="clip", clip_id="one", predictions="correct", target="shoes"
    )
    mean = table[:1].assign(kind="modality", value=9.0)
    pd.concat([table, mean]).to_csv(tmp_path / "relevance/category/mm_shap_input.csv", index=False)
    found = papers.singles(tmp_path)
    assert set(found["title"]) == {"1. shoes, right: image 25 %, text 75 %"}
    assert found["value"].tolist() == [0.1, -0.1, 0.6]
    assert found["patch"].tolist() == ["height 0:2", "height 2:4", "text"]
    papers.drawn(found).save(tmp_path / "one.svg")
    assert "shoes, right" in (tmp_path / "one.svg").read_text()


def test_a_paper_with_a_column_for_each_network_has_one_and_none_that_nobody_has(papers, tmp_path):
    (tmp_path / "mine/leaderboard").mkdir(parents=True)
    board = {"model": ["max_mobilenet"], "accuracy": [0.5], "low": [0.4], "high": [0.6], "metric": ["accuracy"]}
    pd.DataFrame(board).to_csv(tmp_path / "mine/leaderboard/action.csv", index=False)
    row = papers.laid_out(papers.TABLES["mult_concat_rgbd"], [tmp_path / "mine"]).set_index("").loc["max"]
    assert dict(row) == {
        "paper: infrabel_rgbd accuracy c3d": "66.3",
        "paper: infrabel_rgbd accuracy slowfast": "86.0",
        "paper: infrabel_rgbd accuracy timesformer": "39.9",
        "here: mine, action accuracy mobilenet": "50.0 [40.0, 60.0]",
    }


def test_shares_of_pairs_and_classes_stand_beside_the_slides(measures, tmp_path):
    (tmp_path / "relevance/action").mkdir(parents=True)
    shares = {"rgb": (0.75, 0.5, 1.0), "depth": (0.25, 0.0, 0.5)}
    rows = [
        {"model": "fused", "modality": name, "label": label, "value": value, "low": low, "high": high}
        for label in (None, "walk")
        for name, (value, low, high) in shares.items()
    ]
    table = pd.DataFrame(rows).assign(kind="modality", quantity="share", predictions="all", clips=1)
    table.to_csv(tmp_path / "relevance/action/mm_shap.csv", index=False)
    found = measures.mm_shap(tmp_path).set_index("")
    assert found.loc["slides, class=safe_action", "correct"] == "rgb 56.2, depth 43.8"
    assert found.loc["slides, pair=image-title", "incorrect"] == "text 88.6, image 11.4"
    for row in ("action, fused", "action, fused, class=walk"):
        assert found.loc[row, "all"] == "rgb 75.0 [50.0, 100.0], depth 25.0 [0.0, 50.0] (1 clip)"


def test_what_a_ratio_of_lengths_gains_stands_beside_what_is_lost_by_the_replacement_of_the_answer(measures, tmp_path):
    folder = tmp_path / "relevance/letter"
    folder.mkdir(parents=True)
    (tmp_path / "config.yaml").write_text("report: {replacement: mean@fusion}")
    columns = ["model", "lengths", "metric", "quantity", "value", "low", "high"]
    rows = [
        ("a", "lips 2", "accuracy", "performance", 0.9, 0.8, 1.0),
        ("b", "lips 4", "accuracy", "gain", 0.1, 0.0, 0.2),
    ]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "length_contribution.csv", index=False)
    drops = pd.DataFrame({"model": ["a", "a"], "replacement": ["blank@input", "mean@fusion"], "drop": [0.6, 0.3]})
    drops = drops.assign(modality="lips", metric="accuracy", low=0.0, high=0.9)
    drops.to_csv(folder / "leave_one_out.csv", index=False)
    found = measures.lengths(tmp_path).set_index("lengths")
    assert found.loc["lips 2", "performance"] == "90.0 [80.0, 100.0]"
    assert found.loc["lips 4", "gain"] == "10.0 [0.0, 20.0]"
    assert found.loc["lips 2", "lost without lips (mean@fusion)"] == "30.0 [0.0, 90.0]"


def test_a_study_without_the_measure_is_one_line(measures, tmp_path):
    with pytest.raises(SystemExit, match=r"expected the results of a study with the measure dynamics, got no table"):
        measures.epochs(tmp_path)
