"""Stage `replacements`: features of blank and noise inputs, which replace a withheld modality."""

import argparse
from pathlib import Path

from modalens.encoders import load_encoder
from modalens.evaluation.baselines import write
from modalens.modalities import load_modality
from modalens.tracking import records
from modalens.training.missing import NOISES, SEED
from modalens.utils import device
from modalens.utils.cli import add_common, mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", required=True, help="a plugin of modalens/encoders")
    parser.add_argument("--options", type=mapping, default={}, help="the encoder's options, JSON")
    parser.add_argument("--modality", required=True, help="a plugin of modalens/modalities")
    parser.add_argument("--decode", type=mapping, default={}, help="options of its decoded form, JSON")
    parser.add_argument("--output", type=Path, required=True, help="replacements, HDF5")
    add_common(parser, "key", "device", "threads", "record")


def main(arguments: argparse.Namespace) -> None:
    device.set_deterministic(arguments.threads)
    encoder = load_encoder(arguments.encoder, arguments.options, device.resolve_device(arguments.device))
    write(arguments.encoder, encoder, load_modality(arguments.modality, arguments.decode), arguments.output)
    done = records.Run(key=arguments.key, params={"encoder": arguments.encoder, "seed": SEED, "noises": len(NOISES)})
    records.write(arguments.record, "replacements", [done])
