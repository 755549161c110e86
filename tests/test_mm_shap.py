"""MM-SHAP on networks small enough to ask of every coalition, and against the library shap."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from modalens.measures import Clips
from modalens.measures._clip_means import ClipMeans
from modalens.measures._patch_rows import Asked, modality_rows
from modalens.measures._patch_values import Game, exact_values, sampled_values
from modalens.measures._patches import patches
from modalens.measures._test_clips import other_groups
from modalens.measures.mm_shap import MmShap
from modalens.stats.coalitions import shapley_values
from modalens.utils.errors import UserError

SHAPES = {"audio": {"mel": 4, "time": 4}, "video": {"time": 3, "channel": 5}}


class Toy:
    """Two layers on both modalities together. weight: of each modality's embedding."""

    modalities = ("audio", "video")

    def __init__(self, seed=0, weight=None):
        draw = np.random.default_rng(seed)
        self.weight = {"audio": 1.0, "video": 1.0} | (weight or {})
        self.inner = {name: draw.normal(size=(int(np.prod(list(SHAPES[name].values()))), 6)) for name in SHAPES}
        self.outer = draw.normal(size=(6, 3))
        self.embedded = 0

    def embed(self, features):
        self.embedded += sum(map(len, features.values()))
        return {name: rows.reshape(len(rows), -1) @ self.inner[name] for name, rows in features.items()}

    def log_probabilities(self, embeddings):
        hidden = np.tanh(sum(self.weight[name] * rows for name, rows in embeddings.items()) / 3)
        return log_softmax(hidden @ self.outer, axis=1)


class Model:
    name = "toy"
    modalities = ("audio", "video")
    seeds = (0, 1)
    shapes = SHAPES

    def __init__(self, clips=12, weight=None):
        draw = np.random.default_rng(1)
        features = {name: draw.normal(size=(clips, *shape.values())) for name, shape in SHAPES.items()}
        self.networks = {seed: Toy(seed, weight) for seed in self.seeds}
        network = self.networks[0]
        truth = network.log_probabilities(network.embed(features)).argmax(1)
        truth[::5] = (truth[::5] + 1) % 3  # some are wrong
        names = [f"c{index:03d}" for index in range(clips)]
        table = pd.DataFrame({"clip_id": names, "group": [f"g{i // 2}" for i in range(clips)]})
        self.test = Clips(table.assign(label=np.array(["x", "y", "z"])[truth]), ["x", "y", "z"], truth, features)

    def network(self, seed):
        return self.networks[seed]

    def clips(self, split="test"):
        assert split == "test"
        return self.test

    def stand_ins(self, kind, seed):
        if kind != "mean@input":
            raise UserError(kind)
        return {name: np.full((1, *shape.values()), 0.1 * (1 + seed)) for name, shape in SHAPES.items()}


def game(most, clips=6, weight=None):
    """weight: above 1 patches interact more."""
    model = Model(clips, weight)
    made = {name: patches(SHAPES[name], most) for name in SHAPES}
    stand_ins = {name: np.repeat(rows, clips, 0) for name, rows in model.stand_ins("mean@input", 0).items()}
    target = model.test.truth

    def worth(said, places):
        return np.exp(said[np.arange(len(places)), target[places]])

    return Game(model.network(0), made, model.test.features, stand_ins, worth)


def by_hand(one, clip):
    """{patch of all modalities: Shapley value}, each coalition masked by loops."""
    players = [(name, patch) for name in sorted(one.patches) for patch in range(len(one.patches[name]))]
    values = {}
    for size in range(len(players) + 1):
        for kept in itertools.combinations(players, size):
            features = {}
            for name, rows in one.features.items():
                owner = np.broadcast_to(one.patches[name].owner, rows[clip].shape)
                features[name] = np.array(one.stand_ins[name][clip])
                for place in np.ndindex(owner.shape):
                    if (name, owner[place]) in kept:
                        features[name][place] = rows[clip][place]
            said = one.network.log_probabilities(one.network.embed({k: v[None] for k, v in features.items()}))
            values[tuple(f"{name}{patch}" for name, patch in kept)] = one.worth(said, np.array([clip]))[0]
    return shapley_values(values), values


