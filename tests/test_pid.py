"""The decomposition against published values and dit; the measure against the joints that predictions come from."""

import dit
import numpy as np
import pandas as pd
import pytest
from _joints import NAMES, joint_of, known_joints, predictions_of, random_joint
from dit.pid import PID_BROJA

from modalens.measures.pid import Pid
from modalens.stats.decomposition import information, parts, union_information
from modalens.stats.information import Joint, decomposition
from modalens.utils.errors import UserError

PARTS = ["redundant", "unique", "unique_other", "synergy"]
QUICK = {"bootstrap": 20}


def measured(predictions: pd.DataFrame, **options) -> pd.DataFrame:
    table = Pid(**QUICK | options)(predictions)
    return table[table["notion"] == "used"].set_index("part")


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("RDN", [1, 0, 0, 0]),
        ("UNQ", [0, 0, 1, 0]),
        ("XOR", [0, 0, 0, 1]),
        ("COPY", [0, 1, 1, 0]),
        ("AND", [0.3113, 0, 0, 0.5]),
    ],
)
def test_the_usual_examples_have_their_published_parts(name, bits):
    """Bertschinger et al. 2014, table 1: redundant, unique to audio, unique to video, synergy."""
    assert list(decomposition(known_joints()[name]).values()) == pytest.approx(bits, abs=1e-3)


def by_dit(table: np.ndarray) -> float:
    outcomes = [tuple(map(int, place)) for place in np.argwhere(table > 0)]
    found = PID_BROJA(dit.Distribution(outcomes, table[table > 0]), [[1], [2]], [0])
    return sum(found.get_pi(node) for node in (((1,), (2,)), ((1,),), ((2,),)))


@pytest.mark.parametrize("name", ["RDN", "UNQ", "XOR", "COPY", "AND", "either"])
def test_the_union_information_is_that_of_dit(name):
    table = known_joints()[name].table
    assert float(union_information(table.sum(axis=2), table.sum(axis=1))) == pytest.approx(by_dit(table), abs=2e-4)


