"""Frames of every clip of a shard: (count, crop, crop, 3) uint8 RGB, evenly spaced in time."""

import argparse

from modalens import cli
from modalens.decode import DECODERS, read_frames, still
from modalens.shards import decode_shard, decoding_parser


def main(arguments: argparse.Namespace) -> None:
    count, resize, crop = arguments.count, arguments.resize, arguments.crop
    if count < 1 or not 0 < crop <= resize:
        raise cli.UserError(f"frames: a crop of {crop} out of a shorter side of {resize}, {count} times, cannot be")
    attributes = {"kind": "frames", "count": count, "resize": resize, "crop": crop, "sampling": "uniform"}
    # decord hangs and crashes on some files that PyAV reads.
    attempts = [(read_frames, (count, resize, crop, DECODERS[first:])) for first in range(len(DECODERS))]
    decode_shard(arguments, attributes, attempts, lambda frames: "still_picture" if still(frames) else "")


def parser() -> argparse.ArgumentParser:
    parser = decoding_parser(cli.parser(__doc__))
    parser.add_argument("--count", type=int, default=8, help="frames of a clip")
    parser.add_argument("--resize", type=int, default=128, help="shorter side in pixels")
    parser.add_argument("--crop", type=int, default=112, help="side of the centre kept, in pixels")
    return parser


if __name__ == "__main__":
    cli.run(main, parser())