def test_patches_divide_the_named_axes_and_never_the_channels():
    assert patches({"mel": 64, "time": 101}, 16).names[:5] == (
        "mel 0:16, time 0:25", "mel 0:16, time 25:50", "mel 0:16, time 50:76", "mel 0:16, time 76:101",
        "mel 16:32, time 0:25",
    )  # fmt: skip
    frames = patches({"time": 8, "height": 7, "width": 7, "channel": 2048}, 16)
    assert len(frames) == 16
    assert frames.owner.shape == (8, 7, 7, 1)
    assert frames.names[0] == "time 0:2, height 0:4, width 0:4"
    assert len(patches({"time": 8, "channel": 2048}, 16)) == 8
    assert len(patches({"token": 77, "channel": 512}, 16)) == 16
    assert patches({"channel": 5}, 16).names == tuple(f"channel {i}:{i + 1}" for i in range(5)), "a row of a table"
    assert patches({"channel": 512}, 16).names == ("",), "an embedding is one patch"
    assert len(patches({"mel": 64, "time": 101}, 16, {"time": 5})) == 5
    for owner in (patches({"mel": 9, "time": 7}, 16).owner, patches({"token": 7, "channel": 2}, 3).owner):
        assert sorted(set(owner.ravel())) == list(range(owner.max() + 1))
    with pytest.raises(UserError, match="grid: expected parts by axis, mel 1 to 64, time 1 to 101; got pitch: 4"):
        patches({"mel": 64, "time": 101}, 16, {"pitch": 4})


def test_exact_values_are_those_of_every_coalition_masked_by_hand():
    one = game(most=3, clips=3)
    found = exact_values(one)
    assert {name: values.shape for name, values in found.whole.items()} == {"audio": (3, 2), "video": (3, 3)}
    for clip in range(3):
        expected, values = by_hand(one, clip)
        for name in SHAPES:
            own = [expected[f"{name}{patch}"] for patch in range(len(one.patches[name]))]
            np.testing.assert_allclose(found.whole[name][clip], own, atol=1e-12)
        np.testing.assert_allclose(found.none[clip], values[()])
        np.testing.assert_allclose(
            sum(v[clip].sum() for v in found.whole.values()), found.full[clip] - found.none[clip]
        )


def test_sampled_values_sum_to_what_is_divided_and_come_to_the_exact_ones():
    one = game(most=4)
    exact = exact_values(one)
    sampled = sampled_values(one, 400, np.random.default_rng(0))
    for found in (sampled, sampled_values(one, 2, np.random.default_rng(5))):
        total = sum(values.sum(1) for values in found.whole.values())
        np.testing.assert_allclose(total, exact.full - exact.none, atol=1e-12)
    for name in SHAPES:
        error = np.abs(sampled.halves[name][0] - sampled.halves[name][1]).mean() / 2
        assert np.abs(sampled.whole[name] - exact.whole[name]).mean() < 1.5 * error < 0.02


def test_what_one_modality_says_is_asked_once_for_each_set_of_its_own_patches():
    one = game(most=4, clips=1)
    one.network.embedded = 0
    sampled_values(one, 2, np.random.default_rng(0))
    audio, video = 4, 3
    shapes = 4 * 2  # one embedding of each modality for its shape
    assert one.network.embedded == 4 * (audio + 1 + video + 1) + shapes, "not (patches + 1) of each for every step"


