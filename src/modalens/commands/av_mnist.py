"""AV-MNIST from MNIST's pictures and spoken digits: clips.csv, WAV and PNG files for a study of one's own."""

import argparse
import logging
from pathlib import Path

from modalens.datasets import Degraded, Sources, make_av_mnist
from modalens.utils.errors import UserError

log = logging.getLogger("modalens")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=Path, required=True, help="MNIST's ...-images-idx3-ubyte, .gz or not")
    parser.add_argument("--labels", type=Path, required=True, help="MNIST's ...-labels-idx1-ubyte of the same pictures")
    parser.add_argument("--recordings", type=Path, required=True, help="folder of DIGIT_SPEAKER_INDEX.wav, as FSDD's")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs, the speakers' splits and the noise")
    parser.add_argument("--validation-speakers", type=int, default=1)
    parser.add_argument("--test-speakers", type=int, default=1)
    parser.add_argument("--image-energy", type=float, default=0.25, help="share of the pictures' variance that is kept")
    parser.add_argument("--audio-snr-db", type=float, help="white noise so far below the audio; else none")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")


def main(arguments: argparse.Namespace) -> None:
    if arguments.output.exists():
        raise UserError(f"{arguments.output} is there already; name another folder, or delete it")
    clips = make_av_mnist(
        Sources(arguments.images, arguments.labels, arguments.recordings),
        arguments.output,
        Degraded(arguments.image_energy, arguments.audio_snr_db),
        seed=arguments.seed,
        validation=arguments.validation_speakers,
        test=arguments.test_speakers,
    )
    counts = clips.groupby("split", sort=False).agg(clips=("clip_id", "size"), speakers=("group", "nunique"))
    told = ", ".join(f"{name} {row['clips']} ({row['speakers']} speakers)" for name, row in counts.iterrows())
    log.info("%s: %s", arguments.output / "clips.csv", told)