@pytest.mark.parametrize("seed", range(4))
def test_of_drawn_joints_it_is_never_more_than_what_dit_finds(seed):
    """dit's optimizer ends too early on some of them, by up to 0.06 bits, and lets the pairs change by a little."""
    table = random_joint(seed, (2, 3, 3)).table
    assert float(union_information(table.sum(axis=2), table.sum(axis=1))) < by_dit(table) + 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_of_three_bits_it_is_the_least_of_all_on_a_grid(seed):
    """A label's table of two by two has one degree of freedom once its margins are fixed."""
    table = random_joint(seed, (2, 2, 2)).table
    shifts = [np.linspace(-min(one[0, 0], one[1, 1]), min(one[0, 1], one[1, 0]), 101) for one in table]
    moved = np.stack(np.meshgrid(*shifts, indexing="ij"), axis=-1)[..., None, None] * np.array([[1, -1], [-1, 1]])
    least = information((table + moved).reshape(101, 101, 2, 4)).min()
    assert float(union_information(table.sum(axis=2), table.sum(axis=1))) == pytest.approx(least, abs=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_not_negative_and_no_other_distribution_of_the_same_pairs_tells_less(seed):
    """A joint itself has its own pairs, and so has what is made of it by moving weight around a square."""
    table = random_joint(seed).table
    first, second = table.sum(axis=2), table.sum(axis=1)
    assert min(map(float, parts(first, second, information(table.reshape(3, -1))).values())) > -1e-5
    least = float(union_information(first, second))
    rng = np.random.default_rng(seed)
    for _ in range(50):
        label, (one, other), (left, right) = rng.integers(3), rng.permutation(4)[:2], rng.permutation(4)[:2]
        moved = rng.random() * min(table[label, one, left], table[label, other, right])
        table[label, [one, other], [left, right]] -= moved
        table[label, [one, other], [right, left]] += moved
        assert float(information(table.reshape(3, -1))) > least - 1e-5


def test_many_tables_at_once_are_the_same_as_each_alone():
    tables = np.stack([random_joint(seed).table for seed in range(6)]).reshape(2, 3, 3, 4, 4)
    together = union_information(tables.sum(axis=-1), tables.sum(axis=-2))
    assert together.shape == (2, 3)
    for place in np.ndindex(2, 3):
        alone = float(union_information(tables[place].sum(axis=-1), tables[place].sum(axis=-2)))
        assert together[place] == pytest.approx(alone, abs=1e-5)


def test_predictions_of_2000_clips_with_noise_recover_the_parts_of_13_joints_to_03_bits():
    errors = {}
    for name, joint in known_joints().items():
        rows = measured(predictions_of(joint, 2000, noise=0.5))
        errors[name] = np.abs(rows.loc[PARTS, "value"].to_numpy() - list(decomposition(joint).values())).mean()
    assert len(errors) >= 12
    assert np.mean(list(errors.values())) < 0.015, errors
    assert max(errors.values()) < 0.03, errors


def sharpened(predictions: pd.DataFrame, power: float) -> pd.DataFrame:
    """As overconfident as models get that are trained for too long: the same order of the classes."""
    names = [name for name in predictions if name.startswith("p_")]
    values = predictions[names].to_numpy() ** power
    values /= values.sum(axis=1, keepdims=True)
    place = [names.index(f"p_{label}") for label in predictions["label"]]
    own = np.log(np.maximum(values[np.arange(len(values)), place], 1e-12))
    return predictions.assign(log_probability=own, **dict(zip(names, values.T, strict=True)))


@pytest.mark.parametrize("name", ["drawn 0", "drawn 1", "drawn 2"])
def test_overconfidence_costs_the_log_probability_and_not_what_the_cells_tell(name):
    joint = known_joints()[name]
    predictions = sharpened(predictions_of(joint, 2000), 4)
    known = decomposition(joint)["synergy"]
    assert measured(predictions).loc["synergy", "value"] == pytest.approx(known, abs=0.05)
    assert measured(predictions, total="log_probability").loc["synergy", "value"] < known - 0.1


def test_a_total_that_is_none_is_one_line():
    with pytest.raises(UserError, match="pid: total: expected cells or log_probability, got 'bits'"):
        Pid(total="bits")


@pytest.mark.slow
def test_intervals_at_200_clips_cover_the_parts():
    """Of 6 joints x 20 test sets x 4 parts, with the exact posteriors."""
    hits = []
    for name in ("XOR", "AND", "either", "mostly_seen", "drawn 0", "drawn 1"):
        joint = known_joints()[name]
        truth = np.array(list(decomposition(joint).values()))
        for seed in range(20):
            rows = measured(predictions_of(joint, 200, seed=seed), bootstrap=100).loc[PARTS]
            hits.append((rows["low"] - 2e-3 <= truth) & (truth <= rows["high"] + 2e-3))
    assert np.mean(hits) > 0.9


def test_a_table_of_few_clips_does_not_look_informative():
    """Label and symbols independent: each part is 0, and uncorrected tables of 60 clips would tell 0.1 bits alone."""
    joint = Joint(NAMES, np.full((3, 3, 3), 1 / 27))
    found = [measured(predictions_of(joint, 60, noise=1.0, seed=seed)).loc["alone", "value"] for seed in range(20)]
    assert abs(np.mean(found)) < 0.05


def test_parts_sum_to_the_total_and_a_modalitys_own_to_what_it_tells_alone():
    rows = measured(predictions_of(known_joints()["mostly_seen"], 300, seeds=2))["value"]
    assert rows[PARTS].sum() == pytest.approx(rows["total"])
    assert rows["redundant"] + rows["unique"] == pytest.approx(rows["alone"])
    assert rows["redundant"] + rows["unique_other"] == pytest.approx(rows["alone_other"])


def test_the_order_of_the_rows_changes_nothing_and_one_seed_has_no_seed_interval():
    predictions = predictions_of(known_joints()["AND"], 100)
    first, other = (Pid(**QUICK)(table) for table in (predictions, predictions.sample(frac=1, random_state=1)))
    pd.testing.assert_frame_equal(first, other)
    assert first["seeds_low"].isna().all()
    assert first["low"].notna().all()


def test_available_reads_each_modality_from_the_model_trained_on_it_alone():
    """The joint model is deaf: audio is of no use to it, and unique to the model that listens."""
    joint = joint_of(lambda audio, _: audio)
    whole = predictions_of(joint, 400)
    alone = whole[whole["coalition"].isin(["audio", "video", ""])]
    experts = [
        alone[alone["coalition"].isin([name, ""])].assign(
            model=f"{name}_only", replacement=lambda rows: rows["coalition"].map({"": "blank@input"}).fillna("")
        )
        for name in NAMES
    ]
    deaf = whole.copy()
    names = [name for name in whole if name.startswith("p_")]
    deaf[names], deaf["log_probability"] = 0.5, np.log(0.5)
    table = Pid(**QUICK)(pd.concat([deaf, *experts], ignore_index=True))
    table = table[table["model"] == "model"].set_index(["notion", "part"])["value"]
    assert table["used", "alone"] == pytest.approx(0, abs=1e-6)
    assert table["available", "unique"] == pytest.approx(1, abs=0.02)
    assert table["available", "synergy"] == pytest.approx(-1, abs=0.02)  # the total is the deaf model's own: nothing


def test_of_three_modalities_each_pair_has_its_parts():
    """Audio and video are a code, text is noise."""
    table = np.zeros((2, 2, 2, 2))
    for audio, text, video in np.ndindex(2, 2, 2):
        table[audio ^ video, audio, text, video] = 1 / 8
    rows = Pid(**QUICK)(predictions_of(Joint(("audio", "text", "video"), table), 400))
    synergy = rows[rows["part"] == "synergy"].set_index(["modality", "other"])["value"]
    assert synergy["audio", "video"] == pytest.approx(1, abs=0.02)
    assert synergy[[("audio", "text"), ("text", "video")]].abs().max() < 0.02
    assert set(rows["notion"]) == {"used"}  # nobody trained a model on audio alone


def test_too_few_clips_for_the_classes_leave_the_values_empty():
    """Four classes in four cells need 48 clips."""
    joint = known_joints()["COPY"]
    rows = Pid(**QUICK)(predictions_of(joint, 47))
    assert rows[["value", "low", "high"]].isna().all(axis=None)
    assert set(rows["cells"]) == {0}
    assert Pid(**QUICK).headline(rows) == {}
    rows = Pid(**QUICK)(predictions_of(joint, 48))
    assert rows["value"].notna().all()
    assert set(rows["cells"]) == {4}


def test_decisions_without_probabilities_are_said_so_and_a_model_of_such_is_left_out():
    predictions = predictions_of(known_joints()["AND"], 60)
    names = [name for name in predictions if name.startswith("p_")]
    with pytest.raises(UserError, match="pid: expected columns p_<class>"):
        Pid(**QUICK)(predictions.drop(columns=names))
    bare = predictions.assign(model="bare", **dict.fromkeys(names, np.nan))
    assert set(Pid(**QUICK)(pd.concat([predictions, bare]))["model"]) == {"model"}
    with pytest.raises(UserError, match="pid: cells: expected 2 or more, got 1"):
        Pid(cells=1)


def test_headline_names_the_parts():
    table = Pid(**QUICK)(predictions_of(known_joints()["XOR"], 200))
    assert Pid().headline(table)["used/audio.video/synergy/blank@input"] == pytest.approx(1, abs=0.02)
