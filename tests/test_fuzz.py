"""Clips in ten containers with their headers, indexes and packets damaged, against the same clips whole.

MODALENS_FUZZ=1000 sets the number of damaged files (120 otherwise); the seed of each is its number plus
MODALENS_FUZZ_SEED.
"""

import contextlib
import math
import os
import warnings
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from ffmpeg import ffmpeg

from modalens.media.audio import read_waveform
from modalens.media.failure_causes import ClipError
from modalens.media.ffmpeg_log import messages
from modalens.media.pyav_video import square
from modalens.media.reading import decoded
from modalens.media.video import DECODERS, SAME_FRAME, fit, read_frames
from modalens.media.worker_pool import Outcome, map_clips

CASES = int(os.environ.get("MODALENS_FUZZ", "120"))
FIRST_SEED = int(os.environ.get("MODALENS_FUZZ_SEED", "0"))
RATE, SECONDS, COUNT, SIDE = 16000, 4, 4, 48
# Damage to packets that have no time stamp moves those after them; by so many frames at the most.
MOVED = 10
# Of audio, whose codecs spread damage over their neighbours: so many steps may be unlike the whole clip's.
STEP, UNLIKE = RATE // 20, 0.1
SWEEP_HZ = (300, 3000)  # the pitch tells the time
KINDS = ("cut", "flips", "zeros", "noise", "head", "tail", "lost", "twice")
H264, AAC = ["-c:v", "libx264", "-g", 25, "-bf", 2], ["-c:a", "aac"]
CONTAINERS: dict[str, list[Any]] = {
    "plain.mp4": [*H264, *AAC],
    "fast.mp4": [*H264, *AAC, "-movflags", "faststart"],
    "fragments.mp4": [*H264, *AAC, "-movflags", "frag_keyframe+empty_moov"],
    "a.mov": ["-c:v", "mpeg4", "-g", 25, "-c:a", "pcm_s16le"],
    "a.mkv": [*H264, "-c:a", "libopus"],
    "vp8.webm": ["-c:v", "libvpx", "-g", 25, "-b:v", "200k", "-c:a", "libvorbis"],
    "vp9.webm": ["-c:v", "libvpx-vp9", "-cpu-used", 8, "-g", 25, "-b:v", "200k", "-c:a", "libopus"],
    "a.avi": ["-c:v", "mpeg4", "-g", 25, "-c:a", "libmp3lame"],
    "a.flv": [*H264, *AAC],
    "a.ts": [*H264, *AAC],
    "a.mpg": ["-c:v", "mpeg2video", "-g", 25, "-bf", 2, "-c:a", "mp2"],
    "a.ogv": ["-c:v", "libtheora", "-g", 25, "-c:a", "libvorbis"],
    "a.3gp": ["-c:v", "h263", "-s", "176x144", "-c:a", "aac", "-ac", 1],
    "a.wmv": ["-c:v", "wmv2", "-g", 25, "-c:a", "wmav2"],
}
SOUND = (
    f"aevalsrc='0.5*sin(2*PI*({SWEEP_HZ[0]}*t+{(SWEEP_HZ[1] - SWEEP_HZ[0]) / SECONDS / 2}*t*t))':d={SECONDS}:s=44100"
)
# Nothing in them says how long they are: they may end earlier, and nobody can tell.
UNPROMISED = ("fragments.mp4", "a.ts", "a.mpg", "a.ogv")
PICTURE = f"testsrc2=s=128x96:r=25:d={SECONDS},rotate=a=0.5*t"


