"""AV-MNIST made anew: handwritten digits paired with spoken ones, so that the pairing can be repeated and is not leaky.

The AV-MNIST of Vielzeuf et al. 2018 (CentralNet) pairs MNIST's pictures with spoken digits, takes 75 % of the energy of
the pictures away by PCA and adds noise to the audio. The copies that go round cannot be made again, and let a speaker
be in training and test. Here the pairs follow from a seed, no speaker and no picture is in two splits, PCA is fitted on
the training pictures alone and their mean is added back.
"""

import gzip
import json
import re
import shutil
import struct
import tempfile
import wave
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modalens.utils.errors import UserError

Array = NDArray[Any]
RECORDING = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)\.wav")
SPLITS = ("train", "validation", "test")
IMAGES, LABELS = 2051, 2049  # magic numbers of MNIST's files


@dataclass(frozen=True)
class Degraded:
    """image_energy: share of the pictures' variance that is kept, in (0, 1]. audio_snr_db: power of the audio over that
    of white noise added to it, decibel; None adds nothing."""

    image_energy: float = 1.0
    audio_snr_db: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.image_energy <= 1:
            raise UserError(f"image energy: expected more than 0 and at most 1, got {self.image_energy}")


@dataclass(frozen=True)
class Sources:
    """images, labels: MNIST's files. recordings: folder of DIGIT_SPEAKER_INDEX.wav, as FSDD's."""

    images: Path
    labels: Path
    recordings: Path


