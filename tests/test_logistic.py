"""Logistic regression as a model: it is scikit-learn's, on what its own networks make of the features."""

import numpy as np
import pytest
import torch
from _members import CLASSES, PAIR, SHAPES, planted
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from modalens.models import build
from modalens.models.logistic import Logistic
from modalens.training import loop
from modalens.training.dataset import FeatureDataset

TRAIN, VALIDATION = planted(44, 0), planted(14, 1)


def solved(train=TRAIN, validation=VALIDATION, modalities=PAIR, classes=CLASSES, **options):
    model = build("logistic", {name: SHAPES[name] for name in modalities}, classes, options)
    model.fit_normalizer({name: [values] for name, values in train.features.items()})
    model.solve([(train.features, train.labels)], [(validation.features, validation.labels)])
    return model.eval()


def pooled(clips):
    """16 mels x 4 equal stretches of time; 3 frames as they are."""
    audio = clips.features["audio"].float().unflatten(2, (4, 10)).mean(3)
    return np.concatenate([audio.flatten(1), clips.features["video"].float().flatten(1)], axis=1).astype(np.float64)


@pytest.mark.parametrize("strength", [0.1, 10.0])
@pytest.mark.parametrize("count", [44, 300])  # fewer clips than features, and more
def test_predictions_are_scikit_learns(strength, count):
    train = planted(count, 2)
    scaler = StandardScaler().fit(pooled(train))
    rows, others = scaler.transform(pooled(train)), scaler.transform(pooled(VALIDATION))
    length = np.square(rows).sum(1).mean()
    wanted = LogisticRegression(C=strength / length, tol=1e-8, max_iter=10_000).fit(rows, train.labels)
    found = solved(train, strengths=[strength])(VALIDATION.features).softmax(1)
    torch.testing.assert_close(found.double(), torch.from_numpy(wanted.predict_proba(others)), rtol=1e-2, atol=2e-3)


def test_the_validation_clips_choose_the_strength():
    """Labels that the features do not tell ask for the strongest penalty, labels that they tell for a weaker one."""
    labels = torch.randint(CLASSES, (200,), generator=torch.Generator().manual_seed(0))
    unrelated = FeatureDataset(planted(200, 3).features, labels)
    strengths = [1e-4, 1.0, 1e4]
    for train, wanted in ((unrelated, 1e-4), (planted(200, 5), 1.0)):
        alone = {strength: solved(train, planted(200, 4), strengths=[strength]) for strength in strengths}
        chosen = solved(train, planted(200, 4), strengths=strengths)
        same = [strength for strength, model in alone.items() if equal(model, chosen)]
        assert same == [wanted]


def equal(one, other):
    return all(torch.equal(values, other.state_dict()[name]) for name, values in one.state_dict().items())


def test_a_modality_with_its_mean_features_adds_nothing():
    model = solved()
    embeddings = model.embed(TRAIN.features)
    for name, values in embeddings.items():
        assert values.abs().max() > 0.05, name
        torch.testing.assert_close(values.mean(0), torch.zeros(CLASSES), rtol=0, atol=1e-4)
    video = model.classify({"audio": torch.zeros(len(TRAIN), CLASSES), "video": embeddings["video"]})
    assert (video.argmax(1) == TRAIN.labels).float().mean() > 0.9


@pytest.mark.parametrize("present", [[0], [0, 2], [1, 2, 3]])
def test_a_class_without_a_training_clip_is_all_but_excluded(present):
    clips = planted(60, 4)
    train = FeatureDataset(clips.features, torch.tensor(present)[torch.arange(60) % len(present)])
    logits = solved(train, classes=4)(clips.features)
    assert logits.shape == (60, 4)
    assert set(logits.argmax(1).tolist()) <= set(present)
    absent = sorted(set(range(4)) - set(present))
    assert logits.softmax(1)[:, absent].max() < 1e-2


def test_a_feature_that_never_varies_says_nothing():
    features = {name: values.clone() for name, values in TRAIN.features.items()}
    features["video"][:, :, 5] = 3
    model = solved(FeatureDataset(features, TRAIN.labels))
    other = {name: values.clone() for name, values in features.items()}
    other["video"][:, :, 5] = 90
    assert torch.equal(model(other), model(features))


@pytest.mark.parametrize("count", [44, 300])  # fewer clips than features, and more
def test_where_no_feature_varies_the_shares_of_the_classes_are_told(count):
    """As of an untrained network whose activations die out."""
    train = planted(count, 2)
    dead = FeatureDataset({name: torch.zeros_like(values) for name, values in train.features.items()}, train.labels)
    shares = torch.bincount(train.labels, minlength=CLASSES) / count
    found = solved(dead, planted(14, 1))(dead.features).softmax(1)
    torch.testing.assert_close(found[0], shares, rtol=1e-2, atol=1e-2)


def new(seeds):
    """As they are before they are solved."""
    models = []
    for seed in seeds:
        torch.manual_seed(seed)
        models.append(build("logistic", {name: SHAPES[name] for name in PAIR}, CLASSES, {}))
        models[-1].fit_normalizer({name: [values] for name, values in TRAIN.features.items()})
    return models


def test_the_loop_solves_it_for_every_seed_and_a_row_tells_its_numbers():
    models = new((0, 1, 2))
    histories = loop.fit(models, [0, 1, 2], TRAIN, VALIDATION, loop.TrainingOptions(batch_size=10))
    wanted = solved()(VALIDATION.features)
    for model, history in zip(models, histories, strict=True):
        torch.testing.assert_close(model.eval()(VALIDATION.features), wanted)
        assert len(history) == 1
        assert history[0]["steps"] == 0
        assert history[0]["validation_accuracy"] == pytest.approx(
            (wanted.argmax(1) == VALIDATION.labels).float().mean().item()
        )


def test_it_is_solved_once_for_all_seeds_together_or_one_after_the_other(monkeypatch):
    solves = []
    monkeypatch.setattr(
        Logistic, "_pooled", lambda self, clips, own=Logistic._pooled: solves.append(1) or own(self, clips)
    )
    once = 2  # it pools the training and the validation clips
    together, first, second = (new(seed) for seed in ((0, 1, 2), (0,), (1,)))
    training = loop.TrainingOptions(batch_size=10)
    loop.fit(together, [0, 1, 2], TRAIN, VALIDATION, training)
    assert len(solves) == once
    loop.fit(first, [0], TRAIN, VALIDATION, training)
    second[0].share_solution(first[0])
    loop.fit(second, [1], TRAIN, VALIDATION, training)
    assert len(solves) == 2 * once
    assert all(equal(first[0], model) for model in (*together, *second))
