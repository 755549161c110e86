"""Depth uint16 (B, T, H, W) in millimetres -> features float16 (B, channel): any video network by name on whole clips,
each frame as a grey picture, frozen."""

from modalens.encoders._depth import DepthPictures
from modalens.encoders.video_network import VideoNetwork


class DepthVideo(DepthPictures, VideoNetwork):
    """As `video_network`, of which it has the options."""
