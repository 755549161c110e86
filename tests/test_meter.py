import pytest
import torch

from modalens.training.meter import Meter


def test_every_number_is_a_mean_over_clips_however_they_are_batched():
    meter = Meter(5)
    logits = torch.tensor([[[1.0, 0.0]] * 5, [[0.0, 1.0]] * 5])
    labels = torch.tensor([[0, 0, 1, 0, 1], [1, 0, 1, 0, 1]])
    for rows, loss in ((slice(0, 4), [1.0, 2.0]), (slice(4, 5), [6.0, 12.0])):
        terms = {"logits": logits[:, rows], "loss": torch.tensor(loss), "weight_audio": torch.tensor([0.5, 0.25])}
        meter.add(terms, labels[:, rows])
    first, second = meter.rows("train")
    assert list(first) == ["train_loss", "train_accuracy", "train_weight_audio"]
    assert first == pytest.approx({"train_loss": 2, "train_accuracy": 0.6, "train_weight_audio": 0.5})
    assert second == pytest.approx({"train_loss": 4, "train_accuracy": 0.6, "train_weight_audio": 0.25})
