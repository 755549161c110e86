"""Stage `features`: one encoder over one shard of decoded clips, once; every training reads the result."""

import argparse
import time
from pathlib import Path

from modalens.encoders import encode_file, load_encoder
from modalens.tracking import records
from modalens.utils import device
from modalens.utils.cli import add_common, mapping


def main(arguments: argparse.Namespace) -> None:
    device.set_deterministic(arguments.threads)
    where = device.resolve_device(arguments.device)
    encoder = load_encoder(arguments.encoder, arguments.options, where)
    started = time.perf_counter()
    count, encoded = encode_file(
        arguments.encoder, encoder, arguments.input, arguments.output, arguments.made, arguments.cache
    )
    seconds = time.perf_counter() - started
    done = records.Run(
        key={**arguments.key, "shard": arguments.output.stem},
        params={
            "encoder": arguments.encoder,
            **encoder.options,
            "weights_identity": encoder.weights,
            "device": where.type,
        },
        metrics={"clips": count, "encoded": encoded, "seconds": seconds, "clips_per_second": encoded / seconds},
    )
    records.write(arguments.record, "features", [done])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", required=True, help="a plugin of modalens/encoders")
    parser.add_argument("--options", type=mapping, default={}, help="the encoder's options, JSON")
    parser.add_argument("--input", type=Path, required=True, help="decoded clips of one shard, HDF5")
    parser.add_argument("--output", type=Path, required=True, help="features of the shard, HDF5")
    parser.add_argument("--made", default="", help="digest of options and code: what others made is not kept")
    parser.add_argument("--cache", type=Path, help="folder of what studies share")
    add_common(parser, "key", "device", "threads", "record")
