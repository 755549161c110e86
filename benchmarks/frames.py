"""Exact and key-frame sampling against what a user would pick instead, on the same clips, side by side.

    PYTHONPATH=src python benchmarks/frames.py [--memory 300]

Every method runs once a round, in turn, on one thread. A ratio is the median over the rounds of its CPU time divided by
that of ours in the same round: above 1 is slower than ours. `decord`, `torchcodec`, `pyav` and `ffmpeg` are told which
8 frames to give; ours finds that out within its time. `read_decord` is the stage with decord tried first and checked.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
from machine import machine

from modalens.media.container import open_media, stream_of
from modalens.media.pyav_video import frames_at
from modalens.media.timestamps import timeline
from modalens.media.video import DECODERS, fit, frame_indices, read_frames, read_key_frames
from modalens.media.windows import window
from modalens.media.worker_pool import map_clips

try:
    import decord
except (ImportError, OSError):
    decord = None
try:
    import torchcodec
except (ImportError, OSError, RuntimeError):
    torchcodec = None

COUNT, RESIZE, CROP = 8, 256, 224
SECONDS = 10.0
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "clips"
# As the web serves them: 480p, a key frame every 250 frames, references among the B-frames.
RENDERED = {
    "web_card.mp4": "testsrc2=s=854x480:r=30,rotate=a=0.2*t,noise=alls=4:allf=t",
    "web_zoom.mp4": "mandelbrot=s=854x480:r=30:maxiter=500",
}
ENCODING = ["-t", "10", "-c:v", "libx264", "-crf", "27", "-g", "250", "-bf", "3", "-pix_fmt", "yuv420p", "-y"]
# Of real clips, to be done in two minutes. Larger ones can be named with --clips.
MOST_PIXELS = 1280 * 720


def render(folder: Path) -> list[Path]:
    for name, source in RENDERED.items():
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", source, *ENCODING]
        subprocess.run([*command, folder / name], check=True)
    return [folder / name for name in RENDERED]


class Clip:
    """The first SECONDS of a file and the methods that read 8 frames of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        whole = timeline(path, None, None)
        self.end_s = min(SECONDS, whole.end_s)
        begin, end = window(None, self.end_s, float(whole.times[0]), whole.end_s)
        self.indices = frame_indices(whole.times, begin, end, COUNT)
        self.ticks = whole.ticks[np.unique(self.indices)]
        with open_media(path) as container:
            codec = stream_of(container, "video").codec_context
            self.kind = f"{whole.codec.name} {codec.width}x{codec.height}"
        self.frames = self.exact()
        self.keys = int((whole.times[np.isin(whole.ticks, whole.keys)] < end).sum())

    def exact(self) -> list[np.ndarray]:
        line = timeline(self.path, None, self.end_s)
        begin, end = window(None, self.end_s, float(line.times[0]), line.end_s)
        wanted = np.unique(frame_indices(line.times, begin, end, COUNT))
        return list(frames_at(self.path, line, line.ticks[wanted]))

    def decord(self) -> list[np.ndarray]:
        reader = decord.VideoReader(str(self.path), num_threads=1)
        return list(reader.get_batch(np.unique(self.indices)).asnumpy())

    def pyav(self) -> list[np.ndarray]:
        wanted = set(self.indices.tolist())
        with av.open(str(self.path)) as container:
            container.streams.video[0].thread_count = 1
            frames = islice(container.decode(video=0), max(wanted) + 1)
            return [frame.to_ndarray(format="rgb24") for index, frame in enumerate(frames) if index in wanted]

    def torchcodec(self) -> list[np.ndarray]:
        decoder = torchcodec.decoders.VideoDecoder(str(self.path), dimension_order="NHWC", num_ffmpeg_threads=1)
        return list(decoder.get_frames_at(np.unique(self.indices).tolist()).data.numpy())

    def ffmpeg(self) -> None:
        wanted = "+".join(rf"eq(n\,{index})" for index in np.unique(self.indices))
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "quiet", "-threads", "1", "-i", self.path, "-an"]
        command += ["-frames:v", str(len(self.ticks)), "-vf", f"select={wanted}", "-fps_mode", "passthrough"]
        subprocess.run([*command, "-pix_fmt", "rgb24", "-f", "rawvideo", os.devnull, "-y"], check=True)

    def resize(self) -> None:
        for frame in self.frames:
            fit(frame, RESIZE, CROP)

    def read_pyav(self) -> None:
        read_frames(self.path, None, self.end_s, COUNT, RESIZE, CROP, ("pyav",))

    def read_decord(self) -> None:
        read_frames(self.path, None, self.end_s, COUNT, RESIZE, CROP, DECODERS)

    def read_keyframe(self) -> None:
        read_key_frames(self.path, None, self.end_s, COUNT, RESIZE, CROP)


OTHERS = [name for name, module in (("decord", decord), ("torchcodec", torchcodec)) if module] + ["pyav", "ffmpeg"]
STAGE = ["read_pyav", *(["read_decord"] if decord else []), "read_keyframe"]


