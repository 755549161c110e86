"""Depth uint16 (B, T, H, W) in millimetres -> features float16 (B, T, channel): any picture network by name on each
frame as a grey picture, frozen."""

from modalens.encoders._depth import DepthPictures
from modalens.encoders.frame_network import FrameNetwork


class DepthNetwork(DepthPictures, FrameNetwork):
    """As `frame_network`, of which it has the options."""
