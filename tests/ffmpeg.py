"""FFmpeg's own command line, as the judge of what a file shows and how it sounds."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np


def ffmpeg(*words: object) -> None:
    """Run it; options and files as on a command line."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)


def pictures(path: Path, size: tuple[int, int], *filters: str) -> np.ndarray:
    """All frames (N, height, width, 3) as FFmpeg shows them. size: (width, height)."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path)]
    command += ["-vf", ",".join(filters)] if filters else []
    command += ["-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, size[1], size[0], 3)


def waveform(path: Path, rate: int, *filters: str) -> np.ndarray:
    """Mono samples as FFmpeg mixes them, gaps filled."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path), "-vn", "-ac", "1"]
    command += ["-ar", str(rate), "-af", ",".join([*filters, "aresample=async=1:first_pts=0"]), "-f", "s16le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.int16)
