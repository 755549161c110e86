"""`import modalens`: what it offers, on a joint distribution whose answers are known and on models of every kind."""

import inspect
import itertools
import subprocess
import sys
import textwrap

import _study
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from synthetic import predictions
from torch import nn

import modalens
from modalens import api
from modalens.evaluation.ablation import KINDS
from modalens.evaluation.baselines import BLANK, NOISES
from modalens.measures.leave_one_out import LeaveOneOut
from modalens.measures.shapley import Shapley
from modalens.stats import information
from modalens.stats.predictions import validate
from modalens.training import dataset
from modalens.utils import hdf5

QUICK = {"bootstrap": 50}


def joint(weights, shape=(2, 2, 2)):
    """p(label, audio, video) from {(label, audio, video): count}."""
    table = np.zeros(shape)
    for symbols, count in weights.items():
        table[symbols] = count
    return information.Joint(("audio", "video"), table / table.sum())


XOR = joint({(a ^ v, a, v): 1 for a, v in itertools.product((0, 1), repeat=2)})
REDUNDANT = joint({(label, label, label): 1 for label in (0, 1)})
VIDEO_TELLS = joint({(v, a, v): 1 for a, v in itertools.product((0, 1), repeat=2)})
MIXED = joint({(0, 0, 0): 5, (0, 0, 1): 2, (0, 1, 0): 1, (1, 1, 1): 4, (1, 1, 0): 3, (1, 0, 1): 1})
CELLS = itertools.product(range(3), repeat=3)
THREE = joint({(y, a, v): 1 + 3 * (y == a) + 5 * (y == v) for y, a, v in CELLS}, (3, 3, 3))
JOINTS = {"xor": XOR, "redundant": REDUNDANT, "video tells": VIDEO_TELLS, "mixed": MIXED, "three classes": THREE}


def clips_of(known):
    """One clip for each unit of mass of the joint: features (N, 1), the symbol, and labels (N,)."""
    counts = np.rint(known.table / known.table[known.table > 0].min()).astype(int)
    cells = np.repeat(np.argwhere(counts >= 0), counts.ravel(), axis=0)
    return {"audio": cells[:, 1:2].astype(float), "video": cells[:, 2:3].astype(float)}, cells[:, 0]


def ideal(known):
    """The ideal model of a joint: p(label | symbols), a symbol of -1 being one that it is not given."""

    def model(features):
        rows = []
        for symbols in zip(features["audio"][:, 0], features["video"][:, 0], strict=True):
            given = known.table
            for axis, symbol in enumerate(symbols, start=1):
                given = given.sum(axis, keepdims=True) if symbol < 0 else given.take([int(symbol)], axis)
            rows.append(given.ravel() / given.sum())
        return np.array(rows)

    return model


WITHHELD = {"withheld": {"audio": [-1.0], "video": [-1.0]}}


def of_joint(known, **options):
    features, labels = clips_of(known)
    return modalens.evaluate(ideal(known), features, labels, replacements=WITHHELD, output="probabilities", **options)


@pytest.mark.parametrize("name", JOINTS)
def test_an_ideal_model_gets_the_exact_shapley_values_of_its_joint(name):
    known = JOINTS[name]
    rows = modalens.shapley(of_joint(known), **QUICK)
    exact = {"log_probability": information.log_probability(known), "accuracy": information.bayes_accuracy(known)}
    for value_function, value_functions in exact.items():
        found = rows[(rows["value_function"] == value_function) & (rows["notion"] == "used")].set_index("modality")
        for modality, value in information.shapley(value_functions).items():
            assert found.loc[modality, "value"] == pytest.approx(value, abs=1e-6), value_function
        assert found["full"].iloc[0] == pytest.approx(value_functions["audio,video"], abs=1e-6)
        assert found["none"].iloc[0] == pytest.approx(value_functions[""], abs=1e-6)


