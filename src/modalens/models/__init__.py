"""Models: features of a clip -> logits. One file each; what they share is exported here."""

from modalens.models._base import Features, Model, Shapes, TrainedModel, build, load_model

__all__ = ["Features", "Model", "Shapes", "TrainedModel", "build", "load_model"]
