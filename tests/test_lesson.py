import torch
from _members import LABELS, clips, made

from modalens.training.batches import SeedBatches
from modalens.training.dataset import FeatureDataset

CPU = torch.device("cpu")


def lesson(name="distillation", seeds=(0, 1)):
    models = [made(name, seed=seed) for seed in seeds]
    return models, SeedBatches.from_models(models, FeatureDataset(clips(), LABELS), 5)


def test_what_teachers_say_is_each_seeds_own_whatever_the_batch():
    models, found = lesson()
    assert sorted(found.targets) == ["taught by audio_only", "taught by video_only"]
    for place, model in enumerate(models):
        for name, values in model.targets(clips()).items():
            torch.testing.assert_close(found.targets[name][place], values)
    assert not torch.equal(*found.targets["taught by video_only"])


def test_each_seed_draws_its_own_clips_with_all_that_belongs_to_them():
    _, found = lesson()
    rows = torch.tensor([[3, 11, 0], [7, 3, 15]])
    features, labels = found.training_batch(rows)
    assert torch.equal(labels, LABELS[rows])
    for name, values in clips().items():
        assert torch.equal(features[name], values[rows])
    for name, values in found.targets.items():
        assert torch.equal(features[name], torch.stack([values[0, rows[0]], values[1, rows[1]]]))


def test_shared_clips_are_the_same_for_all_seeds_but_for_the_teachers():
    _, found = lesson()
    features, labels = found.shared_batch(slice(4, 9), 2)
    assert torch.equal(labels, LABELS[4:9].expand(2, -1))
    for name, values in clips().items():
        assert torch.equal(features[name], values[4:9].expand(2, *values[4:9].shape))
    for name, values in found.targets.items():
        assert torch.equal(features[name], values[:, 4:9])


def test_without_teachers_there_is_nothing_but_the_features():
    _, found = lesson("late_fusion")
    assert found.targets == {}
    assert set(found.training_batch(torch.tensor([[0], [1]]))[0]) == {"audio", "video"}