def test_xor_is_lost_with_either_modality_and_a_redundant_label_with_neither():
    drops = {}
    for name in ("xor", "redundant", "video tells"):
        rows = modalens.leave_one_out(of_joint(JOINTS[name]), metrics=["accuracy"], **QUICK)
        drops[name] = rows.set_index("modality")["drop"].to_dict()
    assert drops["xor"] == {"audio": 0.5, "video": 0.5}
    assert drops["redundant"] == {"audio": 0, "video": 0}
    assert drops["video tells"] == {"audio": 0, "video": 0.5}


def test_predictions_bear_every_condition_and_are_a_valid_table():
    table = of_joint(MIXED, name="ideal", seed=3, groups=["g"] * 8 + ["h"] * 8)
    assert set(table["model"]) == {"ideal"}
    assert set(table["seed"]) == {3}
    assert set(table["group"]) == {"g", "h"}
    assert set(zip(table["coalition"], table["replacement"], strict=True)) == {
        ("audio,video", ""), ("audio", "withheld@input"), ("video", "withheld@input"), ("", "withheld@input")
    }  # fmt: skip
    assert len(table) == 4 * 16
    pd.testing.assert_frame_equal(validate(table), table)


# --- models of every kind give the same predictions


class TwoStreams(nn.Module):
    def __init__(self):
        super().__init__()
        self.streams = nn.ModuleDict({"audio": nn.Linear(3, 4), "video": nn.Linear(3, 4)})
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, 2)

    def embed(self, features):
        return {name: self.streams[name](rows).relu() for name, rows in features.items()}

    def classify(self, embeddings):
        return self.head(self.dropout(torch.cat([embeddings["audio"], embeddings["video"]], 1)))

    def forward(self, features):
        return self.classify(self.embed(features))


