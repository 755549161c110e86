"""Audio expert: late fusion's audio network and head, without the picture. Source: seed paper, sections 3.2 and 3.3."""

from modalens.models.late_fusion import LateFusion


class AudioOnly(LateFusion):
    only = ("audio",)
