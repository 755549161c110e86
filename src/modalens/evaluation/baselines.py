"""Replacement inputs of a modality: blank and noise at its input, through its encoder.

Source: seed paper, section 4: a black video through ResNet50, silence, or Gaussian noise. It does not give the noise's
mean and deviation: each modality states ours.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalens.encoders import Encoder, attributes, check_input, encode
from modalens.modalities import Modality
from modalens.training.missing import BLANK, NOISES
from modalens.utils import hdf5

SEED = 0


def write(name: str, encoder: Encoder, modality: Modality, output: Path) -> None:
    """Rows "blank" and "gaussian-0" ... "gaussian-15", with the attributes that the encoder's features have."""
    preprocessing = modality.attributes()
    check_input(name, encoder.input, encoder.expected, preprocessing)
    with hdf5.write(output, attributes(name, encoder, preprocessing)) as writer:
        writer.append(BLANK, encode(encoder, modality.blank()[None])[0])
        for index, clip_id in enumerate(NOISES):
            writer.append(clip_id, encode(encoder, _noise(modality, index)[None])[0])


def decoded(kind: str, modality: Modality) -> NDArray[Any]:
    """Decoded rows (K, ...) that stand in by a kind of ablation.FROM_FILE: those that `write` encodes."""
    if kind == "blank@input":
        return modality.blank()[None]
    return np.stack([_noise(modality, index) for index in range(len(NOISES))])


def _noise(modality: Modality, index: int) -> NDArray[Any]:
    return modality.noise(np.random.default_rng([SEED, index]))