class Whole(nn.Module):
    """The same without embed and classify."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, features):
        return self.inner(features)


@pytest.fixture
def clips():
    draw = np.random.default_rng(0)
    features = {name: draw.normal(size=(30, 3)).astype(np.float32) for name in ("audio", "video")}
    return features, draw.integers(0, 2, 30)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TwoStreams().train()


def same(one, other):
    pd.testing.assert_frame_equal(one, other, rtol=1e-5, atol=1e-6)


def test_a_module_with_parts_one_without_and_a_function_agree(clips, model):
    features, labels = clips
    tensors = {name: torch.from_numpy(rows) for name, rows in features.items()}
    table = modalens.evaluate(model, features, labels)
    same(modalens.evaluate(Whole(model), features, labels), table)
    same(modalens.evaluate(model, tensors, torch.from_numpy(labels)), table)
    eval_mode = TwoStreams().eval()
    eval_mode.load_state_dict(model.state_dict())
    same(modalens.evaluate(lambda x: eval_mode(x), tensors, labels), table)
    numbers = {name: value.detach().numpy() for name, value in model.state_dict().items()}

    def plain(x):
        parts = [
            (x[name] @ numbers[f"streams.{name}.weight"].T + numbers[f"streams.{name}.bias"]).clip(0) for name in x
        ]
        return np.hstack(parts) @ numbers["head.weight"].T + numbers["head.bias"]

    same(modalens.evaluate(plain, features, labels), table)
    assert model.training, "a module is left in the mode that it was in"
    assert all(parameter.grad is None for parameter in model.parameters())


def test_neither_the_order_of_clips_nor_the_batch_size_changes_a_prediction(clips, model):
    features, labels = clips
    ids = [f"clip-{index}" for index in range(30)]
    kinds = ["shuffle@input", "mean@input", "mean@fusion", "gaussian@fusion", "zero@fusion"]
    table = modalens.evaluate(model, features, labels, clip_ids=ids, replacements=kinds)
    order = np.random.default_rng(1).permutation(30)
    turned = modalens.evaluate(
        model,
        {name: features[name][order] for name in ("video", "audio")},
        labels[order],
        clip_ids=[ids[index] for index in order],
        replacements=kinds,
        batch_size=7,
    )
    pd.testing.assert_frame_equal(turned, table, rtol=1e-4, atol=1e-5)


def test_means_are_those_of_the_reference_clips(clips, model):
    features, labels = clips
    train = {name: rows + 5 for name, rows in features.items()}
    table = modalens.evaluate(model, features, labels, replacements=["mean@input"], reference=train)
    given = {name: rows.mean(0) for name, rows in train.items()}
    same(modalens.evaluate(model, features, labels, replacements={"mean@input": given}), table)
    other = modalens.evaluate(model, features, labels, replacements=["mean@input"])
    assert not np.allclose(other["log_probability"], table["log_probability"])


def test_a_modality_is_replaced_for_all_clips_and_the_others_stay(clips):
    features, labels = clips
    seen = []

    def model(x):
        seen.append({name: rows.copy() for name, rows in x.items()})
        return np.column_stack([x["audio"].sum(1), x["video"].sum(1)])

    blank = {"audio": np.full(3, 7.0), "video": np.full((2, 3), [[8.0], [9.0]])}
    table = modalens.evaluate(model, features, labels, replacements={"blank": blank, "shuffle@input": None})
    conditions = dict(zip(table["condition"].unique(), seen[1:], strict=True))
    assert list(conditions) == [
        "full", "audio=blank,video=blank", "audio=shuffle,video=shuffle", "video=blank", "video=shuffle",
        "audio=blank", "audio=shuffle",
    ]  # fmt: skip
    assert (conditions["audio=blank"]["audio"] == 7).all()
    np.testing.assert_array_equal(conditions["audio=blank"]["video"], features["video"])
    assert set(np.unique(conditions["video=blank"]["video"])) == {8, 9}
    shuffled = conditions["audio=shuffle"]["audio"]
    assert not (shuffled == features["audio"]).all(axis=1).any()
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(features["audio"], axis=0))


def test_labels_are_indices_or_names_of_the_columns():
    draw = np.random.default_rng(0)
    features = {"a": draw.normal(size=(40, 2)), "b": draw.normal(size=(40, 2))}
    names = np.array(["dog", "cat", "emu"])[draw.integers(0, 3, 40)]
    fitted = LogisticRegression().fit(np.hstack(list(features.values())), names)
    options = {"replacements": ["shuffle@input"], "output": "probabilities"}

    def model(x):
        return fitted.predict_proba(np.hstack(list(x.values())))

    table = modalens.evaluate(model, features, names, **options)
    full = table[table["coalition"] == "a,b"]
    assert (full["predicted"].to_numpy() == fitted.predict(np.hstack(list(features.values())))).all()
    assert (full["label"].to_numpy() == names).all()
    same(modalens.evaluate(model, features, names, classes=fitted.classes_, **options), table)
    index = np.searchsorted(fitted.classes_, names)
    by_index = modalens.evaluate(model, features, index, **options)
    assert (by_index["log_probability"] == table["log_probability"]).all()
    assert set(by_index["label"]) == {"0", "1", "2"}


def test_three_modalities_have_eight_coalitions():
    draw = np.random.default_rng(0)
    features = {name: draw.normal(size=(20, 1)) for name in ("text", "audio", "depth")}

    def model(x):
        score = x["text"] + 2 * x["audio"] + x["depth"]
        return np.hstack([score, -score])

    labels = (model(features).argmax(1)).tolist()
    table = modalens.evaluate(model, features, labels, replacements="mean@input")
    assert table["coalition"].nunique() == 8
    values = modalens.shapley(table, value_functions=["accuracy"], **QUICK)
    assert values["value"].sum() == pytest.approx(values["full"].iloc[0] - values["none"].iloc[0])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = _study.make(tmp_path_factory.mktemp("study"))
    _study.trained(root, epochs=2)
    return root


def test_a_model_of_ours_is_given_the_predictions_of_the_evaluate_stage(study):
    expected = _study.evaluated(study, study / "train" / "late_fusion")
    # What only the study knows: how common the classes are among the training clips.
    expected = expected.drop(columns=["prior_predicted", "prior_log_probability"])
    loaded = modalens.load_model(study / "train" / "late_fusion" / "0" / "model.pt")
    test = dataset.read_split(study / "splits" / "test.csv")
    features = {name: dataset.read_features(study / "features" / name, test) for name in _study.SHAPES}
    files = {name: hdf5.read(study / "replacements" / f"{name}.h5", (BLANK, *NOISES)) for name in _study.SHAPES}
    replacements = dict.fromkeys(KINDS) | {
        "blank@input": {name: rows[0] for name, rows in files.items()},
        "gaussian@input": {name: rows[1:] for name, rows in files.items()},
    }
    clips = {"clip_ids": test["clip_id"], "groups": test["group"]}
    found = modalens.evaluate(loaded, features, test["label"], replacements=replacements, **clips)
    pd.testing.assert_frame_equal(found[expected.columns], expected)
    # The network alone is a torch module like any other: what needs no training clips is the same, but for the
    # temperature, which is the trained model's and changes no answer.
    kinds = ["shuffle@input", "zero@fusion"]
    alone = modalens.evaluate(loaded.model, features, test["label"], classes=loaded.labels, replacements=kinds, **clips)
    part = expected[expected["replacement"].isin(["", *kinds])].reset_index(drop=True)
    key = ["replacement", "coalition", "clip_id"]
    told = [name for name in expected.columns if name != "log_probability" and not name.startswith("p_")]
    pd.testing.assert_frame_equal(
        alone[told].sort_values(key, ignore_index=True), part[told].sort_values(key, ignore_index=True)
    )


# --- mistakes


def refused(*arguments, **options):
    with pytest.raises(modalens.UserError) as caught:
        modalens.evaluate(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


MISTAKES = {
    "rows": ({"features": {"audio": np.zeros((3, 1)), "video": np.zeros((4, 1))}}, "got audio 3, video 4"),
    "no modality": ({"features": {}}, "the same number of rows for each modality, got none"),
    "no clip": ({"features": {"audio": np.zeros((0, 1))}, "labels": []}, "got audio 0"),
    "comma": ({"features": {"a,b": np.zeros((3, 1))}}, "expected names without commas"),
    "labels": ({"labels": [0, 1]}, "labels: expected 30, one a row of the features, got 2"),
    "label out of range": ({"labels": [2] * 30}, "labels: '2' is none of the classes 0, 1; give classes="),
    "one name for two columns": ({"labels": ["cat"] * 30}, "classes: expected 2, one a column, got 1; give classes="),
    "classes": ({"classes": ["a", "b", "c"]}, "classes: expected 2, one a column, got 3"),
    "clip twice": ({"clip_ids": ["a"] * 30}, "clip_ids: 'a' is there twice"),
    "groups": ({"groups": ["a"]}, "groups: expected 30"),
    "misspelt": ({"replacements": ["men@input"]}, "no replacement 'men@input'; did you mean 'mean@input'?"),
    "needs values": ({"replacements": ["blank@input"]}, "'blank@input' needs what stands in"),
    "one missing": ({"replacements": {"x": {"audio": np.zeros(3)}}}, "'x': nothing stands in for 'video'"),
    "shape": (
        {"replacements": {"x": {"audio": np.zeros(3), "video": np.zeros((2, 5))}}},
        "'x': 'video': expected shape (3,) or (K, (3,)), got (2, 5)",
    ),
    "reference": ({"reference": {"audio": np.zeros((5, 3))}}, "reference: expected the same number of rows"),
    "fusion": ({"replacements": ["mean@fusion"]}, "'mean@fusion' needs a torch module with embed and classify"),
    "output": ({"output": "scores"}, "output: expected 'logits' or 'probabilities', got 'scores'"),
    "logits said to be probabilities": ({"output": "probabilities"}, "rows >= 0 that sum to 1; say output='logits'"),
    "no model": ({"model": 3}, "model: expected a torch module or a function, got int"),
    "one column": ({"model": lambda x: x["audio"][:, :1]}, "expected logits of shape (30, classes) from the model"),
    "nan": ({"model": lambda x: x["audio"] * np.nan}, "the model returned not-a-number"),
    "probabilities said to be logits": (
        {"model": lambda x: np.full((len(x["audio"]), 2), 0.5)},
        "the model returned probabilities: say output='probabilities'",
    ),
    "mean of words": (
        {"model": lambda x: np.zeros((len(x["text"]), 2)), "features": {"text": np.array(["a"] * 30)}},
        "no mean of 'text', whose features are <U1",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_was_expected(clips, case):
    features, labels = clips
    changes, expected = MISTAKES[case]
    arguments = {"model": lambda x: np.column_stack([x[name].sum(1) for name in sorted(x)]), "features": features}
    assert expected in refused(**(arguments | {"labels": labels} | changes))


def test_a_modality_that_a_module_takes_and_is_not_given_is_named(clips, model):
    features, labels = clips
    model.modalities = ("audio", "text")
    assert "the model takes audio, text; 'text' is missing" in refused(model, features, labels)


def test_metrics_and_withheld_modalities_are_checked_before_anything_is_measured():
    table = of_joint(XOR)
    with pytest.raises(modalens.UserError, match=r"metrics: no metric 'acuracy'; did you mean 'accuracy'\?"):
        modalens.leave_one_out(table, metrics=["acuracy"])
    with pytest.raises(modalens.UserError, match=r"metrics: expected one metric or more, each once, got \[\]"):
        modalens.leave_one_out(table, metrics=[])
    with pytest.raises(modalens.UserError, match="value_functions: expected one metric or more, each once, got"):
        modalens.shapley(table, value_functions=["accuracy", "accuracy"])
    with pytest.raises(modalens.UserError, match="replacement: expected one replacement or more, each once"):
        modalens.shapley(table, replacement=[])
    with pytest.raises(modalens.UserError, match="value_functions: no metric 'value'"):
        modalens.shapley(table, value_functions=["value"])
    with pytest.raises(modalens.UserError, match="expected coalitions of fewer names than 'audio,video'"):
        modalens.leave_one_out(table[table["replacement"] == ""])
    with pytest.raises(modalens.UserError, match="column 'label' is missing"):
        modalens.shapley(table.drop(columns="label"))


def test_bare_decisions_are_measured_but_for_log_probability():
    bare = of_joint(MIXED).drop(columns=["log_probability", "p_0", "p_1"])
    drops = modalens.leave_one_out(bare, **QUICK)
    assert "log_probability" not in set(drops["metric"])
    assert len(set(drops["metric"])) == 5
    assert set(modalens.shapley(bare, **QUICK)["value_function"]) == {"accuracy"}
    whole = modalens.leave_one_out(of_joint(MIXED), **QUICK)
    pd.testing.assert_frame_equal(drops, whole[whole["metric"] != "log_probability"].reset_index(drop=True))
    with pytest.raises(modalens.UserError, match="neither log_probability nor p_<class>"):
        modalens.shapley(bare, value_functions=["log_probability"])


# --- the page


@pytest.mark.slow
def test_the_page_of_predictions_stands_alone(tmp_path):
    accuracies = {"": 0.3, "audio": 0.4, "video": 0.9, "audio,video": 0.95}
    models = {
        "lab/both": predictions(accuracies, ["a", "b"]),
        "audio": predictions({"": 0.3, "audio": 0.6}, ["a", "b"]),
        "video": predictions({"": 0.3, "video": 0.9}, ["a", "b"]),
    }
    table = pd.concat([frame.assign(model=name) for name, frame in models.items()], ignore_index=True)
    output = modalens.report(table, tmp_path / "new" / "page.html", title="<My> models", **QUICK)
    assert [path.name for path in output.parent.iterdir()] == ["page.html"]
    html = output.read_text(encoding="utf-8")
    assert "&lt;My&gt; models" in html
    assert "lab\u2215both" in html
    for absent in ("tables/", "figures/", "Clips lost", "-learning", "config, with every default", "in the file"):
        assert absent not in html, absent
    for present in ("Leaderboard", "Shapley values", "One modality withheld", "audio alone"):
        assert present in html, present


def test_a_page_that_is_to_be_a_directory_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(modalens.UserError, match=r"report: output: .* is a directory; name a file"):
        modalens.report(tmp_path / "no_predictions.csv", tmp_path)


def test_a_model_that_no_task_has_is_refused_before_a_page_is_made(tmp_path):
    with pytest.raises(modalens.UserError, match="report: model: no 'modle' in 'xor'; did you mean 'model'"):
        modalens.report({"xor": of_joint(XOR)}, tmp_path / "page.html", model="modle")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.slow
def test_the_page_of_several_tasks_has_them_all(tmp_path):
    output = modalens.report({"xor": of_joint(XOR), "seen": of_joint(VIDEO_TELLS)}, tmp_path / "page.html", **QUICK)
    html = output.read_text(encoding="utf-8")
    assert 'id="task-2"' in html
    assert 'id="leaderboard"' not in html


# --- the package


def alone(code):
    code = textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)


def test_the_import_is_cheap_and_its_names_are_there():
    done = alone("""
        import sys
        import modalens
        assert not {"torch", "numpy", "pandas", "modalens.api"} & set(sys.modules)
        assert {"shapley", "evaluate"} <= set(dir(modalens))
        modalens.shapley, modalens.evaluate, modalens.report
        assert not {"torch", "altair", "h5py"} & set(sys.modules)
        try:
            modalens.nothing
        except AttributeError as error:
            print(error)
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "module 'modalens' has no attribute 'nothing'"


