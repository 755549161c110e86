"""Numbers and tags as labels: the same measures, statistics and leaderboard, on answers that are known."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

import modalens
from modalens.measures.interaction import Interaction
from modalens.stats.bootstrap import Bootstrap
from modalens.stats.coalitions import coalitions, to_text
from modalens.stats.leaderboard import leaderboard
from modalens.stats.predictions import validate
from modalens.stats.targets import axes_of, count
from modalens.utils.errors import UserError

PAIR = ("audio", "video")
CLIPS = 400


def table(target, label, said, seeds=3, model="joint"):
    """said: coalition, seed -> predictions. Two clips a group."""
    frames = []
    for seed in range(seeds):
        for kept in coalitions(PAIR):
            frame = pd.DataFrame({"clip_id": [f"c{index:03d}" for index in range(len(label))], "label": label})
            frame["group"] = [f"g{index // 2:03d}" for index in range(len(label))]
            frame["predicted"] = said(kept, seed)
            columns = {"model": model, "seed": seed, "coalition": to_text(kept), "target": target}
            frames.append(frame.assign(replacement="" if kept == PAIR else "mean@input", **columns))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def valence():
    """y = audio + video, independent, of variance 1 and 4: audio alone tells a fifth of the variance."""
    draw = np.random.default_rng(0)
    parts = {name: scale * draw.normal(size=CLIPS) for name, scale in zip(PAIR, (1, 2), strict=True)}
    noise = {seed: 0.1 * np.random.default_rng(seed).normal(size=CLIPS) for seed in range(3)}
    return table("regression", sum(parts.values()), lambda kept, seed: sum(parts[n] for n in kept) + noise[seed])


@pytest.fixture(scope="module")
def scenes():
    """`dog` is heard and `rain` is seen, each in half of the clips."""
    draw = np.random.default_rng(1)
    there = {"audio": draw.random(CLIPS) < 0.5, "video": draw.random(CLIPS) < 0.5}
    tag = {"audio": "dog", "video": "rain"}

    def said(kept, _):
        return ["|".join(tag[name] for name in kept if there[name][clip]) for clip in range(CLIPS)]

    return table("multilabel", said(PAIR, 0), said)


@pytest.mark.parametrize("replicate", [0, 1, 17])
def test_metrics_of_numbers_are_scikit_learns_in_every_replicate(replicate):
    draw = np.random.default_rng(2)
    frame = pd.DataFrame({"group": draw.integers(9, size=50), "seed": 0, "target": "regression"})
    frame["label"], frame["predicted"] = 100 + draw.normal(size=50), 100 + draw.normal(size=50)
    bootstrap = Bootstrap(9, 1, replicates=20)
    found = bootstrap.metrics(count(frame, axes_of(frame)))
    drawn = np.repeat(np.arange(50), bootstrap.group_weights[replicate][frame["group"]])
    given = [frame[name].to_numpy()[drawn] for name in ("label", "predicted")]
    assert found["r2"][replicate, 0] == pytest.approx(sklearn_metrics.r2_score(*given))
    assert found["negative_mse"][replicate, 0] == pytest.approx(-sklearn_metrics.mean_squared_error(*given))


@pytest.mark.parametrize("replicate", [0, 1, 17])
def test_metrics_of_tags_are_scikit_learns_in_every_replicate(replicate):
    draw = np.random.default_rng(3)
    truth, said = draw.random((2, 50, 4)) < [0.5, 0.3, 0.1, 0.6]
    frame = pd.DataFrame({"group": draw.integers(9, size=50), "seed": 0, "target": "multilabel"})
    for name, rows in (("label", truth), ("predicted", said)):
        frame[name] = ["|".join("abcd"[tag] for tag in np.flatnonzero(row)) for row in rows]
    frame["log_probability"] = -draw.random(50)
    bootstrap = Bootstrap(9, 1, replicates=20)
    found = {name: values[replicate, 0] for name, values in bootstrap.metrics(count(frame, axes_of(frame))).items()}
    drawn = np.repeat(np.arange(50), bootstrap.group_weights[replicate][frame["group"]])
    for average in ("micro", "macro"):
        known = sklearn_metrics.f1_score(truth[drawn], said[drawn], average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(known)
    assert found["tag_accuracy"] == pytest.approx(1 - sklearn_metrics.hamming_loss(truth[drawn], said[drawn]))
    assert found["log_probability"] == pytest.approx(frame["log_probability"].to_numpy()[drawn].mean())


def test_the_variance_of_a_sum_is_divided_as_its_parts_are(valence):
    values = modalens.shapley(valence, value_functions=["r2"]).query("notion == 'used'").set_index("modality")
    assert values.loc["audio", "value"] == pytest.approx(0.2, abs=0.03)
    assert values.loc["video", "value"] == pytest.approx(0.8, abs=0.05)
    assert values.loc["audio", "low"] < 0.2 < values.loc["audio", "high"]
    drops = modalens.leave_one_out(valence)
    assert set(drops["metric"]) == {"r2", "negative_mse"}
    squares = drops[drops["metric"] == "negative_mse"].set_index("modality")
    assert squares.loc["video", "drop"] == pytest.approx(4, rel=0.2)
    assert squares.loc["video", "p_holm"] < 0.001
    interaction = Interaction()(validate(valence)).set_index("value_function")
    # Twice the correlation that independent parts have by chance in 400 clips, over their share of the variance.
    assert interaction.loc["r2", "value"] == pytest.approx(0, abs=3 * 2 * 2 / 5 / CLIPS**0.5)


def test_tags_that_one_modality_tells_need_it(scenes):
    drops = modalens.leave_one_out(scenes, metrics=["micro_f1", "macro_f1"]).set_index(["metric", "modality"])
    assert drops.loc[("micro_f1", "audio"), "full"] == 1
    # Half of the tags are left, all of them right: recall 1/2, precision 1.
    assert drops.loc[("micro_f1", "audio"), "withheld"] == pytest.approx(2 / 3, abs=0.04)
    assert drops.loc[("macro_f1", "video"), "withheld"] == 0.5
    values = modalens.shapley(scenes, value_functions=["micro_f1"]).query("notion == 'used'")
    assert values["value"].sum() == pytest.approx(1)


def test_models_of_numbers_are_ranked_by_r2_and_of_tags_by_micro_f1(valence, scenes):
    full = valence[valence["replacement"] == ""]
    worse = full.assign(predicted=full["predicted"] / 2)
    board = leaderboard({"good": full, "half": worse}, "good").set_index("model")
    assert board["metric"].unique().tolist() == ["r2"]
    assert board.loc["half", "verdict"] == "worse"
    assert board.loc["half", "r2"] == pytest.approx(0.75, abs=0.02)
    assert {"negative_mse", "r2_std"} <= set(board)
    tags = validate(scenes)[lambda rows: rows["replacement"] == ""].assign(log_probability=-1.0)
    silent = tags.assign(predicted="")
    board = leaderboard({"good": tags, "silent": silent}, "good").set_index("model")
    assert board["metric"].unique().tolist() == ["micro_f1"]
    assert board.loc["silent", "verdict"] == "worse"


def test_the_available_chance_of_a_number_is_the_training_mean(valence):
    models = [valence]
    for name in PAIR:
        alone = valence[valence["coalition"].isin(["", name])]
        models.append(
            alone.assign(model=f"{name}_only", replacement=alone["coalition"].map({name: "", "": "mean@input"}))
        )
    values = modalens.shapley(pd.concat(models).assign(prior_predicted=5.0), value_functions=["negative_mse"])
    row = values[(values["model"] == "joint") & (values["notion"] == "available")].iloc[0]
    assert row["none"] == pytest.approx(-(valence["label"] - 5).pow(2).mean())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "ranking"}, "target: expected one of classes, regression, multilabel in every row, got ranking"),
        ({"label": "tall"}, "label: expected a finite number, got 'tall'"),
        ({"predicted": np.inf}, "predicted: expected a finite number, got 'inf'"),
        (
            {"predicted": -1e200},
            r"predicted: expected a number from -1e\+150 to 1e\+150 .squares of larger ones overflow., got",
        ),
    ],
)
def test_a_target_that_is_not_one_is_refused_in_a_line(valence, change, message):
    with pytest.raises(UserError, match=message):
        modalens.leave_one_out(valence.assign(**change))


def test_numbers_whose_differences_are_rounding_have_no_intervals_but_a_line(valence):
    near = 1e17 + 16 * (valence["label"] > valence["label"].median())
    with pytest.raises(UserError, match=r"label: the numbers differ by 16 at most, which rounding of 1e\+17 hides"):
        modalens.leave_one_out(valence.assign(label=near))


def test_classes_have_their_metrics_alone(valence):
    with pytest.raises(UserError, match="no metric 'accuracy'"):
        modalens.leave_one_out(valence, metrics=["accuracy"])


def test_the_page_tells_numbers_in_r2_and_tags_in_micro_f1(valence, scenes, tmp_path):
    path = modalens.report({"valence": valence, "scenes": scenes}, tmp_path / "page.html", bootstrap=200)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", path.read_text()))
    assert re.search(r"without audio it falls to 0\.[78]\d \(chance 0\.00\)", text), "R2 of valence"
    assert "R² falls from 0.99" in text or "R² falls from 1.00" in text
    assert (
        "ithout audio micro F1 falls from 1.00 to 0.6" in text or "ithout video micro F1 falls from 1.00 to 0.6" in text
    )
    assert "both count" in text
    assert "accuracy falls" not in text


def test_a_model_of_numbers_is_evaluated_with_each_coalition():
    draw = np.random.default_rng(0)
    features = {name: draw.normal(size=(100, 3)) for name in PAIR}
    truth = features["audio"][:, 0] + 2 * features["video"][:, 0]
    found = modalens.evaluate(
        lambda rows: rows["audio"][:, 0] + 2 * rows["video"][:, 0], features, truth, target="regression"
    )
    drops = modalens.leave_one_out(found, metrics=["r2"], replacement="mean@input").set_index("modality")
    assert drops.loc["audio", "full"] == pytest.approx(1)
    assert drops.loc["audio", "withheld"] == pytest.approx(0.8, abs=0.1)
    assert drops.loc["video", "withheld"] == pytest.approx(0.2, abs=0.15)


def test_a_torch_module_of_tags_is_evaluated_and_names_those_from_a_half_on():
    torch = pytest.importorskip("torch")
    draw = np.random.default_rng(0)
    features = {name: draw.choice([-1.0, 1.0], size=(100, 1)) for name in PAIR}
    truth = np.concatenate([features[name] > 0 for name in PAIR], axis=1).astype(int)

    class Tags(torch.nn.Module):
        modalities = PAIR

        def embed(self, given):
            return given

        def classify(self, embeddings):
            return 3 * torch.cat([embeddings[name] for name in PAIR], 1)

    found = modalens.evaluate(Tags(), features, truth, classes=["dog", "rain"], target="multilabel")
    full = found[found["replacement"] == ""]
    assert (full["label"] == full["predicted"]).all()
    assert set(full["label"]) == {"", "dog", "rain", "dog|rain"}
    assert full["log_probability"].to_numpy() == pytest.approx(2 * np.log(1 / (1 + np.exp(-3))))
    drops = modalens.leave_one_out(found, metrics=["micro_f1"], replacement="shuffle@input").set_index("modality")
    assert drops.loc["audio", "low"] > 0


@pytest.mark.parametrize(
    ("target", "labels", "output", "message"),
    [
        ("regression", ["a", "b"], np.zeros(2), "expected one finite number a clip"),
        ("regression", [0.0, 1.0], np.zeros((2, 2)), r"shape \(2,\) or \(2, 1\) from the model, got \(2, 2\)"),
        ("regression", [0.0, 1.0], np.array([0, np.nan]), "no finite number"),
        ("multilabel", [[0, 2], [1, 1]], np.zeros((2, 2)), "expected 0 or 1 for each clip and tag"),
        ("tags", [0, 1], np.zeros((2, 2)), "target: expected classes, regression, multilabel, got 'tags'"),
    ],
)
def test_labels_and_outputs_that_do_not_fit_the_target_are_refused(target, labels, output, message):
    with pytest.raises(UserError, match=message):
        modalens.evaluate(lambda _: output, {"audio": np.zeros((2, 1))}, labels, target=target)


def test_models_of_numbers_stand_on_a_leaderboard_of_r2(valence, tmp_path):
    full = valence["coalition"] == "audio,video"
    other = valence.assign(model="half", predicted=valence["predicted"].where(~full, valence["predicted"] / 2))
    path = modalens.report(pd.concat([valence, other]), tmp_path / "page.html", bootstrap=200, model="joint")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", path.read_text()))
    assert "R², %" in text
    assert re.search(r"joint 99\.\d ± 0\.\d", text)
    assert re.search(r"half 7\d\.\d ± 0\.\d .* ▼ worse", text)
