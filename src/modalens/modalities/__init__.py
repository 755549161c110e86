"""Modalities: what is special about audio, video and others. One file each; what they share is exported here."""

from modalens.modalities._base import Attempt, Modality, load_modality, word_tolerance
from modalens.modalities._similarity import SequenceSimilarity, Similarity, VectorSimilarity

__all__ = [
    "Attempt",
    "Modality",
    "SequenceSimilarity",
    "Similarity",
    "VectorSimilarity",
    "load_modality",
    "word_tolerance",
]
