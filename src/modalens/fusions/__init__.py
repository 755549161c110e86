"""Fusions: embeddings of the modalities -> one vector. One file each; what they share is exported here."""

from modalens.fusions._base import Fusion, Sizes, build, get, resolve_options

__all__ = ["Fusion", "Sizes", "build", "get", "resolve_options"]
