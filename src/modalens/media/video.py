"""Frames of a window of a clip: by PyAV, or by decord where that can be trusted.

Source of the sampling: the middle frame of equal segments (Wang et al. 2016, Temporal Segment Networks, test time).
"""

import contextlib
import functools
import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from modalens.media.container import UNCHECKED
from modalens.media.failure_causes import ClipError, note
from modalens.media.pyav_video import Pen, frames_at
from modalens.media.timestamps import Timeline, timeline
from modalens.media.windows import window

Frames = NDArray[np.uint8]
Region = tuple[float, float, float, float]  # left, top, right, bottom of a picture, in shares of its sides
Part = Region | str  # a region, or the part of a face that is looked for in each frame
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
# decord has wheels for Linux on x86-64 only, and an FFmpeg of its own: it is imported where it is asked for.
DECODERS = ("decord", "pyav") if find_spec("decord") else ("pyav",)
# decord never read a programme or transport stream right, and spins for minutes on some.
NOT_FOR_DECORD = ("mpeg", "mpegts", "mpegvideo")

# Mean difference of two decodings of one frame, of 255. Where they agreed on real clips it was 0.00; another frame of
# the same shot, or colours converted otherwise, gave 1 and more.
SAME_FRAME = 0.5
# Coding noise of a still picture averages out over a block; a mouth that moves does not.
BLOCK = 8
SAME_BLOCK = 1.5
LOG_BYTES = 10_000
# Of the decoder; what containers and scalers say is no damage to a frame.
COMPLAINT = re.compile(rb"\[(?!mov,|matroska,|avi |flv |swscaler |NULL |in |buffer |Parsed)")


def centres(start_s: float, end_s: float, count: int) -> NDArray[np.float64]:
    """Seconds (count,): the centres of `count` equal parts of [start_s, end_s]."""
    return start_s + (np.arange(count) + 0.5) * (end_s - start_s) / count


def stretch(start_s: float, end_s: float, count: int, rate: float) -> tuple[float, float]:
    """Start and end of `count` frames at `rate` a second around the middle of a window, no longer than it; rate 0: the
    window."""
    if not rate:
        return start_s, end_s
    middle, half = (start_s + end_s) / 2, min(count / rate, end_s - start_s) / 2
    return middle - half, middle + half


def frame_indices(timestamps: ArrayLike, start_s: float, end_s: float, count: int) -> NDArray[np.int64]:
    """Indices (count,) of the frames shown at the centres of `count` equal parts of [start_s, end_s].

    timestamps: (N,) seconds at which the frames appear, rising; each is shown until the next. Few frames repeat.
    """
    # A microsecond, so that a frame that appears exactly at a centre counts whatever its rounding.
    targets = centres(start_s, end_s, count) + 1e-6
    shown = np.searchsorted(np.asarray(timestamps, dtype=np.float64), targets, side="right") - 1
    return np.maximum(shown, 0)


def read_frames(
    path: str | Path,
    start_s: float | None,
    end_s: float | None,
    count: int,
    resize: int,
    crop: int,
    decoders: tuple[str, ...] = ("pyav",),
    rate: float = 0.0,
    region: Part = WHOLE,
) -> tuple[Frames, str]:
    """Frames (count, crop, crop, 3) uint8 RGB as they are shown, and the decoder's name.

    Upright, mirrored where the display matrix says so, of square pixels: the shorter side is resized to `resize`, then
    the centre `crop` is taken. start_s, end_s: None is the start or the end of the video. decoders: the first that can
    be trusted with the file is used. rate: frames a second, of a stretch around the window's middle; 0, or of a
    window that is shorter: spread over all of it. region: what is seen of the picture; "face" and "mouth" are looked
    for in each of the sampled frames, and not in those of decord. Raises ClipError; "damaged" when one of the sampled
    frames does not decode, or FFmpeg complains of the container, "no_face". Warns with ClipNote: cut_short, late_start,
    lost_face.
    """
    line, begin, end = _window(path, start_s, end_s)
    indices = frame_indices(line.times, *stretch(begin, end, count, rate), count)
    wanted, places = np.unique(indices, return_inverse=True)
    frames, used = None, "decord"
    if "decord" in decoders and not isinstance(region, str):
        frames = _decord_frames(path, line, wanted, resize, crop, region)
    if frames is None:
        used = "pyav"
        frames = list(_seen(frames_at(path, line, line.ticks[wanted]), resize, crop, region))
    return np.stack(frames)[places], used


