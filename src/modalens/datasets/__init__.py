"""Data sets: annotations -> manifest. One file each; what they share is exported here."""

from modalens.datasets._av_mnist import Degraded, Sources, make_av_mnist
from modalens.datasets._base import Dataset

__all__ = ["Dataset", "Degraded", "Sources", "make_av_mnist"]
