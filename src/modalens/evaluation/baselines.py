"""Replacement inputs of a modality: blank and noise at its input, through its encoder.

Source: seed paper, section 4: a black video through ResNet50, silence, or Gaussian noise. It does not give the noise's
mean and deviation: each modality states ours.
"""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from modalens.encoders import Encoder, attributes, check_input, encode
from modalens.modalities import Modality
from modalens.training.missing import BLANK as BLANK
from modalens.training.missing import BLANK_AND_NOISES, blank_and_noises
from modalens.training.missing import NOISES as NOISES
from modalens.utils import hdf5


def write(name: str, encoder: Encoder, modality: Modality, output: Path) -> None:
    """Rows "blank" and "gaussian-0" ... "gaussian-15", with the attributes that the encoder's features have."""
    preprocessing = modality.attributes()
    check_input(name, encoder.input, encoder.expected, preprocessing)
    with hdf5.write(output, attributes(name, encoder, preprocessing)) as writer:
        for clip_id, row in zip(BLANK_AND_NOISES, blank_and_noises(modality), strict=True):
            writer.append(clip_id, encode(encoder, row[None])[0])


def decoded(kind: str, modality: Modality) -> NDArray[Any]:
    """Decoded rows (K, ...) that stand in by a kind of ablation.FROM_FILE: those that `write` encodes."""
    rows = blank_and_noises(modality)
    return rows[:1] if kind == "blank@input" else rows[1:]