def cpu_s() -> float:
    """CPU seconds of this process and of the children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(function: Callable) -> tuple[float, float]:
    cpu, wall = cpu_s(), time.perf_counter()
    function()
    return cpu_s() - cpu, time.perf_counter() - wall


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """One row of the tables: medians in ms, ratios to ours, and whether the pixels are the same."""
    clip, same = Clip(path), {}
    others = OTHERS.copy()
    for name in OTHERS[:-1]:  # ffmpeg's frames are not looked at
        try:
            theirs = getattr(clip, name)()
            same[name] = len(theirs) == len(clip.frames) and all(map(np.array_equal, theirs, clip.frames))
        except Exception as error:
            others.remove(name)
            same[name] = type(error).__name__
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ["exact", "resize", *others, *STAGE]}
    for _ in range(rounds):
        for name in runs:
            runs[name].append(timed(getattr(clip, name)))
    cpu = {name: np.array(run)[:, 0] for name, run in runs.items()}
    ratio = {name: float(np.median(cpu[name] / cpu["exact"])) for name in others}
    resized = {name: cpu[name] + cpu["resize"] for name in others} | {name: cpu[name] for name in STAGE}
    _, _, error_s, pictures = read_key_frames(path, None, clip.end_s, COUNT, RESIZE, CROP)
    return {
        "clip": path.name,
        "kind": clip.kind,
        "seconds": clip.end_s,
        "key_frames": clip.keys,
        "same_pixels": same,
        "ratio": ratio,
        "ratio_resized": {name: float(np.median(times / cpu["read_pyav"])) for name, times in resized.items()},
        "keyframe": {"time_error_s": error_s, "pictures": pictures},
        "cpu_ms": {name: 1000 * float(np.median(times)) for name, times in cpu.items()},
        "wall_ms": {name: 1000 * float(np.median(np.array(run)[:, 1])) for name, run in runs.items()},
    }


def tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    for title, ours, ratios, names in (
        ("8 frames in full size", "exact", "ratio", OTHERS),
        (f"8 frames as the stage keeps them, {CROP} pixels", "read_pyav", "ratio_resized", [*OTHERS, *STAGE[1:]]),
    ):
        yield f"{title}: ms of CPU time of ours (`{ours}`), then how many times as long the others take"
        yield f"{'clip':34s}{'kind':20s}{'ours':>7s}" + "".join(f"{name:>14s}" for name in names) + "  pixels"
        for row in rows:
            cells = "".join(f"{row[ratios][name]:14.2f}" if name in row[ratios] else f"{'-':>14s}" for name in names)
            differ = [f"{name}: {same or 'differ'}" for name, same in row["same_pixels"].items() if same is not True]
            start = f"{row['clip']:33.33s} {row['kind']:20s}{row['cpu_ms'][ours]:7.0f}"
            yield start + cells + f"  {', '.join(differ) or 'same'}"
        yield f"{'median':54s}{'':7s}" + "".join(_median([row[ratios].get(name) for row in rows]) for name in names)
        yield ""
    if torchcodec is None:
        yield "torchcodec: not installed"


def _median(ratios: list[float | None]) -> str:
    there = [ratio for ratio in ratios if ratio is not None]
    return f"{statistics.median(there):14.2f}" if there else f"{'-':>14s}"


def held_mb() -> float:
    """Memory of this process. Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def weighed(path: str, start_s: float | None, end_s: float | None) -> tuple[np.ndarray, float]:
    """What a worker of the stage answers, and the memory that it holds afterwards."""
    return read_frames(path, start_s, end_s, COUNT, RESIZE, CROP, DECODERS)[0], held_mb()


def memory(paths: list[Path], clips: int) -> dict[str, Any]:
    """Memory of workers and of this process in the first, the middle and the last tenth of `clips` clips, read with
    decord first as the stage does: the files in turn.

    And the share of the time of all cores that went into clips.
    """
    workers = os.cpu_count() or 1
    tasks = ((str(number), (str(paths[number % len(paths)]), None, None)) for number in range(clips))
    began, busy, held = time.perf_counter(), 0.0, []
    for number, outcome in map_clips(weighed, tasks, workers, 120, 4096):
        if outcome.cause:
            raise SystemExit(f"{paths[int(number) % len(paths)]}: {outcome.cause}: {outcome.detail}")
        busy += outcome.seconds
        held.append((outcome.value[1], held_mb()))
    wall, tenth = time.perf_counter() - began, max(1, clips // 10)
    parts = {"start": held[:tenth], "middle": held[clips // 2 :][:tenth], "end": held[-tenth:]}
    names = ("worker_mb", "parent_mb")
    found = {part: dict(zip(names, np.median(rows, axis=0).tolist(), strict=True)) for part, rows in parts.items()}
    return {"clips": clips, "workers": workers, "busy": busy / wall / workers, "clips_per_s": clips / wall, **found}


def real_clips() -> list[Path]:
    found = []
    for path in sorted(SHARED.glob("*.*")):
        if path.suffix != ".csv":
            with open_media(path) as container:
                codec = stream_of(container, "video").codec_context
                found += [path] * (codec.width * codec.height <= MOST_PIXELS)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="*", help="files (default: rendered ones and ../shared/data/clips)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=0, help="clips to decode in workers, for their memory")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/frames.json"))
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        paths = arguments.clips or [*render(Path(folder)), *real_clips()]
        rows = [measure(path, arguments.rounds) for path in paths]
        result = {"machine": machine(), "rounds": arguments.rounds, "clips": rows}
        print(*tables(rows), sep="\n")
        if arguments.memory:
            result["memory"] = memory(paths, arguments.memory)
            print(json.dumps(result["memory"]))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
