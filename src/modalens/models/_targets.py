"""What a model's outputs say of a label, by what the label is: how far off they are, and how well they do."""

import torch
from torch import Tensor
from torch.nn import functional

from modalens.stats.targets import MULTILABEL, REGRESSION, tags_of


def label_loss(outputs: Tensor, labels: Tensor, target: str) -> Tensor:
    """A scalar to go down. Classes: outputs (B, classes), labels (B,): cross entropy, log-softmax and negative
    log-likelihood in one. Tags: (B, tags) both, labels 0 or 1: binary cross entropy, mean over tags. Numbers: outputs
    (B, 1), labels (B,) less the training mean, over the training deviation: squared error."""
    if target == REGRESSION:
        return functional.mse_loss(outputs.squeeze(-1).float(), labels)
    if target == MULTILABEL:
        return functional.binary_cross_entropy_with_logits(outputs.float(), labels)
    return functional.cross_entropy(outputs, labels)


def score(outputs: Tensor, labels: Tensor, target: str) -> Tensor:
    """outputs (S, B, ...), labels (S, B, ...) -> the sum over clips of SCORES (S,): right answers, right decisions on
    tags, or 1 less the squared error: the share of the training labels' variance that is explained."""
    if target == REGRESSION:
        return (1 - (outputs.squeeze(-1).float() - labels).square()).sum(1)
    if target == MULTILABEL:
        return ((outputs >= 0) == labels.bool()).float().mean(2).sum(1)
    return (outputs.argmax(2) == labels).sum(1)


def outputs_of(target: str, labels: list[str]) -> int:
    """How many a model has: one a class or tag, one of a number."""
    return 1 if target == REGRESSION else len(labels)


def read_labels(texts: list[str], labels: list[str], target: str, scale: tuple[float, float]) -> Tensor:
    """Labels as the lists have them -> what `label_loss` takes. scale: mean and deviation of the training numbers.
    Raises KeyError for a class or tag that is none of `labels`."""
    if target == REGRESSION:
        mean, deviation = scale
        return ((torch.tensor([float(text) for text in texts], dtype=torch.float64) - mean) / deviation).float()
    place = {label: index for index, label in enumerate(labels)}
    if target == MULTILABEL:
        rows = torch.zeros(len(texts), len(labels))
        for row, text in zip(rows, texts, strict=True):
            row[[place[tag] for tag in tags_of(text)]] = 1
        return rows
    return torch.tensor([place[text] for text in texts], dtype=torch.int64)
