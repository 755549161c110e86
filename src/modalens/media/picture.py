"""A picture file -> RGB of one size, whatever mode, depth and turn the file has."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from modalens.media.failure_causes import ClipError, note
from modalens.media.local_file import only_path

# Not those that Pillow gives to another program, such as PostScript.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
MOST_PIXELS = 100_000_000  # a small file may say that it holds more than a memory does
TINY = 16  # pixels of a shorter side that says little
WHITE = (255, 255, 255)


def read_picture(cell: str, size: int) -> tuple[NDArray[np.uint8], str]:
    """((size, size, 3) RGB, name of the decoder): shorter side scaled to size, then the centre. Raises ClipError.

    The turn that EXIF states is applied; transparent places are white; 16 bits become 8; of an animation the first
    frame counts, which is noted.
    """
    path = only_path(cell)
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # AVIF is not in every Pillow
    try:
        with Image.open(path, formats=formats) as image:
            return _read(image, size), "pillow"
    except Image.DecompressionBombError as error:
        raise ClipError("too_many_pixels", str(error)) from error
    except UnidentifiedImageError as error:
        raise ClipError("damaged", "no picture in a format that is read") from error
    # Whatever the bytes lead Pillow to; a lack of memory is told by the worker.
    except (OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError, AttributeError) as error:
        raise ClipError("damaged", f"{type(error).__name__}: {error}") from error


def _read(image: Image.Image, size: int) -> NDArray[np.uint8]:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ClipError("too_many_pixels", f"{width} x {height} pixels, more than {MOST_PIXELS}")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a photo whose further pictures are previews
        note("first_frame", f"{getattr(image, 'n_frames', 1)} frames")
    if min(width, height) < TINY:
        note("tiny", f"{width} x {height} pixels")
    # JPEG decodes a large picture to a half, a quarter or an eighth of its size at a fraction of the cost.
    image.draft(None, (2 * size, 2 * size))
    return _fitted(_rgb(ImageOps.exif_transpose(image)), size)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ClipError("unsupported", f"expected 8 or 16 bits a channel, got {image.mode}")
        image = Image.fromarray(np.round(values / 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*WHITE, 255))
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")


def _fitted(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """With antialiasing. What the crop would cut off is not computed."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
