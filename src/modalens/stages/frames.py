"""Frames of every clip of a shard: (count, crop, crop, 3) uint8 RGB, evenly spaced in time, or the key frames nearest.

Key frames decode by themselves, several times faster; `time_error_s` of a clip's status says how far off the worst of
its frames is, `key_frames` how many different ones it got. A clip that got a single one is no still picture for that.
"""

import argparse

import numpy as np

from modalens.media.decode_shard import decode_shard, decoding_parser
from modalens.media.video import DECODERS, read_frames, read_key_frames, still
from modalens.utils.errors import UserError


def main(arguments: argparse.Namespace) -> None:
    count, resize, crop = arguments.count, arguments.resize, arguments.crop
    if count < 1 or not 0 < crop <= resize:
        raise UserError(f"frames: a crop of {crop} out of a shorter side of {resize}, {count} times, cannot be")
    attributes = {"kind": "frames", "count": count, "resize": resize, "crop": crop, "sampling": arguments.sampling}
    if arguments.sampling == "keyframe":
        attempts: list = [(read_key_frames, (count, resize, crop))]
    else:
        # decord hangs and crashes on some files that PyAV reads.
        order = DECODERS if arguments.decoder == "decord" else ("pyav",)
        attempts = [(read_frames, (count, resize, crop, order[first:])) for first in range(len(order))]
    decode_shard(arguments, attributes, attempts, flag, ("time_error_s", "key_frames"))


def flag(frames: np.ndarray, time_error_s: float = 0.0, pictures: int = 2) -> str:  # noqa: ARG001
    """The cause that is noted of a clip. One picture, repeated because there is one key frame, is no evidence."""
    return "still_picture" if pictures > 1 and still(frames) else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    decoding_parser(parser)
    parser.add_argument("--count", type=int, default=8, help="frames of a clip")
    parser.add_argument("--resize", type=int, default=128, help="shorter side in pixels")
    parser.add_argument("--crop", type=int, default=112, help="side of the centre kept, in pixels")
    parser.add_argument("--sampling", choices=["uniform", "keyframe"], default="uniform", help="which frames")
    parser.add_argument("--decoder", choices=["decord", "pyav"], default="decord", help="of uniform frames, first")
