"""Data sets: annotations -> manifest. One file each; what they share is exported here."""

from modalens.datasets._av_mnist import Degraded, Sources, make_av_mnist
from modalens.datasets._base import Dataset, Reads

__all__ = ["Dataset", "Degraded", "Reads", "Sources", "make_av_mnist"]
