"""Measures: predictions -> table of relevance. One file each; what they share is exported here."""

from modalens.measures._base import Measure

__all__ = ["Measure"]
