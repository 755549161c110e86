"""Data sets: annotations -> manifest. One file each; what they share is exported here."""

from modalens.datasets._base import Dataset

__all__ = ["Dataset"]