def make_av_mnist(
    sources: Sources, output: Path, degraded: Degraded, *, seed: int = 0, validation: int = 1, test: int = 1
) -> pd.DataFrame:
    """Write clips.csv (clip_id, file, image, digit, group, split), a WAV and a PNG of each clip, and how in made.json.

    validation, test: speakers of these splits. Returns the clips. Raises UserError, and leaves nothing behind.
    """
    labels, pictures = read_idx(sources.labels, LABELS), read_idx(sources.images, IMAGES)
    if len(labels) != len(pictures):
        raise UserError(f"expected a label a picture, got {len(labels)} labels and {len(pictures)} pictures")
    table = pairs(sources.recordings, labels, seed, validation, test)
    training = table.loc[table["split"] == "train", "picture"].to_numpy()
    pictures = degraded_pictures(pictures, training, degraded.image_energy)
    output.parent.mkdir(parents=True, exist_ok=True)
    # In a folder of its own first: a run that is cut off leaves no half of a data set.
    draft = Path(tempfile.mkdtemp(prefix=".draft", dir=output.parent))
    try:
        clips = _write(draft, table, pictures, sources.recordings, degraded.audio_snr_db, seed)
        clips.to_csv(draft / "clips.csv", index=False, lineterminator="\n")
        how = {**asdict(degraded), "seed": seed, "pictures": table["picture"].tolist()}
        (draft / "made.json").write_text(json.dumps(how))
        draft.chmod(0o755)
        draft.rename(output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return clips


def _write(
    folder: Path, table: pd.DataFrame, pictures: Array, recordings: Path, snr_db: float | None, seed: int
) -> pd.DataFrame:
    from PIL import Image

    for name in ("audio", "images"):
        (folder / name).mkdir()
    draw = np.random.default_rng([seed, 1])
    for clip_id, recording, picture in zip(
        table["clip_id"], table["recording"], table["picture"].tolist(), strict=True
    ):
        samples, rate = read_wav(recordings / recording)
        write_wav(folder / "audio" / f"{clip_id}.wav", degraded_audio(samples, snr_db, draw), rate)
        Image.fromarray(pictures[picture]).save(folder / "images" / f"{clip_id}.png")
    files = {"file": "audio/" + table["clip_id"] + ".wav", "image": "images/" + table["clip_id"] + ".png"}
    labels = {"digit": table["digit"], "group": table["speaker"], "split": table["split"]}
    return pd.DataFrame({"clip_id": table["clip_id"], **files, **labels})


def pairs(recordings: Path, labels: Array, seed: int, validation: int, test: int) -> pd.DataFrame:
    """clip_id, recording, picture (index), digit, speaker, split; one row a recording, in order of its name.

    Each recording is paired with a picture of its digit that no other has. Speakers are shuffled: the first `test` of
    them are the test split, the next `validation` the validation split.
    """
    found = [
        (path.name, match["digit"], match["speaker"])
        for path in sorted(recordings.glob("*.wav"))
        if (match := RECORDING.fullmatch(path.name))
    ]
    if not found:
        raise UserError(f"{recordings}: expected recordings called DIGIT_SPEAKER_INDEX.wav, as FSDD's are, got none")
    table = pd.DataFrame(found, columns=["recording", "digit", "speaker"])
    draw = np.random.default_rng(seed)
    speakers = sorted(set(table["speaker"]))
    if validation < 1 or test < 1 or validation + test >= len(speakers):
        raise UserError(
            f"speakers: expected at least one in each split, got {len(speakers)} of them, {validation} for validation "
            f"and {test} for test"
        )
    order = [speakers[place] for place in draw.permutation(len(speakers))]
    split = dict.fromkeys(order, "train") | dict.fromkeys(order[test : test + validation], "validation")
    split |= dict.fromkeys(order[:test], "test")
    table["split"] = table["speaker"].map(split)
    table["picture"] = 0
    for digit, rows in table.groupby("digit"):
        there = np.flatnonzero(labels == int(str(digit)))
        if len(there) < len(rows):
            raise UserError(f"digit {digit}: {len(rows)} recordings want a picture each, there are {len(there)}")
        table.loc[rows.index, "picture"] = draw.permutation(there)[: len(rows)]
    table.insert(0, "clip_id", table["recording"].str.removesuffix(".wav"))
    return table


def degraded_pictures(pictures: Array, training: Array, share: float) -> Array:
    """(N, H, W) uint8 -> the same with so many principal components that `share` of the variance of the training
    pictures is kept. training: (N,) which of them PCA is fitted on."""
    if share >= 1:
        return pictures
    from sklearn.decomposition import PCA

    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    fitted = PCA(n_components=share, svd_solver="full").fit(flat[training])
    kept = fitted.inverse_transform(fitted.transform(flat))
    result: Array = kept.round().clip(0, 255).astype(np.uint8).reshape(pictures.shape)
    return result


def degraded_audio(samples: Array, snr_db: float | None, draw: np.random.Generator) -> Array:
    """(S,) int16 -> the same with white noise."""
    if snr_db is None:
        return samples
    power = float(np.mean(samples.astype(np.float64) ** 2))
    noise = draw.normal(0, np.sqrt(power / 10 ** (snr_db / 10)), len(samples))
    limits = np.iinfo(np.int16)
    return (samples + noise).round().clip(limits.min, limits.max).astype(np.int16)


def read_idx(path: Path, magic: int) -> Array:
    """MNIST's own format, packed by gzip or not: (N, H, W) or (N,) uint8."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        found, count = struct.unpack(">ii", content[:8])
        axes = 3 if magic == IMAGES else 1
        shape = struct.unpack(f">{axes}i", content[4 : 4 + 4 * axes])
        rows = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
        if found != magic or rows.size != int(np.prod(shape)):
            raise ValueError(f"magic number {found}, {count} rows of {rows.size} bytes")
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise UserError(f"{path}: expected an IDX file of MNIST, got {error}") from error
    return rows.reshape(shape)


def read_wav(path: Path) -> tuple[Array, int]:
    """(S,) int16 mono, samples a second."""
    try:
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2 or file.getnchannels() != 1:
                raise UserError(
                    f"{path}: expected 16-bit mono, got {8 * file.getsampwidth()}-bit, {file.getnchannels()}"
                )
            return np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()
    except (OSError, EOFError, wave.Error) as error:
        raise UserError(f"{path} cannot be read ({error})") from error


def write_wav(path: Path, samples: Array, rate: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
