"""Permutation importance on networks whose accuracy after an exchange is known."""

import numpy as np
import pandas as pd
import pytest

from modalens.measures import Clips
from modalens.measures.permutation_importance import PermutationImportance
from modalens.utils.errors import UserError

CLASSES = 3


class Network:
    """Votes of one number a modality: the class that audio says, `weight` to one against video's."""

    modalities = ("audio", "video")

    def __init__(self, weight):
        self.weight = weight

    def embed(self, features):
        return dict(features)

    def log_probabilities(self, embeddings):
        votes = sum(
            weight * np.eye(CLASSES)[embeddings[name][:, 0].astype(int)]
            for name, weight in zip(self.modalities, self.weight, strict=True)
        )
        return np.log((votes + 0.01) / (votes + 0.01).sum(1, keepdims=True))


class Model:
    name = "votes"
    modalities = ("audio", "video")
    seeds = (0, 1)

    def __init__(self, weight=(1.0, 0.0), size=2, clips=120):
        truth = np.arange(clips) // size % CLASSES
        draw = np.random.default_rng(0)
        features = {
            "audio": truth[:, None].astype(float),
            "video": draw.integers(CLASSES, size=(clips, 1)).astype(float),
        }
        labels = ["a", "b", "c"]
        table = pd.DataFrame(
            {
                "clip_id": [f"{index:03d}" for index in range(clips)],
                "group": [f"g{index // size}" for index in range(clips)],
                "label": [labels[index] for index in truth],
            }
        )
        self.test = Clips(table, labels, truth, features)
        self.weight = weight

    def network(self, seed):
        del seed
        return Network(self.weight)

    def clips(self, split="test"):
        assert split == "test"
        return self.test


def rows(table):
    return table.set_index(["metric", "modality"])


def test_a_modality_that_says_the_class_costs_what_a_clip_of_another_group_leaves():
    table = rows(PermutationImportance(bootstrap=200, exchanges=40)([Model()]))
    # Of 59 other groups of 60, 19 have the clip's class.
    expected = 1 - 19 / 59
    for metric in ("accuracy", "balanced_accuracy"):
        row = table.loc[(metric, "audio")]
        assert row["full"] == 1
        assert row["drop"] == pytest.approx(expected, abs=4 * row["sampling_error"])
        assert 0 < row["sampling_error"] < 0.02
        assert row["low"] < expected < row["high"]
        assert row["score"] == row["drop"]
        assert table.loc[(metric, "video"), "drop"] == 0
    told = table.loc[("log_probability", "audio")]
    wrong = np.log(0.01 / 1.03) - np.log(1.01 / 1.03)
    assert told["drop"] == pytest.approx(-expected * wrong, rel=0.1)
    assert np.isnan(told["score"])
    assert set(table["clips"]) == {120}
    assert set(table["groups"]) == {60}
    assert set(table["exchanges"]) == {40}


def test_no_clip_is_given_that_of_its_own_group():
    # A group is all clips of its class: exchanged within it nothing would be lost.
    table = rows(PermutationImportance(bootstrap=100)([Model(size=40)]))
    assert table.loc[("accuracy", "audio"), "drop"] == 1


def test_the_same_seed_gives_the_same_table_and_unimodal_models_are_left_out():
    only = Model()
    only.modalities = ("audio",)
    only.name = "audio_only"
    one, two = (PermutationImportance(bootstrap=100)([only, Model()]) for _ in range(2))
    assert one.equals(two)
    assert set(one["model"]) == {"votes"}
    assert PermutationImportance(bootstrap=100)([only]).empty
    measure = PermutationImportance(bootstrap=100)
    assert set(measure.headline(one)) == {
        f"exchanged/{name}{end}" for name in Model.modalities for end in ("", "/low", "/high")
    }


def test_fewer_than_twenty_exchanges_and_other_metrics_are_refused():
    with pytest.raises(UserError, match="exchanges: expected 20 or more, got 5"):
        PermutationImportance(exchanges=5)
    with pytest.raises(UserError, match="no metric 'accurcy'; did you mean 'accuracy'"):
        PermutationImportance(metrics=["accurcy"])


def test_a_clip_that_lacks_the_modality_neither_gives_nor_takes():
    model = Model()
    names = model.test.table
    lacks = np.arange(len(names)) % 3 == 0
    model.test.table = names.assign(lacks=np.where(lacks, "audio", ""))
    model.test.features["audio"][lacks] = 7  # no class: the network would break if it met another clip
    found = PermutationImportance(bootstrap=200)._others("audio", model.test)
    for others in found:
        assert (others[lacks] == np.flatnonzero(lacks)).all()
        assert not lacks[others[~lacks]].any()
        assert (names.group.to_numpy()[others[~lacks]] != names.group.to_numpy()[~lacks]).all()
    assert all((np.sort(others) == np.arange(len(names))).all() for others in found)
