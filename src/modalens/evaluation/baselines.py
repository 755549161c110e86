"""Stage `replacements`: what a modality is replaced with at its input, through its encoder.

Source: seed paper, section 4: a black video through ResNet50, silence, or Gaussian noise. It does not give the noise's
mean and deviation: ours is mid-grey noise of a quarter of the range, and white noise of a tenth of full scale.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from modalens.utils.cli import UserError, mapping, parser, run
from modalens.stages.features import attributes, encode, load_encoder
from modalens.utils import hdf5, device
from modalens.tracking import records

BLANK = "blank"
NOISES = tuple(f"gaussian-{index}" for index in range(16))  # several draws, so that no result hangs on one of them
SEED = 0
GREY, GREY_STD = 127.5, 64.0
SOUND_STD = 3276.8

Array = np.ndarray[Any, Any]


def frames(preprocessing: dict[str, Any], noise: np.random.Generator | None) -> Array:
    """uint8 (count, crop, crop, 3): black, or each value drawn by itself."""
    shape = (preprocessing["count"], preprocessing["crop"], preprocessing["crop"], 3)
    if noise is None:
        return np.zeros(shape, np.uint8)
    return noise.normal(GREY, GREY_STD, shape).round().clip(0, 255).astype(np.uint8)


def waveforms(preprocessing: dict[str, Any], noise: np.random.Generator | None) -> Array:
    """int16 (seconds * rate,): silence or white noise."""
    shape = (round(preprocessing["sample_rate"] * preprocessing["seconds"]),)
    if noise is None:
        return np.zeros(shape, np.int16)
    limits = np.iinfo(np.int16)
    return noise.normal(0, SOUND_STD, shape).round().clip(limits.min, limits.max).astype(np.int16)


KINDS: dict[str, Callable[[dict[str, Any], np.random.Generator | None], Array]] = {
    "frames": frames,
    "waveforms": waveforms,
}


def write(name: str, encoder: Any, preprocessing: dict[str, Any], output: Path) -> None:
    """Rows "blank" and "gaussian-0" ... "gaussian-15", with the attributes that the encoder's features have."""
    kind = preprocessing.get("kind")
    if kind != encoder.input or kind not in KINDS:
        raise UserError(f"{name} encodes {encoder.input}, but the preprocessing given is of kind {kind!r}")
    with hdf5.write(output, attributes(name, encoder, preprocessing)) as writer:
        writer.append(BLANK, encode(encoder, KINDS[kind](preprocessing, None)[None])[0])
        for index, clip_id in enumerate(NOISES):
            drawn = KINDS[kind](preprocessing, np.random.default_rng([SEED, index]))
            writer.append(clip_id, encode(encoder, drawn[None])[0])


def main(arguments: argparse.Namespace) -> None:
    device.repeatable(arguments.threads)
    encoder = load_encoder(arguments.encoder, arguments.options, device.choose(arguments.device))
    write(arguments.encoder, encoder, arguments.preprocessing, arguments.output)
    done = records.Run(key={"encoder": arguments.encoder}, params={"seed": SEED, "noises": len(NOISES)})
    records.write(arguments.record, "replacements", [done])


def command_line() -> argparse.ArgumentParser:
    line = parser(__doc__)
    line.add_argument("--encoder", required=True, help="a module of modalens/encoders")
    line.add_argument("--options", type=mapping, default={}, help="the encoder's options, JSON")
    line.add_argument(
        "--preprocessing", type=mapping, required=True, help="attributes of the frames or waveforms, JSON"
    )
    line.add_argument("--output", type=Path, required=True, help="replacements, HDF5")
    line.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    line.add_argument("--threads", type=int, default=1)
    line.add_argument("--record", type=Path, required=True)
    return line


if __name__ == "__main__":
    run(main, command_line())
