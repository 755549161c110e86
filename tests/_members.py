"""Clips and models of a few numbers each, for the tests of whatever is in the registry."""

from functools import cache

import torch

from modalens.models import Model, build
from modalens.training.dataset import FeatureDataset

SHAPES = {
    "audio": {"mel": 16, "time": 40},
    "text": {"token": 5, "channel": 12},
    "video": {"time": 3, "channel": 24},
}
PAIR = ("audio", "video")
CLASSES = 3
COUNT = 16
EXPERTS = ("audio_only", "video_only")
# Of the models that do not learn without any.
TEACHERS = {"distillation": EXPERTS}
# What a model cannot do without.
REQUIRED = {"guidance": {"target": "video", "guide": "audio"}}
LABELS = torch.arange(COUNT) % CLASSES


def shapes(modalities=PAIR):
    return {name: SHAPES[name] for name in modalities}


def clips(modalities=PAIR, seed=0):
    """(COUNT, ...) float16 of each modality: noise, the same whichever others are asked for."""
    return {name: _noise(name, seed) for name in modalities}


@cache
def _noise(name, seed):
    draw = torch.Generator().manual_seed(100 * seed + len(name))
    return (5 + 3 * torch.randn(COUNT, *SHAPES[name].values(), generator=draw, dtype=torch.float32)).half()


def made(name: str, modalities=PAIR, seed=0, **options) -> Model:
    """A model of one seed, standardised and begun, with experts of the same seed where it cannot do without."""
    torch.manual_seed(seed)
    if name.endswith("_only"):  # as in a config: late fusion of one modality
        name, modalities = "late_fusion", (name.removesuffix("_only"),)
    model = build(name, shapes(modalities), CLASSES, REQUIRED.get(name, {}) | options)
    model.fit_normalizer({modality: [rows] for modality, rows in clips(modalities).items()})
    for teacher in TEACHERS.get(name, ()):
        if teacher.removesuffix("_only") in modalities:
            model.teachers[teacher] = made(teacher, modalities, seed).eval().requires_grad_(False)
    model.initialise_from_teachers()
    return model


def planted(count: int, seed: int) -> FeatureDataset:
    """Clips of noise, in which a weak tone and a weak spot tell the label."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=draw)
    features = {name: torch.randn(count, *SHAPES[name].values(), generator=draw) for name in PAIR}
    for index, label in enumerate(labels):
        features["audio"][index, 4 * label] += 0.5
        features["video"][index, :, label] += 0.7
    return FeatureDataset({name: values.half() for name, values in features.items()}, labels)
