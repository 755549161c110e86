import os
import shutil

import _study
import numpy as np
import pandas as pd
import pytest
from synthetic import predictions

from modalens.plugins import introspection, registry
from modalens.stages import relevance
from modalens.tracking import records
from modalens.utils import cli
from modalens.utils.errors import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "evaluate" / "seen").mkdir(parents=True)
    for name, accuracies in {
        "audio_only": {"": 0.3, "audio": 0.4},
        "late_fusion": {"": 0.3, "audio": 0.4, "video": 0.9, "audio,video": 0.9},
    }.items():
        predictions(accuracies, ["NA", "1"]).to_parquet(tmp_path / "evaluate" / "seen" / f"{name}.parquet")
    return tmp_path


def run(folder, *extra):
    files = sorted(folder.glob("evaluate/*/*.parquet"))
    command = ["--predictions", *files, *extra, "--output", folder / "out.csv", "--record", folder / "out.json"]
    cli.call(relevance, [str(part) for part in command])


@pytest.mark.parametrize("measure", ["leave_one_out", "shapley"])
def test_stage_writes_a_tidy_table_and_a_record_per_model(folder, measure):
    run(folder, "--measure", measure, "--options", '{"bootstrap": 50}')
    table = pd.read_csv(folder / "out.csv")
    assert set(table["task"]) == {"seen"}
    assert set(table["model"]) == {"audio_only", "late_fusion"}
    stage, runs = records.read(folder / "out.json")
    assert stage == "relevance"
    assert [run.key for run in runs] == [
        {"task": "seen", "measure": measure, "model": model} for model in ("audio_only", "late_fusion")
    ]
    assert all(run.params["bootstrap"] == 50 and run.params["confidence"] == 0.95 and run.metrics for run in runs)


def test_unknown_measure_unknown_option_and_two_tasks_are_the_users_mistakes(folder):
    with pytest.raises(UserError, match="did you mean 'shapley'"):
        run(folder, "--measure", "shaply")
    with pytest.raises(
        UserError,
        match=r"relevance.measures.shapley: unknown option 'value_funktions'; did you mean 'value_functions'\?",
    ):
        run(folder, "--measure", "shapley", "--options", '{"value_funktions": []}')
    (folder / "evaluate" / "heard").mkdir()
    (folder / "evaluate" / "seen" / "audio_only.parquet").rename(folder / "evaluate" / "heard" / "audio_only.parquet")
    with pytest.raises(UserError, match="expected predictions of one task"):
        run(folder, "--measure", "shapley")
    assert not (folder / "out.csv").exists()


