"""No group in two splits, every clip once, and a failed clip takes none with it."""

import numpy as np
import pandas as pd
import pytest

from modalens.curation import splitting
from modalens.stages import splits
from modalens.tracking import records
from modalens.utils import cli
from modalens.utils.errors import UserError

FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}


def labelled(clips: int, groups: int | None = None, classes: int = 3, seed: int = 0) -> pd.DataFrame:
    """clips in random groups (one each when None) with random classes."""
    generator = np.random.default_rng(seed)
    ids = [f"clip-{clip:05d}" for clip in range(clips)]
    group = ids if groups is None else [f"group-{number}" for number in generator.integers(groups, size=clips)]
    label = [f"class-{number}" for number in generator.integers(classes, size=clips)]
    return pd.DataFrame({"clip_id": ids, "shard": "0", "group": group, "split": "", "label": label})


@pytest.fixture
def study(tmp_path):
    """Write labels and statuses, run the stage, give back its tables."""

    def run(labels: pd.DataFrame, failed: dict[tuple[str, str], str] | None = None, *more: str):
        labels.to_csv(tmp_path / "seen.csv", index=False)
        for stage in ("clips", "frames"):
            for shard, clips in labels.groupby("shard"):
                cause = [(failed or {}).get((stage, clip), "") for clip in clips["clip_id"]]
                status = pd.DataFrame({"clip_id": clips["clip_id"], "status": "ok", "cause": cause})
                status.loc[status["cause"] != "", "status"] = "failed"
                (tmp_path / stage).mkdir(exist_ok=True)
                status.to_csv(tmp_path / stage / f"{shard}.csv", index=False)
        out = tmp_path / "splits" / "seen"
        command = ["--labels", str(tmp_path / "seen.csv"), "--study", str(tmp_path), "--stages", "clips", "frames"]
        command += ["--output", str(out), "--record", str(out / "record.json"), *more]
        cli.call(splits, command)
        return {path.stem: pd.read_csv(path, dtype=str, keep_default_na=False) for path in out.glob("*.csv")}

    return run


@pytest.mark.parametrize("seed", range(15))
def test_groups_stay_whole_and_every_clip_is_assigned_once(seed):
    generator = np.random.default_rng(seed)
    labels = labelled(
        int(generator.integers(10, 400)), int(generator.integers(5, 60)), int(generator.integers(2, 9)), seed
    )
    split = splitting.assign(labels, FRACTIONS, seed)
    assert split.index.equals(labels.index)
    assert set(split) <= set(splitting.NAMES)
    assert (pd.crosstab(labels["group"], split) > 0).sum(axis=1).max() == 1


@pytest.mark.parametrize("groups", [None, 300])
def test_sizes_and_class_shares_come_near_the_fractions(groups):
    labels = labelled(1000, groups)
    split = splitting.assign(labels, FRACTIONS, 0)
    for _, part in split.groupby(labels["label"]):
        for name, fraction in FRACTIONS.items():
            assert (part == name).mean() == pytest.approx(fraction, abs=0.02)


@pytest.mark.parametrize("size", [3, 4, 5, 7, 10])
def test_every_class_is_in_every_split_when_it_has_three_groups(size):
    labels = labelled(8 * size)
    labels["label"] = [f"class-{clip // size}" for clip in range(len(labels))]
    split = splitting.assign(labels, FRACTIONS, 3)
    counts = pd.crosstab(labels["label"], split).reindex(columns=splitting.NAMES, fill_value=0)
    assert counts.to_numpy().min() >= 1


def test_speakers_of_all_classes_are_shared_out():
    """34 speakers with 30 clips each, as in a talking-face corpus: 24, 3 and 7 of them, or one more or less."""
    labels = labelled(34 * 30, classes=4)
    labels["group"] = [f"speaker-{clip // 30}" for clip in range(len(labels))]
    speakers = labels["group"].groupby(splitting.assign(labels, FRACTIONS, 0)).nunique()
    assert speakers["train"] in (23, 24, 25)
    assert speakers["validation"] in (3, 4)
    assert speakers["test"] in (6, 7, 8)


def test_the_seed_alone_decides_and_not_the_order_of_the_rows():
    labels = labelled(200, 50)
    first = splitting.assign(labels, FRACTIONS, 1)
    shuffled = labels.sample(frac=1, random_state=0)
    assert splitting.assign(shuffled, FRACTIONS, 1).sort_index().equals(first)
    assert not splitting.assign(labels, FRACTIONS, 2).equals(first)


def test_too_few_groups_is_said_with_their_number():
    with pytest.raises(UserError, match="20 clips of 2 groups: 3 splits want at least 3 groups"):
        splitting.assign(labelled(20, 2), FRACTIONS, 0)


def test_lists_hold_every_used_clip_once(study):
    labels = labelled(100, 40)
    found = study(labels)
    used = pd.concat([found[name] for name in splitting.NAMES])
    assert sorted(used["clip_id"]) == labels["clip_id"].tolist()
    assert list(used.columns) == ["clip_id", "shard", "group", "label"]
    assert found["leakage"].empty
    assert found["classes"].set_index("label").astype(int).to_numpy().sum() == 100
    assert set(found["attrition"]["cause"]) == {""}


def test_a_failed_clip_is_dropped_alone_and_counted_under_its_first_cause(study):
    labels = labelled(100)
    before = study(labels)
    train, test = before["train"], before["test"]
    failed = {("clips", train["clip_id"][0]): "missing", ("frames", train["clip_id"][0]): "missing"}
    failed |= {("frames", test["clip_id"][0]): "damaged"}
    after = study(labels, failed)
    assert after["train"].equals(train.iloc[1:].reset_index(drop=True))
    assert after["test"].equals(test.iloc[1:].reset_index(drop=True))
    assert after["validation"].equals(before["validation"])
    losses = after["attrition"][after["attrition"]["cause"] != ""]
    assert losses.to_numpy().tolist() == [
        ["test", test["label"][0], "damaged", "frames", "1"],
        ["train", train["label"][0], "missing", "clips", "1"],
    ]
    assert after["attrition"]["clips"].astype(int).sum() == 100