@pytest.mark.slow
def test_everything_but_torch_models_works_without_torch(tmp_path):
    done = alone(f"""
        import sys

        class NoTorch:
            def find_spec(self, name, *rest):
                if name.partition(".")[0] == "torch":
                    raise ModuleNotFoundError("No module named 'torch'", name="torch")

        sys.meta_path.insert(0, NoTorch())
        import numpy as np
        import modalens
        label = np.arange(20) % 2
        table = modalens.evaluate(
            lambda x: np.hstack([-x["video"], x["video"]]),
            {{"audio": np.zeros((20, 1)), "video": label[:, None] - 0.5}},
            label,
        )
        print(modalens.leave_one_out(table, metrics=["accuracy"], replacement="mean@input")["drop"].tolist())
        print(modalens.shapley(table, value_functions=["accuracy"], replacement="mean@input")["value"].tolist())
        modalens.report(table, {str(tmp_path / "page.html")!r}, bootstrap=20)
        try:
            modalens.load_model("model.pt")
        except modalens.UserError as error:
            print(error)
    """)
    assert done.returncode == 0, done.stderr
    drops, values, line = done.stdout.splitlines()
    assert drops == "[0.0, 0.5]"
    assert values == "[0.0, 0.5]"
    assert line == "load_model needs torch, which is not installed: in a checkout of modalens, pip install '.[torch]'"