def test_all_tasks_are_one_call_which_keeps_the_tables_that_would_be_the_same(folder):
    """A table that is made again is another file of that name."""
    seen, heard = folder / "evaluate" / "seen", folder / "evaluate" / "heard"
    heard.mkdir()
    (heard / "late_fusion.parquet").write_bytes((seen / "late_fusion.parquet").read_bytes())
    tables = {task: folder / f"{task}.csv" for task in ("seen", "heard")}

    def remade(*, made="code", bootstrap=50):
        before = {task: path.stat().st_ino for task, path in tables.items() if path.exists()}
        place = folder / "{task}"
        command = ["--measure", "leave_one_out", "--options", f'{{"bootstrap": {bootstrap}}}', "--made", made]
        command += ["--predictions", *folder.glob("evaluate/*/*.parquet")]
        cli.call(relevance, [*command, "--output", f"{place}.csv", "--record", f"{place}.json"])
        return {task for task, path in tables.items() if path.stat().st_ino != before.get(task)}

    assert remade() == {"seen", "heard"}
    assert set(pd.read_csv(tables["heard"])["task"]) == {"heard"}
    assert [run.key["task"] for run in records.read(folder / "seen.json")[1]] == ["seen", "seen"]
    assert remade() == set()
    (heard / "audio_only.parquet").write_bytes((seen / "audio_only.parquet").read_bytes())
    assert remade() == {"heard"}
    assert remade(bootstrap=60) == {"seen", "heard"}
    assert remade(made="other code", bootstrap=60) == {"seen", "heard"}
    (folder / "seen.json").write_text("{")
    assert remade(made="other code", bootstrap=60) == {"seen"}
    whole = tables["heard"].read_text()
    for damaged in ("garbage", whole.replace("0.", "1.", 1), whole[: len(whole) // 2]):
        tables["heard"].write_text(damaged)
        assert remade(made="other code", bootstrap=60) == {"heard"}
        assert tables["heard"].read_text() == whole


TOYS = '''
import numpy as np
import pandas as pd
from modalens.measures import Measure


class Said(Measure):
    """What models say of each split's clips, and of test clips with each modality replaced."""

    needs = "model"

    def __init__(self, *, bootstrap: int = 1000, confidence: float = 0.95) -> None: ...

    def __call__(self, models):
        rows = []
        for model in models:
            for seed in model.seeds:
                network = model.network(seed)
                for split in ("train", "validation", "test"):
                    clips = model.clips(split)
                    right = network.log_probabilities(network.embed(clips.features)).argmax(1) == clips.truth
                    row = {"model": model.name, "seed": seed, "split": split, "clips": len(clips.table)}
                    rows.append(row | {"accuracy": right.mean(), "replaced": ""})
                own = network.embed(clips.features)
                for kind in ("mean@input", "blank@input"):
                    for name, rest in network.embed(model.stand_ins(kind, seed)).items():
                        values = own | {name: rest.repeat(len(clips.truth), 0)}
                        right = network.log_probabilities(values).argmax(1) == clips.truth
                        row = {"model": model.name, "seed": seed, "split": "test", "clips": len(clips.truth)}
                        rows.append(row | {"accuracy": right.mean(), "replaced": f"{name}/{kind}"})
        return pd.DataFrame(rows)

    def headline(self, table):
        return {"rows": float(len(table))}


class Epochs(Measure):
    needs = "history"

    def __init__(self, *, bootstrap: int = 1000, confidence: float = 0.95) -> None: ...

    def __call__(self, histories):
        return histories.groupby(["model", "seed"], as_index=False)["epoch"].max()


class Nothing(Measure):
    needs = "model"

    def __init__(self, *, bootstrap: int = 1000, confidence: float = 0.95) -> None: ...

    def __call__(self, models):
        return pd.DataFrame({"modle": []})
'''


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "toys.py"
    path.write_text(TOYS)
    registry.use([path])
    yield
    registry.use([])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = _study.make(tmp_path_factory.mktemp("study"))
    for model in ("late_fusion", "video_only"):
        _study.trained(root, model, seeds=[0, 1], output="train/t")
    return root


def of_models(study, output, measure, *more):
    line = ["--measure", measure, "--models", *(study / "train" / "t").glob("*"), "--seeds", 0, 1]
    line += ["--splits", study / "splits", "--output", output / "out.csv", "--record", output / "out.json"]
    for flag, suffix in (("features", ""), ("replacements", ".h5")):
        line += ["--modalities" if flag == "features" else f"--{flag}"]
        line += [f"{name}={study}/{flag}/{name}{suffix}" for name in _study.SHAPES]
    cli.call(relevance, [str(part) for part in [*line, *more]])


@pytest.mark.usefixtures("toys")
def test_a_measure_of_an_outside_file_is_given_the_trained_models_and_the_clips_of_every_split(study, tmp_path):
    assert introspection.attribute("measures", "said", "needs") == "model"
    assert introspection.attribute("measures", "shapley", "needs") == "predictions"
    of_models(study, tmp_path, "said", "--device", "cpu")
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert list(table.columns[:3]) == ["task", "model", "seed"]
    assert set(table["task"]) == {"t"}
    own = table[table["replaced"] == ""]
    assert dict(zip(own["split"], own["clips"], strict=True)) == {"train": 36, "validation": 10, "test": 14}
    assert set(own["model"]) == {"late_fusion", "video_only"}
    assert own[own["model"] == "late_fusion"]["accuracy"].mean() > 0.8
    withheld = table[table["model"] == "late_fusion"].groupby("replaced")["accuracy"].mean()
    assert withheld["video/mean@input"] < 0.6 < 0.8 < withheld["audio/mean@input"], "only the video tells the label"
    # What `evaluate` says of the same models under the same conditions.
    said = _study.evaluated(study, study / "train" / "t" / "late_fusion", [0, 1])
    hit = (said["label"] == said["predicted"]).groupby([said["seed"], said["condition"]]).mean()
    mine = table[(table["model"] == "late_fusion") & (table["split"] == "test")].set_index(["seed", "replaced"])
    for seed in (0, 1):
        for name in ("full", "video=blank", "audio=blank", "video=mean", "audio=mean"):
            modality, _, kind = name.partition("=")
            replaced = f"{modality}/{kind}@input" if kind else ""
            assert mine.loc[(seed, replaced), "accuracy"] == pytest.approx(hit[seed, name])
    _, runs = records.read(tmp_path / "out.json")
    assert [run.key for run in runs] == [
        {"task": "t", "measure": "said", "model": m} for m in ("late_fusion", "video_only")
    ]
    assert [run.metrics for run in runs] == [{"rows": 14.0}, {"rows": 10.0}]


@pytest.mark.usefixtures("toys")
def test_models_of_all_tasks_are_one_call_which_keeps_the_tables_of_tasks_whose_models_and_clips_are_the_same(
    study, tmp_path
):
    for task in ("t", "u"):
        shutil.copytree(study / "train" / "t", tmp_path / "train" / task)
        shutil.copytree(study / "splits", tmp_path / "splits" / task)
    features = {name: tmp_path / "features" / name for name in _study.SHAPES}
    for name, folder in features.items():
        shutil.copytree(study / "features" / name, folder)
    tables = {task: tmp_path / f"{task}.csv" for task in ("t", "u")}

    def remade(*, made="code", splits="{task}", seeds=(0, 1)):
        """Tasks whose table is another file than before."""
        before = {task: path.stat().st_ino for task, path in tables.items() if path.exists()}
        line = ["--measure", "said", "--made", made, "--models", *sorted(tmp_path.glob("train/*/*")), "--device", "cpu"]
        line += ["--seeds", *seeds, "--splits", tmp_path / "splits" / splits]
        line += ["--modalities", *(f"{name}={folder}" for name, folder in features.items())]
        line += ["--replacements", *(f"{name}={study}/replacements/{name}.h5" for name in _study.SHAPES)]
        line += ["--output", tmp_path / "{task}.csv", "--record", tmp_path / "{task}.json"]
        cli.call(relevance, [str(part) for part in line])
        return {task for task, path in tables.items() if path.stat().st_ino != before.get(task)}

    with pytest.raises(UserError, match="expected models of one task, got those of t, u"):
        remade(splits="t")
    assert remade() == {"t", "u"}
    assert set(pd.read_csv(tables["u"])["task"]) == {"u"}
    assert [run.key["task"] for run in records.read(tmp_path / "u.json")[1]] == ["u", "u"]
    assert remade() == set()
    first, second = (tmp_path / "train" / "u" / "late_fusion" / str(seed) / "model.pt" for seed in (0, 1))
    first.write_bytes(second.read_bytes())
    assert remade() == {"u"}
    split = tmp_path / "splits" / "t" / "test.csv"
    split.write_text("".join(split.read_text().splitlines(keepends=True)[:-1]))
    assert remade() == {"t"}
    os.utime(features["video"] / "0.h5", (1, 1))
    assert remade() == {"t", "u"}
    assert remade(seeds=(0,)) == {"t", "u"}
    assert remade(seeds=(0,), made="other code") == {"t", "u"}


@pytest.mark.usefixtures("toys")
def test_a_measure_of_histories_is_given_an_epoch_a_row(study, tmp_path):
    paths = sorted((study / "train" / "t").glob("*/*/history.csv"))
    line = [
        "--measure",
        "epochs",
        "--histories",
        *paths,
        "--output",
        tmp_path / "o.csv",
        "--record",
        tmp_path / "o.json",
    ]
    cli.call(relevance, line)
    table = pd.read_csv(tmp_path / "o.csv")
    assert list(table.columns) == ["task", "model", "seed", "epoch"]
    assert set(table["task"]) == {"t"}
    assert np.array_equal(table["epoch"], [len(pd.read_csv(path)) for path in paths])


@pytest.mark.usefixtures("toys")
def test_what_a_measure_needs_and_what_it_must_return_is_said(study, tmp_path, folder):
    with pytest.raises(UserError, match=r"relevance\.measures\.epochs needs --histories"):
        run(folder, "--measure", "epochs")
    with pytest.raises(UserError, match=r"toys.py\): expected a table with a column `model`, got the columns modle"):
        of_models(study, tmp_path, "nothing")
