"""Training clips that lack a modality: which they are, what stands in, and that nothing else changes."""

import json

import _study
import numpy as np
import pytest
import torch

from modalens.models import build
from modalens.stages import train
from modalens.tracking import records
from modalens.training import setup
from modalens.training.missing import NOISES, Missing
from modalens.utils import cli, hdf5
from modalens.utils.errors import UserError

SHAPES = {"audio": {"mel": 3, "time": 4}, "video": {"time": 2, "channel": 3}}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return _study.make(tmp_path_factory.mktemp("study"))


def features(count=50):
    draw = torch.Generator().manual_seed(0)
    return {name: torch.randn(count, *shape.values(), generator=draw) for name, shape in SHAPES.items()}


def read(study, more=(), **options):
    return setup.read(cli.parse(train, _study.train_line(study, more=more, **options)))


def lacking(replacement="mean@input", **shares):
    return ["--missing", json.dumps({"shares": shares, "replacement": replacement})]


def changed(one, other):
    return {
        name: (one.features[name] != other.features[name]).flatten(1).any(1).numpy() for name in sorted(one.features)
    }


def test_as_many_clips_as_stated_lack_each_modality_and_none_lacks_two():
    found = Missing(shares={"audio": 0.3, "video": 0.45}).lacking(200)
    assert {name: int(lacks.sum()) for name, lacks in found.items()} == {"audio": 60, "video": 90}
    assert not (found["audio"] & found["video"]).any()


def test_another_seed_draws_others_and_a_larger_share_keeps_those_of_a_smaller():
    few, more = (Missing(shares={"audio": share}).lacking(100)["audio"] for share in (0.2, 0.6))
    assert (more[few]).all()
    assert (few != Missing(shares={"audio": 0.2}, seed=1).lacking(100)["audio"]).any()


def test_a_model_of_one_modality_lacks_it_in_the_same_clips_as_the_joint_one():
    missing = Missing(shares={"audio": 0.3, "video": 0.3})
    both = missing.replace(features(), SHAPES, {})
    alone = missing.replace({"video": features()["video"]}, SHAPES, {})
    assert torch.equal(alone["video"], both["video"])
    assert set(alone) == {"video"}


def test_the_others_and_what_was_given_stay_as_they_are():
    given = features()
    before = {name: values.clone() for name, values in given.items()}
    missing = Missing(shares={"audio": 0.4})
    found = missing.replace(given, SHAPES, {})
    lacks = torch.from_numpy(missing.lacking(50)["audio"])
    assert all(torch.equal(given[name], before[name]) for name in given)
    assert torch.equal(found["video"], given["video"])
    assert torch.equal(found["audio"][~lacks], given["audio"][~lacks])
    assert not (found["audio"][lacks] == given["audio"][lacks]).any()


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_the_mean_is_the_one_that_evaluation_puts_there(name):
    """Of the clips that have it, which with their mean in the others' place is that of all."""
    found = Missing(shares={name: 0.5}).replace(features(), SHAPES, {})
    model = build("late_fusion", SHAPES, 3, {"hidden": [4]})
    model.fit_normalizer({other: [values] for other, values in found.items()})
    lacks = Missing(shares={name: 0.5}).lacking(50)[name]
    row = found[name][int(np.flatnonzero(lacks)[0])]
    assert torch.allclose(row, model.training_mean(name)[0], atol=1e-5)


def test_shuffled_clips_have_the_features_of_those_that_have_it():
    given = features()
    missing = Missing(shares={"video": 0.5}, replacement="shuffle@input")
    lacks = missing.lacking(50)["video"]
    rows = missing.replace(given, SHAPES, {})["video"][torch.from_numpy(lacks)].flatten(1)
    there = given["video"][torch.from_numpy(~lacks)].flatten(1)
    assert (rows[:, None] == there[None]).all(2).any(1).all()


@pytest.mark.parametrize("kind", ["blank", "gaussian"])
def test_what_stands_in_is_read_from_the_file_of_replacements(study, kind):
    files = [f"{name}={study}/replacements/{name}.h5" for name in SHAPES]
    job = read(study, [*lacking(f"{kind}@input", audio=0.5), "--replacements", *files])
    names = ["blank"] if kind == "blank" else list(NOISES)
    known = hdf5.read(study / "replacements" / "audio.h5", names)
    rows = job.train.features["audio"][changed(job.train, read(study).train)["audio"]].numpy()
    assert len(rows) == 18
    assert all((row == known).all((1, 2)).any() for row in rows)
    assert len({row.tobytes() for row in rows}) == 1 if kind == "blank" else len({row.tobytes() for row in rows}) > 4


def test_only_training_clips_lack_it_and_a_checkpoint_of_other_data_is_not_resumed(study):
    whole, job = read(study), read(study, lacking(audio=0.5))
    assert {name: int(rows.sum()) for name, rows in changed(job.train, whole.train).items()} == {
        "audio": 18,
        "video": 0,
    }
    assert not any(rows.any() for rows in changed(job.validation, whole.validation).values())
    assert job.digest != whole.digest


def test_the_record_says_which_clips_a_model_learnt_without(study):
    files = ["--replacements", f"video={study}/replacements/video.h5"]
    folder = _study.trained(study, output="blind", epochs=1, more=[*lacking("blank@input", video=1.0), *files])
    _, runs = records.read(folder / "record.json")
    assert runs[0].params["missing.video"] == 1.0
    assert runs[0].params["missing.replacement"] == "blank@input"
    assert "missing.replacement" not in records.read(_study.trained(study, epochs=1) / "record.json")[1][0].params


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shares": {"audio": 0.5}, "replacement": "zero@fusion"}, "missing.replacement: expected one of mean@input"),
        ({"shares": {"audio": 0.7, "video": 0.4}}, r"missing.shares: expected 1 at most together.*got 1.1"),
        ({"shares": {"audio": -1}}, "missing.shares.audio: expected a number from 0 to 1, got -1"),
        ({"share": {}}, "missing: unknown option 'share'; did you mean 'shares'"),
        ({"shares": {"audio": 1}}, "mean@input: audio: no clip has it; expected a share below 1"),
        ({"shares": {"audio": 0.5}, "replacement": "blank@input"}, "audio: no file of replacements is given"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(study, options, said):
    with pytest.raises(UserError, match=said):
        read(study, ["--missing", json.dumps(options)])


def test_whole_numbers_have_no_mean():
    tokens = {"text": torch.arange(20).view(10, 2)}
    with pytest.raises(UserError, match=r"text: features of type torch.int64 have no mean; take shuffle@input"):
        Missing(shares={"text": 0.5}).replace(tokens, {"text": {"token": 1, "channel": 2}}, {})
