"""Learning through the encoder: a model that reads pictures from their files instead of cached features."""

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from modalens.encoders import encode_file, load_encoder
from modalens.evaluation.pyfunc_model import ClipClassifier
from modalens.modalities import load_modality
from modalens.models import load_model
from modalens.models._through import Learnt, Through, layers_of
from modalens.stages import evaluate, train
from modalens.training import checkpoint, loop, setup
from modalens.training.batches import SeedBatches, batch_sizes
from modalens.training.dataset import FeatureDataset
from modalens.training.missing import Missing, blank_and_noises
from modalens.training.stored import StoredRows, ahead
from modalens.utils import cli, hdf5
from modalens.utils.errors import UserError

pytest.importorskip("timm")

CPU = torch.device("cpu")
SIDE, CLIPS = 24, 48
LABELS = ["blue", "green", "red"]
# A ResNet of 0.5 million parameters, for tests.
OPTIONS = {"library": "timm", "model": "test_resnet", "weights": "untrained", "side": 32, "precision": "float32"}
ENTRY = {"kind": "image", "encoder": "image_network", "options": OPTIONS, "decode": {"size": SIDE}}
SMALL = {"sequence_size": 8, "step_size": 8, "hidden": [8]}
TRAINING = {"epochs": 3, "batch_size": 8, "learning_rate": 0.003, "device": "cpu"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Pictures in two shards, in which a colour is stronger by the label; their cached features; splits."""
    root = tmp_path_factory.mktemp("study")
    draw = np.random.default_rng(0)
    names = [f"clip-{index:02d}" for index in range(CLIPS)]
    classes = np.arange(CLIPS) % 3
    table = pd.DataFrame({"clip_id": names, "shard": draw.integers(0, 2, CLIPS), "group": names})
    table["label"] = [LABELS[one] for one in classes]
    pictures = draw.integers(0, 160, (CLIPS, SIDE, SIDE, 3)).astype(np.uint8)
    pictures[np.arange(CLIPS), :, :, 2 - classes] += 90
    made = load_modality("image", {"size": SIDE}).attributes()
    encoder = load_encoder("image_network", OPTIONS, CPU)
    for shard in (0, 1):
        with hdf5.write(root / "images" / f"{shard}.h5", made) as writer:
            for index in np.flatnonzero(table["shard"] == shard):
                writer.append(names[index], pictures[index], f"key {index}")
        encode_file("image_network", encoder, root / f"images/{shard}.h5", root / f"features/image/{shard}.h5")
    sounds = draw.normal(size=(CLIPS, 5)).astype(np.float16) + classes[:, None].astype(np.float16)
    with hdf5.write(root / "features" / "sound" / "0.h5", {"encoder": "given", "axes": ["channel"]}) as writer:
        for name, row in zip(names, sounds, strict=True):
            writer.append(name, row)
    (root / "features" / "sound" / "1.h5").write_bytes((root / "features" / "sound" / "0.h5").read_bytes())
    (root / "splits").mkdir()
    for split, rows in {"train": table[:30], "validation": table[30:39], "test": table[39:]}.items():
        rows.to_csv(root / "splits" / f"{split}.csv", index=False)
    pd.DataFrame({"label": LABELS, "train": 1}).to_csv(root / "splits" / "classes.csv", index=False)
    return root


def line(study, how=None, output="train", seeds=(0,), more=(), sound=(), **training):
    """how: of `training.encoders`; None: on cached features. sound: of a second modality, cached."""
    told = TRAINING | ({"encoders": {"image": how}} if how else {}) | training
    found = ["--model", "late_fusion", "--options", json.dumps(SMALL), "--training", json.dumps(told)]
    found += ["--seeds", *map(str, seeds), "--splits", f"{study}/splits", "--output", f"{study}/{output}"]
    found += ["--key", "{}", "--record", f"{study}/{output}/record.json"]
    found += more
    if how is None:
        return [*found, "--modalities", f"image={study}/features/image", *sound]
    found += ["--modalities", *sound] if sound else []
    return [*found, "--entries", json.dumps({"image": ENTRY}), "--decoded", f"image={study}/images"]


def trained(study, *arguments, **options):
    parsed = cli.parse(train, line(study, *arguments, **options))
    train.main(parsed)
    return Path(parsed.output)


def history(folder, seed=0):
    return pd.read_csv(folder / str(seed) / "history.csv").drop(columns="seconds")


def state(folder, seed=0):
    return load_model(folder / str(seed) / "model.pt").model.state_dict()


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert torch.equal(values, other[name]), name


def test_with_the_encoder_frozen_it_learns_the_numbers_of_cached_features(study):
    cached, through = trained(study, output="cached", seeds=[0, 1]), trained(study, "frozen", "frozen", seeds=[0, 1])
    for seed in (0, 1):
        pd.testing.assert_frame_equal(history(cached, seed), history(through, seed), rtol=1e-4)
        learnt = {name.replace("image.inner.", "image."): values for name, values in state(through, seed).items()}
        for name, values in state(cached, seed).items():
            torch.testing.assert_close(learnt[name], values, rtol=1e-3, atol=1e-4)


def test_unfrozen_the_encoder_learns_and_the_model_file_holds_it(study):
    before = load_encoder("image_network", OPTIONS, CPU).network().state_dict()
    after = state(trained(study, "unfrozen", "unfrozen"))
    weights = [name for name in before if name.endswith("weight")]
    assert weights
    for name in weights:
        assert not torch.equal(before[name], after[f"normalizers.image.network.{name}"]), name


def test_a_last_batch_of_a_single_clip_joins_the_one_before(study):
    """Of 32 pixels the last feature map is of one place: batch normalisation would have a single number a channel."""
    whole = trained(study, "unfrozen", "whole", batch_size=30)
    joined = trained(study, "unfrozen", "joined", batch_size=29)
    pd.testing.assert_frame_equal(history(whole), history(joined))


ONE_CLIP = "batch normalisation learns nothing from a batch of one clip; expected training.batch_size of at least 2"


def test_a_batch_of_one_clip_is_one_line_where_a_network_normalises_over_clips(study):
    with pytest.raises(UserError, match=ONE_CLIP):
        trained(study, "unfrozen", "one", batch_size=1)


def test_a_single_training_clip_is_one_line_where_a_network_normalises_over_clips(study, tmp_path):
    for name in ("train", "validation", "classes"):
        rows = pd.read_csv(study / "splits" / f"{name}.csv")
        rows.head(1 if name == "train" else len(rows)).to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(UserError, match=ONE_CLIP):
        trained(study, "unfrozen", "single", more=["--splits", str(tmp_path)])


@pytest.mark.parametrize(
    ("clips", "size", "sizes"),
    [(70, 32, [32, 32, 6]), (65, 32, [32, 33]), (33, 32, [33]), (64, 32, [32, 32]), (1, 32, [1]), (3, 1, [1, 1, 1])],
)
def test_an_epoch_has_all_clips_and_no_batch_of_one(clips, size, sizes):
    assert batch_sizes(clips, size) == sizes


def test_a_network_of_drawn_weights_gives_before_learning_numbers_of_the_size_that_it_gives_while_it_learns():
    """MobileOne's branches add up: with the statistics that its normalisations are made with, to 10^7."""
    options = OPTIONS | {"model": "mobileone_s0", "side": 64}
    given = Learnt("image_network", options, None)
    through = Through({"channel": 1024}, given)
    pictures = torch.randint(0, 256, (16, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    through.fit([pictures[:8], pictures[8:]])
    with torch.no_grad():
        assert 0.3 < float(through.train()(pictures).std()) < 3
        assert 0.3 < float(through.eval()(pictures).std()) < 3


def test_of_the_last_layers_those_learn_and_the_others_stay_with_their_statistics(study):
    network = load_encoder("image_network", OPTIONS, CPU).network()
    before, last = network.state_dict(), layers_of(network)[-1]
    theirs = {id(values) for values in last.parameters()}
    learns = {name for name, values in network.named_parameters() if id(values) in theirs}
    after = state(trained(study, {"last_layers": 1}, "last"))
    for name, values in before.items():
        changed = not torch.equal(values, after[f"normalizers.image.network.{name}"])
        inside = any(name.rpartition(".")[0] == one.rpartition(".")[0] for one in learns)
        assert changed == inside, name


def test_a_training_through_the_encoder_resumes_to_the_same_numbers(study, monkeypatch):
    """Stopped in the middle of its third epoch, augmented; the encoder's batch normalisations learn statistics, too."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    told = {"augment": {"image": {"crop": 0.7, "flip": 0.5}}, "epochs": 4}
    whole = trained(study, "unfrozen", "whole", **told)
    real, calls = loop.gradients, []

    def stop(*arguments):
        calls.append(1)
        if len(calls) == 2 * 4 + 2:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "gradients", stop)
        with pytest.raises(KeyboardInterrupt):
            trained(study, "unfrozen", "resumed", **told)
    resumed = trained(study, "unfrozen", "resumed", **told)
    pd.testing.assert_frame_equal(history(whole), history(resumed), check_exact=True)
    assert_same(state(whole), state(resumed))


def test_a_seed_learns_nothing_of_the_encoder_that_another_seed_has_trained(study):
    together, alone = (trained(study, "unfrozen", name, seeds=seeds) for name, seeds in (("two", [0, 1]), ("one", [1])))
    assert_same(state(together, 1), state(alone, 1))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_killed_training_through_the_encoder_ends_with_the_same_numbers(study, precision):
    told = {"augment": {"image": {"crop": 0.7, "flip": 0.5}}, "epochs": 12, "precision": precision}
    whole = trained(study, "unfrozen", f"unkilled-{precision}", **told)
    code = (
        "import sys, time; from modalens.training import checkpoint, loop; from modalens.utils import cli\n"
        "from modalens.stages import train\n"
        "checkpoint.SECONDS_BETWEEN_CHECKPOINTS = 0.0\n"
        "real = loop.gradients\n"
        "def slow(*given): time.sleep(0.05); return real(*given)\n"
        "loop.gradients = slow\n"
        "train.main(cli.parse(train, sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *line(study, "unfrozen", f"killed-{precision}", **told)]
    with subprocess.Popen(command, env=os.environ) as process:
        path = study / f"killed-{precision}" / "0" / "checkpoint.pt"
        while not path.exists() and process.poll() is None:
            pass
        process.send_signal(signal.SIGKILL)
    assert path.exists()
    assert_same(state(whole), state(trained(study, "unfrozen", f"killed-{precision}", **told)))


def test_augmentation_changes_training_clips_and_leaves_validation_clips(study):
    plain = trained(study, "frozen", "plain", epochs=1)
    changed = trained(study, "frozen", "changed", epochs=1, augment={"image": {"crop": 0.5, "flip": 0.5}})
    assert history(plain)["train_loss"][0] != history(changed)["train_loss"][0]
    seen = []
    job = setup.read(cli.parse(train, line(study, "frozen", augment={"image": {"crop": 0.5}})))
    model = next(setup.seed_groups(job, [0]))[0]
    real = type(model).loss
    try:
        type(model).loss = lambda self, given, labels: (
            seen.append((self.training, given["image"])) or real(self, given, labels)
        )
        loop.fit([model], [0], job.train, job.validation, job.training)
    finally:
        type(model).loss = real
    assert {values.dtype for training, values in seen if training} == {torch.float32}
    held_out = torch.cat([values for training, values in seen if not training])
    assert held_out.dtype == torch.uint8
    assert torch.equal(held_out[: len(job.validation)], torch.from_numpy(job.validation.features["image"][:]))


def assert_learns_the_same(study, **options):
    """Frozen, as on cached features."""
    cached, through = (trained(study, how, name, **options) for how, name in ((None, "one"), ("frozen", "other")))
    pd.testing.assert_frame_equal(history(cached), history(through), rtol=1e-3)
    return history(cached)


def test_training_clips_without_a_picture_are_those_of_cached_features_with_the_same_in_their_place(study):
    taken = {"shares": {"image": 0.4}, "replacement": "shuffle@input"}
    without = assert_learns_the_same(study, more=["--missing", json.dumps(taken)])
    assert without["train_loss"][0] != history(trained(study, output="all"))["train_loss"][0]


@pytest.mark.parametrize(("replacement", "rows"), [("blank@input", {0}), ("gaussian@input", set(range(1, 17)))])
def test_blank_and_noise_stand_in_as_they_are_decoded(study, replacement, rows):
    taken = {"shares": {"image": 0.4}, "replacement": replacement}
    found = setup.read(cli.parse(train, line(study, "frozen", more=["--missing", json.dumps(taken)])))
    known, pictures = blank_and_noises(load_modality("image", {"size": SIDE})), found.train.features["image"]
    lacks = Missing(**taken).lacking(30)["image"]
    table = pd.read_csv(study / "splits" / "train.csv")
    assert np.array_equal(pictures[~lacks], StoredRows(study / "images", table)[~lacks])
    used = {next(place for place, row in enumerate(known) if np.array_equal(row, one)) for one in pictures[lacks]}
    assert used <= rows


def test_what_was_decoded_has_no_mean(study):
    with pytest.raises(
        UserError, match="mean@input: image: what clips are decoded to has no mean; expected blank@input"
    ):
        trained(study, "frozen", "wrong", more=["--missing", json.dumps({"shares": {"image": 0.4}})])


def test_dropped_modalities_are_those_of_cached_features(study):
    options = {"more": ["--balancing", json.dumps({"modality_dropout": {"rate": 0.4}})]}
    dropped = assert_learns_the_same(study, sound=[f"sound={study}/features/sound"], **options)
    plain = history(trained(study, output="plain2", sound=[f"sound={study}/features/sound"]))
    assert dropped["train_loss"][0] != plain["train_loss"][0]


def test_a_clip_that_lacks_its_picture_is_read_as_a_black_one_and_scales_are_those_of_the_others(study, tmp_path):
    """Its row is in no file."""
    for split in ("train", "validation", "test"):
        table = pd.read_csv(study / "splits" / f"{split}.csv").assign(lacks="")
        table.loc[table.index[1:4], ["clip_id", "lacks"]] = [[f"{split}-{place}", "image"] for place in range(3)]
        (tmp_path / "splits").mkdir(exist_ok=True)
        table.to_csv(tmp_path / "splits" / f"{split}.csv", index=False)
    (tmp_path / "splits" / "classes.csv").write_text((study / "splits" / "classes.csv").read_text())
    given = [*line(study, "unfrozen"), "--splits", f"{tmp_path}/splits", "--output", f"{tmp_path}/train"]
    job = setup.read(cli.parse(train, given))
    lacks = job.train.lacks["image"].numpy()
    assert lacks.sum() == 3
    assert not job.train.features["image"][lacks].any()
    model = next(setup.seed_groups(job, [0]))[0]
    with torch.no_grad():
        present = model.eval().normalizers["image"].features(torch.from_numpy(job.train.present("image")[:]))
    torch.testing.assert_close(model.training_mean("image")[0], present.mean(0), rtol=1e-4, atol=1e-5)
    train.main(cli.parse(train, given))
    found = ["--models", f"{tmp_path}/train", "--seeds", "0", "--test", f"{tmp_path}/splits/test.csv", "--key", "{}"]
    found += ["--decoded", f"image={study}/images", "--entries", json.dumps({"image": ENTRY}), "--device", "cpu"]
    evaluate.main(cli.parse(evaluate, [*found, "--output", f"{tmp_path}/out"]))
    told = pd.read_parquet(tmp_path / "out" / "train.parquet").query("lacks == 'image'")
    by_clip = told.groupby("clip_id")["log_probability"]
    assert len(by_clip) == 3
    assert (by_clip.max() == by_clip.min()).all(), "nothing can be withheld from it"


def evaluated(study, models, *more):
    found = ["--models", str(models), "--seeds", "0", "--test", f"{study}/splits/test.csv"]
    evaluate.main(cli.parse(evaluate, [*found, "--output", f"{study}/out", "--device", "cpu", "--key", "{}", *more]))
    return pd.read_parquet(study / "out" / f"{models.name}.parquet")


def test_evaluated_from_pictures_it_says_what_it_says_of_cached_features(study):
    with hdf5.write(
        study / "replacements" / "image.h5", hdf5.attributes(study / "features" / "image" / "0.h5")
    ) as into:
        from modalens.encoders import encode
        from modalens.evaluation.baselines import BLANK, NOISES, decoded

        encoder, modality = load_encoder("image_network", OPTIONS, CPU), load_modality("image", {"size": SIDE})
        rows = [*decoded("blank@input", modality), *decoded("gaussian@input", modality)]
        for name, row in zip((BLANK, *NOISES), rows, strict=True):
            into.append(name, encode(encoder, row[None])[0])
    cached = evaluated(
        study, trained(study, output="cached2"), "--modalities", f"image={study}/features/image",
        "--replacements", f"image={study}/replacements/image.h5",
    )  # fmt: skip
    given = ["--decoded", f"image={study}/images", "--entries", json.dumps({"image": ENTRY})]
    through = evaluated(study, trained(study, "frozen", "frozen2"), *given)
    assert set(through["condition"]) >= {"full", "image=blank", "image=gaussian", "image=mean", "image=mean@fusion"}
    pd.testing.assert_frame_equal(cached, through, rtol=5e-3, atol=1e-4)


def test_mlflow_is_given_a_model_that_tells_by_clip_ids_what_evaluate_told(study):
    given = ["--decoded", f"image={study}/images", "--entries", json.dumps({"image": ENTRY})]
    told = evaluated(study, trained(study, "unfrozen", "logged", epochs=1), *given).query("condition == 'full'")
    (run,) = json.loads((study / "out" / "logged.json").read_text())["runs"]
    assert run["model"]["shapes"] == {}
    model = ClipClassifier(Path(run["model"]["path"]))
    features = {"features": json.dumps(run["model"]["features"])}
    found = model.predict(told[["clip_id"]].reset_index(drop=True), features)
    expected = told[found.columns.tolist()].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-5)
    with pytest.raises(UserError, match="expected a column clip_id, got image"):
        model.predict(pd.DataFrame({"image": [[0.0]]}), features)


def test_a_trained_encoder_is_read_from_the_model_file_and_not_fetched(study):
    folder = trained(study, "unfrozen", "offline", epochs=1)
    content = torch.load(folder / "0" / "model.pt", weights_only=True)
    assert content["encoders"]["image"]["encoder"] == "image_network"
    entry = {**ENTRY, "options": {**OPTIONS, "weights": str(study / "gone.pth")}}
    learnt = setup.decoded.Learnt.of(entry, "unfrozen", "here")
    with pytest.raises(UserError, match="not found"):
        learnt.load(CPU)
    assert learnt.load(CPU, saved=True).weights == "untrained seed 0"


@pytest.mark.parametrize(
    ("how", "training", "match"),
    [
        ("thawed", {}, "training.encoders.image: expected frozen, unfrozen or {last_layers: n}"),
        ({"last_layers": 0}, {}, "training.encoders.image: expected frozen, unfrozen"),
        ({"last_layers": 99}, {}, "image_network: last_layers: expected at most"),
        ("frozen", {"augment": {"image": {"time_masks": 1}}}, "augment.image: expected rows with the axis time, got"),
        ("frozen", {"augment": {"image": {"crop": 0}}}, "augment: crop: expected a share from above 0 to 1, got 0"),
        ("frozen", {"augment": {"image": {"turn": 1}}}, "augment.image: unknown option 'turn'"),
        ("frozen", {"precision": "float8"}, "training.precision: expected one of float32, bfloat16, auto"),
    ],
)
def test_what_cannot_be_is_one_line(study, how, training, match):
    with pytest.raises(UserError, match=match.replace("{", r"\{").replace("}", r"\}")):
        trained(study, how, "wrong", **training)


def test_an_encoder_with_nothing_to_learn_says_so():
    with pytest.raises(UserError, match="encoder log_mel: nothing in it can be learnt; expected `frozen`"):
        load_encoder("log_mel", {}, CPU).network()


# Rows that stay in their files


def test_rows_are_read_in_the_order_asked_for_from_any_shard(study):
    table = pd.read_csv(study / "splits" / "train.csv")
    rows = StoredRows(study / "images", table)
    assert rows.shape == (30, SIDE, SIDE, 3)
    places = np.array([29, 0, 7, 7, 12])
    alone = np.stack([rows[place : place + 1][0] for place in places])
    assert np.array_equal(rows[places], alone)
    assert np.array_equal(rows.take(torch.from_numpy(places)).numpy(), alone)
    for place in places:
        clip = table.iloc[place]
        assert np.array_equal(rows[place : place + 1], hdf5.read(study / f"images/{clip.shard}.h5", [clip.clip_id]))


def peak_of_an_epoch(folder, count):
    """Bytes of rows of 48 kB in memory at most, while all are gone through in batches of 8."""
    with hdf5.write(folder / f"{count}" / "0.h5", {"form": "images"}) as writer:
        for index in range(count):
            writer.append(f"{index}", np.full((128, 128, 3), index % 256, np.uint8))
    table = pd.DataFrame({"clip_id": [f"{index}" for index in range(count)], "shard": 0})
    clips = FeatureDataset({"image": StoredRows(folder / f"{count}", table)}, torch.zeros(count, dtype=torch.int64))
    batches = SeedBatches(clips, {}, CPU)
    tracemalloc.start()
    for features, _ in batches.training_batches([torch.Generator().manual_seed(0)], 8):
        assert features["image"].shape[2:] == (128, 128, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_holds_some_batches_however_many_clips_there_are(tmp_path):
    """One that is used, one that waits, one that is read: each perhaps twice, as rows and as what is made of them."""
    batch = 8 * 128 * 128 * 3
    assert peak_of_an_epoch(tmp_path, 400) < 6 * batch < 400 * 128 * 128 * 3 / 8


def test_no_more_files_are_open_than_may_be(study, monkeypatch):
    monkeypatch.setattr("modalens.training.stored.OPEN", 1)
    rows = StoredRows(study / "images", pd.read_csv(study / "splits" / "train.csv"))
    assert len(rows[:]) == 30
    assert len(rows._readers) == 1


def test_a_clip_that_is_not_there_is_named(study):
    table = pd.DataFrame({"clip_id": ["clip-00", "nobody"], "shard": [0, 0]})
    table.loc[0] = pd.read_csv(study / "splits" / "train.csv").query("shard == 0").iloc[0][["clip_id", "shard"]]
    with pytest.raises(UserError, match="lacks 1 of 2 clips, first 'nobody'"):
        StoredRows(study / "images", table)[:]


def test_the_next_batch_is_read_while_one_is_used_and_no_further_one():
    read = []
    found = ahead(lambda one: read.append(one) or one, range(5))
    assert next(found) == 0
    assert next(found) == 1
    assert set(read) <= {0, 1, 2}
    assert list(found) == [2, 3, 4]


def test_what_fails_while_reading_ahead_is_raised():
    def read(one):
        if one == 1:
            raise UserError("damaged")
        return one

    with pytest.raises(UserError, match="damaged"):
        list(ahead(read, range(3)))
