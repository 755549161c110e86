"""Video expert: late fusion's video network and head, without the sound. Source: seed paper, sections 3.2 and 3.3."""

from modalens.models.late_fusion import LateFusion


class VideoOnly(LateFusion):
    only = ("video",)