def test_the_public_functions_are_documented_and_typed():
    for name in modalens.__all__:
        offered = getattr(modalens, name)
        assert offered is getattr(api, name)
        assert offered.__doc__
        if inspect.isfunction(offered):
            signature = inspect.signature(offered)
            assert signature.return_annotation is not inspect.Signature.empty
            for parameter in signature.parameters.values():
                assert parameter.annotation is not inspect.Parameter.empty, f"{name}: {parameter.name}"
                assert parameter.name in offered.__doc__ or "other options are those of" in offered.__doc__
            assert "Raises UserError" in offered.__doc__


@pytest.mark.parametrize(("function", "measure"), [(modalens.leave_one_out, LeaveOneOut), (modalens.shapley, Shapley)])
def test_options_of_a_function_are_those_of_its_measure(function, measure):
    options = set(inspect.signature(function).parameters) - {"predictions"}
    assert options == set(inspect.signature(measure).parameters)


def test_labels_that_are_numbers_are_ordered_as_scikit_learn_orders_them():
    rng = np.random.default_rng(0)
    labels = np.repeat([2.0, 10.0, 1.0], 20)
    features = {name: labels[:, None] + rng.normal(size=(60, 1)) for name in ("audio", "video")}
    both = np.hstack([features["audio"], features["video"]])
    model = LogisticRegression().fit(both, labels)
    found = modalens.evaluate(
        lambda rows: model.predict_proba(np.hstack([rows["audio"], rows["video"]])),
        features,
        labels,
        output="probabilities",
    )
    of_all = found[found["coalition"] == "audio,video"]
    assert (of_all["predicted"] == of_all["label"]).mean() == pytest.approx(model.score(both, labels))
    assert model.score(both, labels) > 0.6


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("labels", [0.0, float("nan"), 1.0, 1.0], "in row 1, got"),
        ("labels", ["a", None, "b", "b"], "in row 1, got None"),
        ("labels", [[0], [1], [0], [1]], "got shape \\(4, 1\\)"),
        ("groups", ["a", "b", None, "c"], "in row 2, got None"),
        ("clip_ids", ["a", "b", "c", float("nan")], "in row 3, got"),
    ],
)
def test_a_missing_label_group_or_clip_is_refused(option, value, line):
    value = np.array(value, dtype=object) if None in value else value
    options = {"labels": [0, 1, 0, 1]} | {option: value}
    features = {"audio": np.zeros((4, 1)), "video": np.zeros((4, 1))}
    with pytest.raises(modalens.UserError, match=line):
        modalens.evaluate(lambda rows: np.eye(2)[[0] * len(rows["audio"])], features, **options)