def rows_of(one, found):
    clips = Model(len(found.full)).test
    asked = Asked(clips, dict(one.patches), [found], clips.truth[:, None], np.ones((len(found.full), 1), bool))
    rows = pd.DataFrame(modality_rows(asked, ClipMeans(clips.table["group"], replicates=100)))
    rows = rows[(rows["predictions"] == "all") & (rows["label"] == "")]
    return rows.set_index(["quantity", "modality"])


def test_noise_makes_sizes_too_large_and_extrapolation_takes_most_of_it_away():
    one = game(most=4, clips=40, weight={"audio": 3.0, "video": 3.0})
    exact = rows_of(one, exact_values(one))
    assert (exact["sampling_error"] == 0).all()
    raw, mended, told = [], [], []
    for seed in range(15):
        found = sampled_values(one, 2, np.random.default_rng(seed))
        raw.append(sum(np.abs(values).sum() for values in found.whole.values()) / 40)
        rows = rows_of(one, found)
        mended.append(rows["value"])
        told.append(rows["sampling_error"])
    size = exact.loc["size", "value"].sum()
    mended, told = pd.DataFrame(mended), pd.DataFrame(told).mean()
    bias = mended["size"].sum(axis=1).mean() - size
    assert np.mean(raw) - size > 0.04 * size
    assert abs(bias) < 0.3 * (np.mean(raw) - size)
    assert ((mended.std() / told).between(0.6, 1.7)).all(), "the sampling error that is told is the true one"


def test_a_modality_that_the_network_does_not_see_has_no_share():
    table = MmShap(bootstrap=100)([Model(weight={"audio": 0.0})])
    shares = table[(table["kind"] == "modality") & (table["quantity"] == "share")].set_index(
        ["label", "predictions", "modality"]
    )["value"]
    assert shares["", "all", "audio"] == 0
    assert shares["", "all", "video"] == 1


def test_the_table_has_the_papers_layout_and_single_clips_whose_patches_sum_up():
    model = Model()
    table = MmShap(bootstrap=100, examples=3)([model])
    rows = table[table["kind"] == "modality"]
    assert set(rows["predictions"]) == {"all", "correct", "incorrect"}
    assert set(rows["label"]) == {"", *set(model.test.table["label"])}
    shares = rows[rows["quantity"] == "share"].groupby(["label", "predictions"])["value"].sum()
    np.testing.assert_allclose(shares, 1)
    whole = rows[(rows["label"] == "") & (rows["predictions"] == "all") & (rows["quantity"] == "share")]
    assert ((whole["low"] <= whole["value"]) & (whole["value"] <= whole["high"])).all()
    counted = rows[(rows["label"] == "") & (rows["quantity"] == "share")].groupby("predictions")["clips"].first()
    assert counted["all"] == 12
    clips = table[table["kind"] == "clip"]
    assert clips["clip_id"].nunique() == 3
    network = model.network(0)
    said = np.exp(network.log_probabilities(network.embed(model.test.features)))
    rest = np.exp(network.log_probabilities(network.embed(model.stand_ins("mean@input", 0))))[0]
    for clip, part in clips.groupby("clip_id"):
        place, target = int(clip[1:]), "xyz".index(part["target"].iloc[0])
        assert target == said[place].argmax()
        assert part["value"].sum() == pytest.approx(said[place, target] - rest[target])
        assert len(part) == 16 + 3
    assert table.equals(MmShap(bootstrap=100, examples=3)([model])), "the same seed gives the same table"
    assert MmShap().headline(table[table["model"] == "toy"]).keys() == {
        f"share/{name}{end}/mean@input" for name in SHAPES for end in ("", "/low", "/high")
    }