def _seen(frames: Iterator[Frames], resize: int, crop: int, region: Part) -> Iterator[Frames]:
    """What is seen of each frame."""
    if not isinstance(region, str):
        for frame in frames:
            yield fit(frame, resize, crop, region)
        return
    from modalens.media.faces import regions  # PyTorch: seconds, and not everywhere

    held = list(frames)
    for frame, square in zip(held, regions(held, region), strict=True):
        yield fit(frame, crop, crop, square)


def _window(path: str | Path, start_s: float | None, end_s: float | None) -> tuple[Timeline, float, float]:
    """The frames around a window, and its start and end where frames are that decode."""
    line = timeline(path, start_s, end_s)
    try:
        begin, end = window(start_s, end_s, line.first_s, line.end_s)
    except ClipError as error:
        # Of the whole file, the container's promise is not known yet.
        missing = end_s is not None and end_s > line.end_s and timeline(path, None, None).cut_short
        raise ClipError(error.cause, f"{error.detail}; {missing}") if missing else error from None
    if line.cut_short:
        note("cut_short", f"video: {line.cut_short}")
    if line.late and (start_s or 0.0) < line.first_s:
        note("late_start", f"video starts at {line.first_s:.2f} s, the first key frame")
    return line, begin, end


def read_key_frames(
    path: str | Path,
    start_s: float | None,
    end_s: float | None,
    count: int,
    resize: int,
    crop: int,
    region: Part = WHOLE,
) -> tuple[Frames, str, float, int]:
    """Like read_frames, but of the key frames nearest in time to the centres of the parts: these decode by themselves.

    Also the largest distance from a centre in seconds, and how many different key frames there are among the frames.
    A key frame after the window does not count; one before it may be nearest. Raises ClipError, "damaged"
    without any.
    """
    line, begin, end = _window(path, start_s, end_s)
    times = line.times[np.isin(line.ticks, line.keys)]
    times = times[times < end]
    if not len(times):
        raise ClipError("damaged", f"no key frame before {end:.2f} s")
    errors = np.abs(times[None, :] - centres(begin, end, count)[:, None])
    wanted, places = np.unique(errors.argmin(axis=1), return_inverse=True)
    frames = list(_seen(frames_at(path, line, line.keys[wanted]), resize, crop, region))
    return np.stack(frames)[places], "pyav", round(float(errors.min(axis=1).max()), 3), len(wanted)


