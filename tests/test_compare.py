"""`modalens compare`: pairs on common clips, the leaderboard's tests, one line for what cannot be compared."""

import numpy as np
import pandas as pd
import pytest
import yaml

from modalens.commands import compare as command
from modalens.reporting.comparison_page import page
from modalens.stats.leaderboard import leaderboard
from modalens.stats.paired import DROP, aligned, compare, identical
from modalens.utils import cli
from modalens.utils.errors import UserError

CLIPS, SEEDS = 80, 3


def predictions(right, without=None, clips=range(CLIPS), seeds=range(SEEDS), model="m", groups=1):
    """right: share of clips that are named rightly with all modalities; without: modality -> that without it."""
    draw, rows = np.random.default_rng(7), []
    ranks = {clip: draw.random() for clip in range(CLIPS * 2)}  # the same clips are hard for every model
    cases = {("a,v", ""): right}
    cases |= {("v" if name == "a" else "a", "mean"): share for name, share in (without or {}).items()}
    for (coalition, replacement), share in cases.items():
        for seed in seeds:
            for clip in clips:
                label = "xy"[clip % 2]
                predicted = label if ranks[clip] < share else "yx"[clip % 2]
                rows.append(
                    (model, f"c{clip:03d}", f"g{clip // groups}", seed, replacement, coalition, label, predicted)
                )
    names = ["model", "clip_id", "group", "seed", "replacement", "coalition", "label", "predicted"]
    return pd.DataFrame(rows, columns=names).assign(log_probability=-0.1)


def row(table, quantity, name):
    (found,) = table[(table["quantity"] == quantity) & (table["name"] == name)].to_dict("records")
    return found


def test_what_differs_is_told_with_its_size_and_what_does_not_is_not():
    tables = {"old": predictions(0.6), "new": predictions(0.9), "same": predictions(0.6)}
    table = compare(aligned(tables)[0], replicates=200)
    old, new, same = (row(table, "accuracy", name) for name in tables)
    assert old["verdict"] == "reference"
    assert new["verdict"] == "better"
    assert new["difference"] == pytest.approx(new["value"] - old["value"])
    assert new["difference_low"] > 0
    assert (same["difference"], same["verdict"]) == (0.0, "not distinguishable")
    assert row(table, "balanced accuracy", "new")["verdict"] == "untested", "it is no sum over clips"


def test_accuracy_is_compared_as_the_leaderboard_compares_it():
    tables = {"old": predictions(0.7), "new": predictions(0.8)}
    ours = row(compare(tables, replicates=200), "accuracy", "new")
    theirs = leaderboard(tables, "old", replicates=200).set_index("model").loc["new"]
    names = ["difference", "difference_low", "difference_high", "detectable", "p_groups", "p_seeds", "p"]
    assert [ours[name] for name in names] == pytest.approx(list(theirs[names]), nan_ok=True)


def test_one_model_may_lose_more_without_a_modality_although_both_are_as_good():
    tables = {"one": predictions(0.9, {"a": 0.9, "v": 0.5}), "two": predictions(0.9, {"a": 0.5, "v": 0.9})}
    table = compare(tables, "mean", replicates=200)
    assert row(table, "accuracy", "two")["difference"] == 0
    assert row(table, f"{DROP}a", "two")["verdict"] == "larger"
    assert row(table, f"{DROP}v", "two")["verdict"] == "smaller"
    assert row(table, f"{DROP}a", "two")["p_holm"] > row(table, f"{DROP}a", "two")["p"], "one family of all comparisons"


def test_a_modality_that_one_of_them_has_not_is_not_compared():
    tables = {"one": predictions(0.9, {"a": 0.6, "v": 0.6}), "two": predictions(0.9, {"a": 0.6})}
    assert set(compare(tables, "mean", replicates=50)["quantity"].str.removeprefix(DROP)) >= {"a"}
    assert f"{DROP}v" not in set(compare(tables, "mean", replicates=50)["quantity"])


def test_the_same_table_twice_is_said_to_be_so():
    one = predictions(0.6, {"a": 0.5})
    other = predictions(0.6, {"a": 0.4})
    assert identical({"one": one, "copy": one.sample(frac=1, random_state=0), "other": other}) == [
        "copy and one name the same class for every clip, seed and input: is it the same table twice?"
    ]


def test_classes_that_differ_are_named_as_the_user_named_them(tmp_path):
    for name, classes in (("one", "xy"), ("two", "xyz")):
        columns = {f"p_{label}": 1 / len(classes) for label in classes}
        predictions(0.6).assign(**columns).drop(columns="log_probability").to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(UserError, match="one:m names 2 and two:m 3, 'z' is not in both"):
        cli.call(command, [tmp_path / "one.csv", tmp_path / "two.csv", "--output", tmp_path / "out"])


