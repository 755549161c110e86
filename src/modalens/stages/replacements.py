"""Stage `replacements`: features of blank and noise inputs, which replace a withheld modality."""

import argparse
from pathlib import Path

from modalens.encoders import load_encoder
from modalens.evaluation.baselines import NOISES, SEED, write
from modalens.tracking import records
from modalens.utils import device
from modalens.utils.cli import mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", required=True, help="a module of modalens/encoders")
    parser.add_argument("--options", type=mapping, default={}, help="the encoder's options, JSON")
    parser.add_argument(
        "--preprocessing", type=mapping, required=True, help="attributes of the frames or waveforms, JSON"
    )
    parser.add_argument("--output", type=Path, required=True, help="replacements, HDF5")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", type=Path, required=True)


def main(arguments: argparse.Namespace) -> None:
    device.set_deterministic(arguments.threads)
    encoder = load_encoder(arguments.encoder, arguments.options, device.resolve_device(arguments.device))
    write(arguments.encoder, encoder, arguments.preprocessing, arguments.output)
    done = records.Run(key={"encoder": arguments.encoder}, params={"seed": SEED, "noises": len(NOISES)})
    records.write(arguments.record, "replacements", [done])