def still(frames: Frames) -> bool:
    """Whether frames (count, H, W, 3) are a still picture: no block, BLOCK pixels wide, changes brightness."""
    count, height, width, _ = frames.shape
    if count < 2:
        return False
    rows, columns = height // BLOCK * BLOCK, width // BLOCK * BLOCK
    grey = frames[:, :rows, :columns].mean(axis=3).reshape(count, rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    means = grey.mean(axis=(2, 4))
    return bool((means.max(axis=0) - means.min(axis=0)).max(initial=0) < SAME_BLOCK)


def fit(frame: Frames, resize: int, crop: int, region: Region = WHOLE) -> Frames:
    """(H, W, 3) -> (crop, crop, 3): of a region the shorter side to `resize` with antialiasing, then the centre."""
    if region != WHOLE:
        frame = _cut(frame, region)
    height, width = frame.shape[:2]
    scale = resize / min(height, width)
    size = max(resize, round(width * scale)), max(resize, round(height * scale))
    left, top = (size[0] - crop) // 2, (size[1] - crop) // 2
    # The part of the original that the centre is made of: what would be cut off is not computed.
    corners = np.array([[left, top], [left + crop, top + crop]]) * [width, height] / size
    box = tuple(corners.ravel())
    return np.asarray(Image.fromarray(frame).resize((crop, crop), Image.Resampling.BILINEAR, box=box))


def _cut(frame: Frames, region: Region) -> Frames:
    """One pixel at least."""
    height, width = frame.shape[:2]
    left, top, right, bottom = (round(share * side) for share, side in zip(region, (width, height) * 2, strict=True))
    left, top = min(left, width - 1), min(top, height - 1)
    return np.ascontiguousarray(frame[top : max(bottom, top + 1), left : max(right, left + 1)])


def _decord_frames(
    path: str | Path, line: Timeline, wanted: NDArray, resize: int, crop: int, region: Region = WHOLE
) -> list[Frames] | None:
    """Frames by decord, or None where it cannot read the file or cannot be trusted with it.

    decord answers with wrong frames in silence: shifted by 12 and the last one repeated for MPEG programme streams,
    another stream, garbled time stamps. So its clock must show the frames at the times of the packets, no two frames
    may be the same, and PyAV must see one late frame the same (late, because a lost frame shifts all that follow).
    It also draws over damage: its FFmpeg must have had nothing to complain of, and be able to notice.
    """
    if line.codec.name in UNCHECKED or line.format in NOT_FOR_DECORD or line.aspect != 1 or line.late:
        return None
    with _stderr() as printed:
        found = _by_decord(path, line, wanted, resize, crop, region)
    if found is None or any(COMPLAINT.match(text) for text in printed[0].splitlines()):
        return None
    frames, suspect, claim = found
    pen = Pen(line.aspect)
    (proof,) = frames_at(path, line, line.ticks[wanted[[suspect]]], pen)
    # decord turns frames and mirrors none, which a symmetric one would not show.
    same = proof.shape == claim.shape and np.abs(proof.astype(np.int16) - claim).mean() < SAME_FRAME
    return frames if same and not pen.mirrored else None


@functools.cache
def _decord() -> Any:
    import decord

    # Its FFmpeg draws over what it cannot decode, and only says so.
    decord.logging.set_level(decord.logging.INFO)
    return decord


def _by_decord(
    path: str | Path, line: Timeline, wanted: NDArray, resize: int, crop: int, region: Region
) -> tuple[list[Frames], int, Frames] | None:
    """Frames, and the place and the pixels of the one that is cheapest to check."""
    try:
        decord = _decord()
        reader = decord.VideoReader(str(Path(path).absolute()), num_threads=1)
        clock = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0].astype(np.float64)
        times = (line.ticks[wanted] - line.start) * float(line.base)
        rows = np.abs(clock[None, :] - times[:, None]).argmin(axis=1)
        late = np.abs(clock[rows] - times).max()
        # decord's times are float32.
        if not late <= line.half * float(line.base) / 2 + 1e-3 or (line.whole and len(reader) != len(line.ticks)):
            return None
        frames, prints, suspect = [], set(), _cheapest(line, wanted)
        for place, row in enumerate(rows):
            frame = reader.get_batch([int(row)]).asnumpy()[0]
            frames.append(fit(frame, resize, crop, region))
            prints.add(zlib.crc32(frame))
            if place == suspect:
                claim = frame
    except MemoryError:
        raise
    except Exception:
        return None
    return (frames, suspect, claim) if len(prints) == len(rows) else None


@contextlib.contextmanager
def _stderr() -> Iterator[list[bytes]]:
    """What is printed to the standard error inside the block, as the one item of the list once it has ended."""
    printed: list[bytes] = []
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield printed
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            printed.append(file.read(LOG_BYTES))


def _cheapest(line: Timeline, wanted: NDArray[np.int64]) -> int:
    """Which of the later half of the wanted frames has the fewest frames to decode before it."""
    half = len(wanted) // 2
    keys = np.searchsorted(line.ticks, line.keys)
    before = [min((index - key for key in keys if key <= index), default=index) for index in wanted[half:]]
    return half + int(np.argmin(before))
