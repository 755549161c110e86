"""Balancing methods: how a model is trained so that no modality is left behind. One file each."""

from modalens.balancing._base import Balancing, Learner, apply_balancing, unwrap

__all__ = ["Balancing", "Learner", "apply_balancing", "unwrap"]
