"""Models: features of a clip -> logits. One file each; what they share is exported here."""

from modalens.models._base import Batches, Features, Model, TrainedModel, build, load_model
from modalens.models._fitted import mean_of, shape_of
from modalens.models._shapes import Shape, Shapes
from modalens.models._targets import outputs_of, read_labels, score
from modalens.models._through import FROZEN, Learnt, Through, last_units

__all__ = [
    "FROZEN",
    "Batches",
    "Features",
    "Learnt",
    "Model",
    "Shape",
    "Shapes",
    "Through",
    "TrainedModel",
    "build",
    "last_units",
    "load_model",
    "mean_of",
    "outputs_of",
    "read_labels",
    "score",
    "shape_of",
]
