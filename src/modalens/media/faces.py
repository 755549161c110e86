"""Where a talker's face or mouth is in frames, by MTCNN (Zhang et al. 2016) with the weights of facenet-pytorch.

The package comes with `make weights`, or from wherever Python finds it; its metadata asks for an older torch than it
needs.
"""

import functools
import importlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modalens.media.failure_causes import ClipError, note
from modalens.utils.errors import UserError
from modalens.utils.words import counted

PACKAGE, FOLDER = "facenet_pytorch", ".weights"
WEIGHTS = ("pnet.pt", "rnet.pt", "onet.pt")  # of MTCNN's three networks
SIDE, SMALLEST = 288, 36  # pixels of a frame's shorter side for the detector, and of the smallest face in it
SURE = 0.9  # of a face; what the detector is less sure of is as often none
# Side of the square, in the larger one of a box's sides: hair and chin are in it.
FACE = 1.25
# In the larger one of two distances: between the eyes, and from between them to the middle of the mouth. About 9 cm.
MOUTH = 1.4
AT_A_TIME = 16  # frames

Frames = Sequence[NDArray[np.uint8]]
Squares = NDArray[np.float64]  # (N, 3): across, down and side, in pixels; NaN where no face was found


def required() -> None:
    """Raises UserError, one line that says what to install, where the detector is not to be had, or its weights are
    none."""
    found = find_spec(PACKAGE)
    places = list(found.submodule_search_locations or ()) if found else []
    if not places and (Path(FOLDER) / PACKAGE).is_dir():
        places = [str(Path(FOLDER) / PACKAGE)]
    if not places:
        raise UserError(
            "video: region: finding faces needs the package facenet-pytorch (MIT), which is not installed: `make "
            "weights` in a checkout of modalens, or pip install --no-deps facenet-pytorch==2.6.0"
        )

    for name in WEIGHTS:
        _check_weights(Path(places[0]).absolute() / "data" / name)


@functools.cache
def _check_weights(path: Path) -> None:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        known = bool(content) and all(isinstance(one, torch.Tensor) for one in content.values())
    except Exception:  # torch.load raises whatever the bytes lead it to
        known = False
    if not known:
        got = "something else" if path.exists() else "no file"
        raise UserError(
            f"video: region: {path}: expected weights of the face detector, got {got}; delete {FOLDER} and `make "
            "weights` in a checkout of modalens, or pip install --no-deps --force-reinstall facenet-pytorch==2.6.0"
        )


def regions(frames: Frames, part: str) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of the face or the mouth in each frame (H, W, 3), in shares of its sides.

    Of several faces the largest is followed from the first frame that has one: in the next frame the nearest. Frames
    in which none is found get a place between their neighbours', which is noted as `lost_face`; the side of the mouth's
    square is one for all frames, the median. Raises ClipError "no_face" where no frame has a face.
    """
    size = np.array(frames[0].shape[1::-1], dtype=np.float64)
    squares = squares_of(found_in(frames), part)
    lost = int(np.isnan(squares[:, 0]).sum())
    if lost == len(squares):
        raise ClipError("no_face", f"no face in any of {counted(len(squares), 'frame')}")
    if lost:
        note("lost_face", f"face found in {len(squares) - lost} of {counted(len(squares), 'frame')}")
    squares = between(squares)
    if part == "mouth":
        squares[:, 2] = np.median(squares[:, 2])
    sides = np.minimum(squares[:, 2:], size.min())
    # A square that would leave the picture is moved back into it.
    corners = np.clip(squares[:, :2] - sides / 2, 0, size - sides)
    shares = np.concatenate([corners / size, (corners + sides) / size], axis=1).clip(0, 1)
    return [(left, top, right, bottom) for left, top, right, bottom in shares.tolist()]


def between(squares: Squares) -> Squares:
    """Linear interpolation of what is missing; before the first and after the last that was found, that one."""
    places, known = np.arange(len(squares)), ~np.isnan(squares[:, 0])
    return np.stack([np.interp(places, places[known], column[known]) for column in squares.T], axis=1)


def squares_of(faces: Sequence[tuple[NDArray, NDArray]], part: str) -> Squares:
    """faces: boxes (F, 4) and landmarks (F, 5, 2) of each frame: left and right eye, nose, two corners of the mouth."""
    squares = np.full((len(faces), 3), np.nan)
    before = None
    for place, (boxes, landmarks) in enumerate(faces):
        if not len(boxes):
            continue
        middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        chosen = sides.argmax() if before is None else np.linalg.norm(middles - before, axis=1).argmin()
        before = middles[chosen]
        squares[place] = (*before, FACE * sides[chosen]) if part == "face" else _mouth(landmarks[chosen])
    return squares


def _mouth(landmarks: NDArray) -> tuple[float, float, float]:
    left, right, _, *corners = landmarks
    middle = np.mean(corners, axis=0)
    # One of them is short where the head is turned aside or bowed.
    face = max(np.linalg.norm(left - right), np.linalg.norm((left + right) / 2 - middle))
    return float(middle[0]), float(middle[1]), float(MOUTH * face)


def found_in(frames: Frames) -> list[tuple[NDArray, NDArray]]:
    """Boxes (F, 4) and landmarks (F, 5, 2) of the faces in each frame, in pixels of the frame."""
    import torch

    height, width = frames[0].shape[:2]
    if min(height, width) < SMALLEST:
        return [_sure(None, None, None, np.ones(2))] * len(frames)
    scale = min(1.0, SIDE / min(height, width))
    size = round(width * scale), round(height * scale)
    found = []
    for first in range(0, len(frames), AT_A_TIME):
        some = [Image.fromarray(frame) for frame in frames[first : first + AT_A_TIME]]
        with torch.inference_mode():
            answers = _detector().detect([one.resize(size, Image.Resampling.BILINEAR) for one in some], landmarks=True)
        scales = np.array([width, height]) / size
        found += [_sure(boxes, shares, points, scales) for boxes, shares, points in zip(*answers, strict=True)]
    return found


def _sure(boxes: Any, shares: Any, landmarks: Any, scale: NDArray) -> tuple[NDArray, NDArray]:
    if boxes is None:
        return np.zeros((0, 4)), np.zeros((0, 5, 2))
    kept = np.asarray(shares, np.float64) >= SURE
    return np.asarray(boxes, np.float64)[kept] * np.tile(scale, 2), np.asarray(landmarks, np.float64)[kept] * scale


@functools.cache
def _detector() -> Any:
    import torch

    torch.set_num_threads(1)  # the other cores have clips of their own
    if not find_spec(PACKAGE):
        sys.path.append(str(Path(FOLDER).absolute()))
    return importlib.import_module(PACKAGE).MTCNN(min_face_size=SMALLEST)
