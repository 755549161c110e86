"""Measures: what a task's models said, learnt or are -> table of relevance. One file each; what they share is exported
here."""

from modalens.measures._base import Measure
from modalens.measures._built import build
from modalens.measures._studied import Array, Clips, Network, StudiedModel

__all__ = ["Array", "Clips", "Measure", "Network", "StudiedModel", "build"]