@pytest.mark.slow
def test_damage_never_ends_the_reading_and_never_passes_for_frames_or_audio(tmp_path: Path) -> None:
    """Every file gets an answer. Where FFmpeg says anything of a file and a clip is ok all the same, its frames are
    those of the whole clip at the same places (if it is noted as cut short: some of the whole clip), and its audio is
    that of the whole clip. Where FFmpeg is silent, what is wrong is counted.
    """
    originals = sources(tmp_path)
    files: dict[str, Path] = {}
    for number in range(CASES):
        source = originals[number % len(originals)]
        kind = KINDS[number // len(originals) % len(KINDS)]
        path = tmp_path / f"{number:04d}-{kind}-{source.name}"
        path.write_bytes(damaged(source.read_bytes(), kind, np.random.default_rng(FIRST_SEED + number)))
        files[path.name] = path
    whole = {source.name: (every_frame(source), *(look(source) for look in (see, hear))) for source in originals}
    wrong, silent = [], []
    for what, look in (("frames", see), ("audio", hear)):
        counts: Counter[str] = Counter()
        causes: list[str] = []
        for name, outcome in map_clips(look, ((name, (path,)) for name, path in files.items()), 2, 30, 4096):
            kind, source = name.split("-", 2)[1:]
            noted = [cause for cause, _ in outcome.notes]
            counts[f"{kind} {outcome.cause or '+'.join(['ok', *noted])}"] += 1
            causes.append(outcome.cause)
            if outcome.cause:
                continue
            off = judged(outcome, whole[source], what, cut=kind == "cut" or source in UNPROMISED)
            if not off:
                continue
            if what == "frames":
                passed = strictly(files[name]).astype(np.int16)
                clear = all(np.abs(passed - row).mean(axis=(1, 2, 3)).min(initial=255) < SAME_FRAME for row in off)
                # A flipped bit of a display matrix is another valid one: the frames lie as the file says.
                clear |= not complaints(files[name], "video")
            else:
                clear = not complaints(files[name], "audio")
            (silent if clear else wrong).append(f"{what} {name} {noted}")
        print(what, dict(sorted(counts.items())))
        # The file is to blame, hardly ever the reader of it.
        assert np.mean([cause in ("crashed", "timeout", "memory") for cause in causes]) < 0.02
        assert "" in causes
        assert set(causes) - {""}
    print(f"FFmpeg is silent and the answer another: {len(silent)}", *silent, sep="\n")
    assert not wrong, "\n".join(wrong)


def sources(folder: Path) -> list[Path]:
    """The same four seconds in each container."""
    inputs = ["-f", "lavfi", "-i", PICTURE, "-f", "lavfi", "-i", SOUND]
    for name, options in CONTAINERS.items():
        ffmpeg(*inputs, *options, "-pix_fmt", "yuv420p", "-shortest", folder / name)
    return [folder / name for name in CONTAINERS]


def damaged(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """cut: the end is missing. flips: of bits, everywhere. zeros, noise: blocks. head, tail: flips in the first or last
    two kilobytes, where headers and indexes are. lost: a block is missing. twice: a block comes twice."""
    if kind == "cut":
        return content[: int(rng.integers(1, len(content)))]
    data = np.frombuffer(content, np.uint8).copy()
    if kind in ("lost", "twice"):
        at, size = int(rng.integers(0, len(data))), int(rng.integers(1, 3000))
        return content[:at] + content[at + size * (kind == "lost") : at + size] * 2 + content[at + size :]
    at = rng.integers(0, len(data), int(rng.integers(1, 40)))
    if kind in ("head", "tail"):
        at = at[:4] % min(2000, len(data)) if kind == "head" else len(data) - 1 - at[:4] % min(2000, len(data))
    if kind in ("flips", "head", "tail"):
        data[at] ^= np.uint8(1) << rng.integers(0, 8, len(at)).astype(np.uint8)
    else:
        for first in at[:4]:
            block = data[first : first + int(rng.integers(1, 2000))]
            block[:] = 0 if kind == "zeros" else rng.integers(0, 256, len(block), dtype=np.uint8)
    return data.tobytes()


def see(path: Path) -> np.ndarray:
    return read_frames(path, None, None, COUNT, SIDE, SIDE, ("pyav",))[0]


def hear(path: Path) -> np.ndarray:
    return read_waveform(path, None, None, RATE, SECONDS)[0]


def judged(outcome: Outcome, whole: tuple[np.ndarray, np.ndarray, np.ndarray], what: str, cut: bool) -> list[Any]:
    """The frames, or the step of audio, that are others than in the whole clip. cut: it may end earlier."""
    every, frames, audio = whole
    noted = {cause for cause, _ in outcome.notes}
    cut |= bool(noted & {"cut_short", "late_start"})
    if what == "frames":
        off = []
        for row, expected in zip(outcome.value, frames, strict=True):
            place = np.abs(every.astype(np.int16) - expected).mean(axis=(1, 2, 3)).argmin()
            near = every if cut else every[max(0, place - MOVED) : place + MOVED + 1]
            if np.abs(near.astype(np.int16) - row).mean(axis=(1, 2, 3)).min() >= SAME_FRAME:
                off.append(row)
        return off
    if "gaps" in noted:
        return []
    steps = [samples.reshape(-1, STEP).astype(float) for samples in (audio, outcome.value)]
    loud = [np.sqrt((step**2).mean(axis=1)) for step in steps]
    pitch = [np.abs(np.fft.rfft(step * np.hanning(STEP))).argmax(axis=1) * RATE / STEP for step in steps]
    apart = (np.abs(pitch[0] - pitch[1]) > 0.1 * (SWEEP_HZ[1] - SWEEP_HZ[0]) / SECONDS) | (loud[1] < loud[0] / 2)
    if cut:
        apart &= loud[1] > 1
    return steps[1][apart].tolist() if apart.mean() > UNLIKE else []


def complaints(path: Path, kind: str) -> list[str]:
    """What FFmpeg finds wrong with the streams of a kind and with the container when everything is decoded."""
    found: list[str] = []
    messages()
    try:
        with av.open(str(path)) as container:
            streams = [stream for stream in container.streams if stream.type == kind and stream.codec_context]
            for stream in streams:
                stream.codec_context.thread_count = 1
            names = {stream.codec_context.name for stream in streams} | {container.format.name}
            found += [one.text for one in messages() if one.error and one.speaker in names]
            for packet in container.demux(streams):
                found += ["corrupt packet"] * packet.is_corrupt
                try:
                    found += ["corrupt frame"] * (
                        kind == "video" and any(frame.is_corrupt for frame in packet.decode())
                    )
                except av.FFmpegError as error:
                    found.append(str(error))
            found += [one.text for one in messages() if one.error and one.speaker in names]
    except (av.FFmpegError, IndexError) as error:
        found.append(str(error))
    return found[:3]


def every_frame(path: Path) -> np.ndarray:
    """(N, SIDE, SIDE, 3): all that decode from the start to the end without a fault before them."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        context.options, context.thread_type = {"err_detect": "explode"}, "SLICE"
        # Only with two threads do these check where data ends; H.264 tells of less damage with two.
        context.thread_count = 2 if context.name in ("vp8", "vp9") else 1
        aspect = container.streams.video[0].sample_aspect_ratio or Fraction(1)
        found = decoded(container, container.streams.video[0])
        frames = [square(frame.to_ndarray(format="rgb24"), aspect) for frame in found]
    return np.stack([fit(frame, SIDE, SIDE) for frame in frames]) if frames else np.empty((0, SIDE, SIDE, 3), np.uint8)


def strictly(path: Path) -> np.ndarray:
    """(N, SIDE, SIDE, 3): frames before which FFmpeg says nothing, back to the key frame in the order of decoding. What
    it says of the container spoils all from that key frame on: damage to one frame is not told by a file whose end is
    not where its header says."""
    frames, places, complained, group, key, spoilt = [], {}, {}, 0, 0, math.inf
    messages()
    with contextlib.suppress(av.FFmpegError), av.open(str(path)) as container:
        if any(one.error and one.speaker == container.format.name for one in messages()):
            return np.empty((0, SIDE, SIDE, 3), np.uint8)
        stream = container.streams.video[0]
        context, aspect = stream.codec_context, stream.sample_aspect_ratio or Fraction(1)
        context.options, context.thread_type = {"err_detect": "explode"}, "SLICE"
        context.thread_count = 2 if context.name in ("vp8", "vp9") else 1
        queue = container.demux(stream)
        while True:
            messages()
            try:
                packet = next(queue)
            except (StopIteration, av.FFmpegError, IndexError):
                packet = None
            if any(one.error and one.speaker == container.format.name for one in messages()):
                spoilt = min(spoilt, group)
            if packet is None:
                break
            group += packet.is_keyframe
            key = packet.pts if packet.is_keyframe else key
            # What an open group shows before its key frame is the end of the group before.
            leads = packet.pts is not None and key is not None and packet.pts < key
            places[packet.pts] = group - leads, len(places)
            try:
                found, broken = packet.decode(), packet.is_corrupt
            except av.FFmpegError:
                found, broken = [], True
            if broken or any(one.error and one.speaker == context.name for one in messages()):
                complained.setdefault(places[packet.pts][0], places[packet.pts][1])
            for frame in found:
                at, place = places.get(frame.pts, (group, len(places)))
                frames.append((at, place, square(frame.to_ndarray(format="rgb24"), aspect)))
                if frame.is_corrupt:
                    complained[at] = min(place, complained.get(at, place))
    frames = [one for one in frames if one[0] < spoilt]
    kept = [fit(frame, SIDE, SIDE) for at, place, frame in frames if place < complained.get(at, len(places) + 1)]
    return np.stack(kept) if kept else np.empty((0, SIDE, SIDE, 3), np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_as_described(kind: str) -> None:
    content = bytes(range(256)) * 40
    changed = damaged(content, kind, np.random.default_rng(3))
    assert changed != content
    assert (len(changed) < len(content)) == (kind in ("cut", "lost"))
    assert (len(changed) > len(content)) == (kind == "twice")


@pytest.mark.slow
@pytest.mark.skipif("decord" not in DECODERS, reason="no decord on this platform")
def test_decord_passes_no_damage_either(tmp_path: Path) -> None:
    originals = [path for path in sources(tmp_path) if path.suffix in (".mp4", ".mkv", ".avi", ".mov")]
    whole = {source: (every_frame(source), see(source)) for source in originals}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(CASES // 3):
            source = originals[number % len(originals)]
            kind = KINDS[number // len(originals) % len(KINDS)]
            path = tmp_path / f"{number}{source.suffix}"
            path.write_bytes(damaged(source.read_bytes(), kind, np.random.default_rng(FIRST_SEED + number)))
            try:
                frames, used = read_frames(path, None, None, COUNT, SIDE, SIDE, DECODERS)
            except ClipError:
                continue
            if used == "decord":
                passed = np.concatenate([whole[source][0], strictly(path)]).astype(np.int16)
                off = [np.abs(passed - row).mean(axis=(1, 2, 3)).min() for row in frames]
                assert max(off) < SAME_FRAME, path.name