def test_only_common_clips_count_and_the_rest_is_said():
    tables = {"one": predictions(0.6, clips=range(60)), "two": predictions(0.6, clips=range(20, 80))}
    same, notes = aligned(tables)
    assert {name: frame["clip_id"].nunique() for name, frame in same.items()} == {"one": 40, "two": 40}
    assert notes == ["40 of 60 clips of one are in all of them.", "40 of 60 clips of two are in all of them."]


def test_other_seeds_are_paired_in_order_and_that_is_said():
    tables = {"one": predictions(0.6, seeds=[0, 1, 2]), "two": predictions(0.6, seeds=[7, 5])}
    same, (note,) = aligned(tables)
    assert all(set(frame["seed"]) == {0, 1} for frame in same.values())
    assert note == "Seeds differ (3 of one, 2 of two): they are paired in order, 2 of each."


def test_a_table_without_groups_takes_those_of_the_others():
    own = predictions(0.6)
    own["group"] = own["clip_id"]
    same, _ = aligned({"own": own, "study": predictions(0.6, groups=4)})
    assert same["own"]["group"].nunique() == same["study"]["group"].nunique() == CLIPS / 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.assign(clip_id="other " + table["clip_id"]), "expected the same clip ids"),
        (lambda table: table.assign(label="z"), "'c000' is 'x' in one and 'z' in two; are these the same task"),
        (lambda table: table.assign(group="all"), "the groups differ: 'c000' is of 'g0' in one, of 'all' in two"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(change, said):
    tables = {"one": predictions(0.6, groups=2), "two": change(predictions(0.6, groups=2))}
    with pytest.raises(UserError, match=said):
        aligned(tables)


def study(root, name, **models):
    """A folder as a study leaves it, with one task."""
    folder = root / name / "evaluate" / "mood"
    folder.mkdir(parents=True)
    for model, share in models.items():
        table = predictions(share, {"a": 0.5, "v": 0.5}, model=model).drop(columns="model")
        table.assign(p_x=0.5, p_y=0.5).to_parquet(folder / f"{model}.parquet")
    config = {
        "tasks": ["mood"],
        "models": {name: {} for name in models},
        "report": {"model": next(iter(models)), "replacement": "mean"},
    }
    (root / name / "config.yaml").write_text(
        yaml.safe_dump(config | {"modalities": {}, "relevance": {"confidence": 0.95}})
    )
    return root / name


def test_studies_models_and_tables_in_one_call(tmp_path, capsys):
    one, two = study(tmp_path, "one", m=0.6, n=0.9), study(tmp_path, "two", m=0.6)
    predictions(0.95, model="<b>mine</b>").to_csv(tmp_path / "own.csv", index=False)
    output = tmp_path / "out"
    cli.call(command, [one, f"{one}:n", two, tmp_path / "own.csv", "--bootstrap", 100, "--output", output])
    said = capsys.readouterr().out
    assert "mood: 80 clips of 80 groups, 3 seeds, against one:m" in said
    assert "better" in said
    table = pd.read_csv(output / "comparison.csv")
    assert list(dict.fromkeys(table["name"])) == ["one:m", "one:n", "two:m", "own:<b>mine</b>"]
    html = (output / "comparison.html").read_text()
    assert "own:&lt;b&gt;mine&lt;/b&gt;" in html
    assert "<script" not in html
    assert "http" not in html, "the page asks for nothing"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one"], "expected two models or more"),
        (["one", "nowhere"], "not found: nowhere"),
        (["one:k", "one"], "has no model 'k'"),
        (["one", "one", "--task", "age"], "not every study has 'age'"),
        (["one", "classes.csv"], "the classes differ"),
    ],
)
def test_what_was_typed_wrongly_is_one_clear_line(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    study(tmp_path, "one", m=0.6)
    other = predictions(0.6).drop(columns="log_probability").assign(p_x=0.4, p_z=0.1, p_y=0.5)
    other.to_csv("classes.csv", index=False)
    with pytest.raises(UserError, match=said):
        cli.call(command, words)


def test_studies_of_other_tasks_are_one_clear_line(tmp_path):
    one, two = study(tmp_path, "one", m=0.6), study(tmp_path, "two", m=0.6)
    config = yaml.safe_load((two / "config.yaml").read_text()) | {"tasks": ["age"]}
    (two / "config.yaml").write_text(yaml.safe_dump(config))
    (two / "evaluate" / "mood").rename(two / "evaluate" / "age")
    with pytest.raises(UserError, match=r"no task in common: .*one has mood; .*two has age"):
        cli.call(command, [one, two])


def test_the_page_of_one_seed_and_one_group_has_no_number_that_is_none():
    table = compare({"a": predictions(1.0, clips=[0], seeds=[0]), "b": predictions(1.0, clips=[0], seeds=[0])})
    html = page(table.assign(task=""), [], 0.95)
    assert "nan" not in html.lower().replace("font-variant-numeric", "")
