"""Stage `decode`: clips of a shard -> one row each of a modality's decoded form (frames, waveforms, ...).

What a form is, its modality says; each form has a rule, a folder and a log of its own name.
"""

import argparse
from pathlib import Path

from modalens.media.decode_shard import decode_shard
from modalens.media.status import add_workers
from modalens.modalities import load_modality
from modalens.utils import cli


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--modality", required=True, help="a plugin of modalens/modalities")
    parser.add_argument("--options", type=cli.mapping, default={}, help="of the decoded form, JSON")
    parser.add_argument("--clips", type=Path, required=True, help="status table of stage clips")
    parser.add_argument("--cells", type=Path, help="table of the columns that it reads instead of a media file")
    parser.add_argument("--columns", nargs="*", default=[], help="those that it reads")
    parser.add_argument("--store", type=Path, help="file of all clips that it reads instead")
    parser.add_argument("--longest", type=float, help="seconds of a clip that are read at most; all by default")
    parser.add_argument("--output", type=Path, required=True, help="HDF5, one row a clip")
    parser.add_argument("--status", type=Path, required=True, help="CSV, one row a clip")
    parser.add_argument("--reject", nargs="*", default=[], help="causes that only flag a clip, to count as failures")
    parser.add_argument("--made", default="", help="digest of the code: what other code decoded is not kept")
    parser.add_argument(
        "--consumers",
        type=cli.pair,
        nargs="*",
        default=[],
        help="MADE=FILE of all that is made from the output, where that is temporary: what they hold is not decoded",
    )
    parser.add_argument("--cache", type=Path, help="folder of what studies share")
    add_workers(parser)


def main(arguments: argparse.Namespace) -> None:
    decode_shard(arguments, load_modality(arguments.modality, arguments.options))