def test_a_function_that_works_in_place_changes_neither_the_callers_arrays_nor_the_result():
    rng = np.random.default_rng(0)
    features = {name: rng.normal(size=(40, 2)) for name in ("audio", "video")}
    labels = (features["audio"][:, 0] > 0).astype(int)
    kept = {name: rows.copy() for name, rows in features.items()}

    def scores(rows):
        return np.stack([-rows["audio"][:, 0], rows["audio"][:, 0]], axis=1)

    def in_place(rows):
        rows["audio"] *= 2
        return scores({"audio": rows["audio"] / 2})

    one, other = (modalens.evaluate(call, features, labels) for call in (scores, in_place))
    pd.testing.assert_frame_equal(one, other)
    for name, rows in kept.items():
        assert np.array_equal(features[name], rows)


@pytest.mark.parametrize("options", [{"confidence": 95}, {"confidence": 0}, {"bootstrap": 1}, {"permutations": 0}])
def test_an_impossible_interval_is_refused(options):
    table = predictions({"audio,video": 0.9, "audio": 0.6, "video": 0.6, "": 0.3}, ["a", "b", "c"])
    with pytest.raises(modalens.UserError, match=f"{next(iter(options))}: expected"):
        modalens.leave_one_out(table, **options)


ODD = (None, 3.5, -1, True, b"x", [], {}, [1], object(), float("nan"), pd.DataFrame({"a": [1]}), len)