def test_a_model_of_one_modality_has_no_shares_and_a_wrong_option_is_one_line():
    only = Model()
    only.modalities = ("audio",)
    assert MmShap()([only]).empty
    for options, told in (
        ({"permutations": 3}, "permutations: expected an even number, 2 or more, got 3"),
        ({"payoff": "logit"}, "payoff: expected one of probability, log_probability, got 'logit'"),
        ({"exact": 30}, "exact: expected 0 to 12"),
        ({"clips": -1}, "clips: expected 0 or more, got -1"),
    ):
        with pytest.raises(UserError, match=told):
            MmShap(**options)
    with pytest.raises(UserError, match="models: no model 'tony'; did you mean 'toy'"):
        MmShap(models=["tony"])([Model()])
    with pytest.raises(UserError, match="grid: no modality 'vidoe'; did you mean 'video'"):
        MmShap(grid={"vidoe": {"time": 2}})([Model()])


@pytest.mark.parametrize("sizes", [[1] * 9, [3, 1, 2, 2], [2, 2], [5, 1, 1]])
def test_a_clip_is_replaced_by_one_of_another_group_and_each_stands_in_once_where_that_can_be(sizes):
    groups = pd.Series(np.repeat([f"g{place}" for place in range(len(sizes))], sizes))
    for seed in range(20):
        found = other_groups(groups, np.random.default_rng(seed))
        assert (groups.to_numpy()[found] != groups.to_numpy()).all()
        if 2 * max(sizes) <= sum(sizes):
            assert sorted(found) == list(range(sum(sizes)))
    with pytest.raises(UserError, match="two groups or more"):
        other_groups(pd.Series(["a", "a"]), np.random.default_rng(0))


@pytest.mark.slow
def test_values_are_those_of_the_library_shap_within_its_error():
    shap = pytest.importorskip("shap")
    one = game(most=4, clips=3)
    players = [(name, patch) for name in sorted(SHAPES) for patch in range(len(one.patches[name]))]
    found = exact_values(one)
    sampled = sampled_values(one, 20, np.random.default_rng(0))
    for clip in range(3):

        def value(masks, clip=clip):
            told = []
            for mask in masks:
                features = {}
                for name, rows in one.features.items():
                    kept = np.array([bool(on) for on, (owner, _) in zip(mask, players, strict=True) if owner == name])
                    features[name] = one.patches[name].keep(
                        kept[None, None], rows[[clip]], one.stand_ins[name][[clip]]
                    )[:, 0]
                said = one.network.log_probabilities(one.network.embed(features))
                told.append(one.worth(said, np.array([clip]))[0])
            return np.array(told)

        everything, nothing = np.ones((1, len(players))), np.zeros((1, len(players)))
        exact = shap.ExactExplainer(value, nothing)(everything)[0].values  # noqa: PD011
        mine = np.concatenate([found.whole[name][clip] for name in sorted(SHAPES)])
        np.testing.assert_allclose(mine, exact, atol=1e-9)
        explainer = shap.PermutationExplainer(value, nothing, seed=0)
        explained = explainer(everything, max_evals=20 * (2 * len(players) + 1))
        permuted = explained[0].values  # noqa: PD011
        drawn = np.concatenate([sampled.whole[name][clip] for name in sorted(SHAPES)])
        error = np.concatenate([np.abs(np.diff(sampled.halves[name][:, clip], axis=0))[0] for name in sorted(SHAPES)])
        assert np.abs(drawn - permuted).max() < 4 * max(error.max(), 0.002)


@pytest.mark.parametrize("replacement", ["mean@input", "shuffle@input"])
def test_of_a_clip_that_lacks_a_modality_all_is_due_to_the_others(replacement):
    model = Model()
    lacks = np.arange(12) % 3 == 0
    model.test.table = model.test.table.assign(lacks=np.where(lacks, "audio", ""))
    model.test.features["audio"][lacks] = 5.0  # what stands for it is no stand-in of this replacement
    asked = MmShap(patches=2, replacement=replacement, clips=0)._asked(model)
    for own in asked.sizes()["audio"].T:
        assert own[lacks] == pytest.approx(0, abs=1e-9)
        assert (own[~lacks] > 1e-6).all()
    assert (asked.sizes()["video"] > 1e-6).all()
