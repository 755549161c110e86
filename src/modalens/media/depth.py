"""Depth frames, from a video of 16 bits, pictures of 16 bits or an array -> frames of one size in millimetres."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modalens.media.array_file import numpy_array
from modalens.media.failure_causes import ClipError
from modalens.media.local_file import paths_of
from modalens.media.picture import MOST_PIXELS

Frames = NDArray[np.uint16]
FARTHEST = 65_535
PICTURES = (".png", ".tif", ".tiff", ".pgm")


def read_depth(cell: str, count: int, height: int, width: int, scale: float, array: str) -> tuple[Frames, str]:
    """((count, height, width) millimetres, name of the reader): the frames at the centres of `count` equal parts.

    cell: a video, an NPY or NPZ with (frames, H, W), a folder of pictures or several of them. scale: millimetres of one
    unit of the file. 0 is what the camera did not see; no value is mixed of two, since between a thing and what lies
    behind it there is nothing. Raises ClipError.
    """
    paths = paths_of(cell)
    if not paths:
        raise ClipError("absent", "the folder holds no frame")
    if len(paths) > 1 or paths[0].suffix.lower() in PICTURES:
        chosen = [paths[index] for index in _evenly(len(paths), count)]
        known = {path: _picture(path) for path in dict.fromkeys(chosen)}
        frames, reader = [known[path] for path in chosen], "pillow"
    elif paths[0].suffix.lower() in (".npy", ".npz"):
        loaded = numpy_array(paths[0], array)
        if loaded.dtype.kind not in "fiu" or loaded.ndim != 3 or not loaded.size:
            raise ClipError("unsupported", f"expected numbers (frames, H, W), got {loaded.dtype} {loaded.shape}")
        frames, reader = [loaded[index] for index in _evenly(len(loaded), count)], "numpy"
    else:
        frames, reader = _video(paths[0], count), "pyav"
    return np.stack([_fitted(frame, height, width, scale) for frame in frames]), reader


def _evenly(length: int, count: int) -> list[int]:
    indices = (np.arange(count) + 0.5) * length / count
    return [int(index) for index in indices]


def _picture(path: Path) -> NDArray[np.generic]:
    try:
        with Image.open(path, formats=("PNG", "TIFF", "PPM")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ClipError("too_many_pixels", f"{image.width} x {image.height} pixels")
            if not image.mode.startswith("I"):
                raise ClipError("unsupported", f"{path.name}: expected 16 bits a pixel, got {image.mode}")
            return np.asarray(image)
    except Image.DecompressionBombError as error:
        raise ClipError("too_many_pixels", str(error)) from error
    except (OSError, ValueError, SyntaxError, TypeError, EOFError) as error:
        raise ClipError("damaged", f"{path.name}: {type(error).__name__}: {error}") from error


def _video(path: Path, count: int) -> list[NDArray[np.generic]]:
    """The wanted frames; which ones is known only at the end, so a first pass counts them."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ClipError("no_video", f"{path.name} has no video")
            bits = max(part.bits for part in container.streams.video[0].format.components)
            if bits != 16:
                raise ClipError("unsupported", f"{path.name}: expected 16 bits a pixel, got {bits}")
            length = sum(1 for _ in container.decode(video=0))
        if not length:
            raise ClipError("damaged", f"{path.name} holds no frame")
        wanted = _evenly(length, count)
        found: dict[int, NDArray[np.generic]] = {}
        with av.open(str(path)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index in wanted:
                    found[index] = frame.to_ndarray(format="gray16le")
        return [found[index] for index in wanted]
    except av.FFmpegError as error:
        raise ClipError("damaged", f"{path.name}: {error}") from error


def _fitted(frame: NDArray[np.generic], height: int, width: int, scale: float) -> Frames:
    """The nearest value of each place, after the longer side was cropped to the wanted shape."""
    rows, columns = frame.shape
    ratio = min(rows / height, columns / width)
    top, left = (rows - height * ratio) / 2, (columns - width * ratio) / 2
    y = np.minimum((top + (np.arange(height) + 0.5) * ratio).astype(int), rows - 1)
    x = np.minimum((left + (np.arange(width) + 0.5) * ratio).astype(int), columns - 1)
    values = frame[np.ix_(y, x)].astype(np.float64) * scale
    # What is no number, or lies beyond what 16 bits tell, was not seen.
    seen = (values >= 0) & (values <= FARTHEST)
    millimetres: Frames = np.where(seen, values, 0).round().astype(np.uint16)
    return millimetres
