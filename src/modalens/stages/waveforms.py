"""The sound of every clip of a shard: (sample_rate * seconds,) int16 mono, cut or filled up with silence."""

import argparse

from modalens.media.audio import muted, read_waveform
from modalens.media.decode_shard import decode_shard, decoding_parser
from modalens.utils.errors import UserError


def main(arguments: argparse.Namespace) -> None:
    rate, seconds = arguments.sample_rate, arguments.seconds
    if rate < 1 or round(rate * seconds) < 1:
        raise UserError(f"waveforms: {seconds} s at {rate} Hz hold no sample")
    attributes = {"kind": "waveforms", "sample_rate": rate, "seconds": seconds}
    decode_shard(arguments, attributes, [(read_waveform, (rate, seconds))], lambda wave: "muted" if muted(wave) else "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    decoding_parser(parser)
    parser.add_argument("--sample-rate", type=int, default=16000, help="samples a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a row")