def test_a_class_that_lost_all_its_test_clips_stops_the_run(study):
    labels = labelled(60)
    found = study(labels)
    lost = found["test"].loc[found["test"]["label"] == "class-1", "clip_id"]
    with pytest.raises(UserError, match=r"class 'class-1' has no clip in test .* mostly 'timeout'"):
        study(labels, {("frames", clip): "timeout" for clip in lost})


def test_an_official_split_is_kept(study):
    labels = labelled(60)
    labels["split"] = np.resize(["train", "train", "validation", "test"], 60)
    found = study(labels)
    for name in splitting.NAMES:
        assert found[name]["clip_id"].tolist() == labels.loc[labels["split"] == name, "clip_id"].tolist()


def test_validation_is_carved_from_train_by_group_when_the_official_split_has_none(study, tmp_path):
    labels = labelled(200, 60)
    labels["split"] = np.where(labels["group"].str[-1].isin(["0", "5"]), "test", "train")
    found = study(labels)
    assert found["test"]["clip_id"].tolist() == labels.loc[labels["split"] == "test", "clip_id"].tolist()
    assert len(found["validation"]) == pytest.approx((labels["split"] == "train").sum() / 8, abs=4)
    assert not set(found["validation"]["group"]) & set(found["train"]["group"])
    _, (run,) = records.read(tmp_path / "splits" / "seen" / "record.json")
    assert "carved" in run.params["origin"]


def test_an_official_split_that_shares_a_group_is_refused_unless_allowed(study):
    labels = labelled(60)
    labels["split"] = np.resize(["train", "train", "validation", "test"], 60)
    labels.loc[[1, 3], "group"] = "one actor"
    with pytest.raises(UserError, match="first 'one actor' in train and test"):
        study(labels)
    found = study(labels, None, "--allow-overlap")
    assert found["leakage"].to_numpy().tolist() == [["one actor", "1", "0", "1"]]


def test_a_partly_empty_official_split_is_refused(study):
    labels = labelled(20)
    labels.loc[:4, "split"] = "train"
    with pytest.raises(UserError, match="15 of 20 labelled clips have no split"):
        study(labels)


def test_an_official_split_without_test_clips_is_refused(study):
    with pytest.raises(UserError, match="no test clip"):
        study(labelled(20).assign(split="train"))


def test_a_status_that_is_not_there_or_lacks_a_clip_is_named(study, tmp_path):
    labels = labelled(20)
    study(labels)
    path = tmp_path / "frames" / "0.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(UserError, match=r"frames/0\.csv says nothing of clip 'clip-00019'"):
        splitting.failures(tmp_path, ["clips", "frames"], labels)
    path.unlink()
    with pytest.raises(UserError, match=r"frames/0\.csv is not there"):
        splitting.failures(tmp_path, ["clips", "frames"], labels)


@pytest.mark.parametrize(
    "fractions",
    [{"train": 0.8, "test": 0.2}, FRACTIONS | {"train": 0.6}, FRACTIONS | {"test": 0}, FRACTIONS | {"test": "0.2"}],
)
def test_wrong_fractions_are_refused(fractions):
    with pytest.raises(UserError, match="fraction"):
        splitting.validate_fractions(fractions)


def test_many_source_videos_and_classes_are_split_in_proportion():
    labels = labelled(20000, classes=300)
    assert splitting.assign(labels, FRACTIONS, 0).value_counts()["train"] == pytest.approx(14000, rel=0.02)


def test_losses_are_counted_by_cause_in_the_record_and_every_clip_keeps_its_split(study, tmp_path):
    labels = labelled(100)
    before = study(labels)["clips"]
    gone = before["clip_id"][[3, 8, 21]]
    after = study(labels, dict(zip([("clips", clip) for clip in gone], ["removed", "removed", "private"], strict=True)))
    assert after["clips"]["split"].equals(before["split"])
    assert after["clips"].set_index("clip_id").loc[gone, "cause"].tolist() == ["removed", "removed", "private"]
    _, (run,) = records.read(tmp_path / "splits" / "seen" / "record.json")
    assert {name: value for name, value in run.metrics.items() if name.startswith("lost/")} == {
        "lost/removed": 2,
        "lost/private": 1,
    }


def test_splits_that_are_far_from_the_fractions_are_said(study, caplog):
    """26 classes of 5 clips that come in pairs: every split wants one pair of each class."""
    rare = labelled(26 * 5)
    rare["label"] = [f"class-{clip // 5}" for clip in range(len(rare))]
    rare["group"] = [f"group-{clip // 5}-{clip % 5 // 2}" for clip in range(len(rare))]
    table = study(rare)["sizes"].set_index("split").astype(float)
    assert table["asked"].to_dict() == FRACTIONS
    assert table["clips"].sum() == 130
    assert table.loc["train", "share"] < 0.65
    assert f"train {table.loc['train', 'share']:.0%} instead of 70%" in caplog.text
    assert splitting.off(splitting.sizes(splitting.assign(labelled(1000), FRACTIONS, 0), FRACTIONS)) == ""


def test_an_official_split_was_not_asked_for_fractions(study):
    given = labelled(60).assign(split=["train", "validation", "test"] * 20)
    assert set(study(given)["sizes"]["asked"]) == {""}