def known_table():
    features, labels = clips_of(XOR)
    return modalens.evaluate(ideal(XOR), features, labels, output="probabilities")


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_an_argument_of_an_odd_type_is_one_line(value, tmp_path):
    table, (features, labels) = known_table(), clips_of(XOR)
    calls = {
        "bootstrap": lambda: modalens.leave_one_out(table, bootstrap=value),
        "confidence": lambda: modalens.shapley(table, confidence=value),
        "permutations": lambda: modalens.leave_one_out(table, permutations=value),
        "seed": lambda: modalens.shapley(table, seed=value),
        "predictions": lambda: modalens.leave_one_out(value),
        "probabilities": lambda: None if value is True else modalens.load_predictions(table, probabilities=value),
        "features": lambda: modalens.evaluate(len, value, labels),
        "labels": lambda: modalens.evaluate(ideal(XOR), features, value),
        "batch_size": lambda: modalens.evaluate(ideal(XOR), features, labels, batch_size=value),
        "name": lambda: modalens.evaluate(ideal(XOR), features, labels, name=value),
        "output": lambda: modalens.evaluate(ideal(XOR), features, labels, output=value),
        "title": lambda: modalens.report(table, tmp_path / "a.html", title=value),
        "page": lambda: modalens.report(table, value),
        "path": lambda: modalens.load_model(value),
    }
    if value is not None:
        calls["reference"] = lambda: modalens.evaluate(ideal(XOR), features, labels, reference=value)
    for name, call in calls.items():
        if name == "probabilities" and value is True:
            continue
        with pytest.raises(modalens.UserError) as refused:
            call()
        assert "\n" not in str(refused.value), name
