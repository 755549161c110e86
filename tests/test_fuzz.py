"""Real clips with bits flipped, blocks lost and ends cut off, through the stages that decode.

MODALENS_FUZZ=600 sets the number of damaged files (120 otherwise); the seed of each is its number + MODALENS_FUZZ_SEED.
"""

import os
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from _forms import options
from badserver import movie

from modalens.datasets.known_answer import KnownAnswer
from modalens.media.container import stream_of
from modalens.media.reading import decoded
from modalens.media.sources import DownloadOptions
from modalens.media.video import SAME_FRAME, fit
from modalens.stages import decode
from modalens.utils import cli, hdf5

CASES = int(os.environ.get("MODALENS_FUZZ", "120"))
FIRST_SEED = int(os.environ.get("MODALENS_FUZZ_SEED", "0"))
SMALL_BYTES = 350_000 if CASES <= 120 else 700_000
RATE, SECONDS = 16000, 4
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "clips"


@pytest.mark.slow
def test_damage_never_ends_a_stage_and_never_passes_for_frames_or_sound(tmp_path: Path) -> None:
    """Every file gets a row of its own. The frames of a clip that is ok are each a picture that a strict decoder finds
    in the damaged file, with nothing broken before it back to a key frame, or one of the undamaged file, where what is
    broken is not what the picture depends on; and half of the sound at least is there.
    """
    originals = sources(tmp_path)
    kinds, files, whole = {}, {}, {source: strictly(source) for source in originals}
    for number in range(CASES):
        rng = np.random.default_rng(FIRST_SEED + number)
        source = originals[number % len(originals)]
        kind = ["cut", "flips", "zeros", "noise"][number // len(originals) % 4]
        files[f"{number:04d}"] = tmp_path / f"{number:04d}{source.suffix}"
        files[f"{number:04d}"].write_bytes(damaged(source.read_bytes(), kind, rng))
        kinds[f"{number:04d}"] = kind
    clips = tmp_path / "clips.csv"
    lines = [f"{name},ok,,,{path},," for name, path in files.items()]
    clips.write_text("\n".join(["clip_id,status,cause,detail,path,start_s,end_s", *lines, ""]))

    seen = stage(tmp_path / "frames", clips, options("video", count=4, resize=48, crop=48))
    heard = stage(tmp_path / "waves", clips, options("audio", sample_rate=RATE, seconds=SECONDS))
    assert set(seen.index) == set(heard.index) == set(files)
    good = seen.index[seen["status"] == "ok"].tolist()
    wrong = []
    for name, rows in zip(good, hdf5.read(tmp_path / "frames.h5", good), strict=True):
        undamaged = whole[originals[int(name) % len(originals)]]
        found = np.concatenate([strictly(files[name]), undamaged]).astype(np.int16)
        off = max(np.abs(found - row).mean(axis=(1, 2, 3)).min(initial=255) for row in rows)
        if off >= SAME_FRAME:
            wrong.append(f"{name}: {kinds[name]}, {seen.loc[name, 'decoder']}: no such frame, {off:.1f} off")
    for name in heard.index[heard["status"] == "ok"]:
        told, claimed = sound_in(files[name])
        if told < 0.5 * min(claimed, SECONDS):
            wrong.append(f"{name}: {kinds[name]}: {told:.2f} of {claimed:.2f} s are there")
    for title, table in (("frames", seen), ("sound", heard)):
        words = [f"{decoder or cause}" for decoder, cause in zip(table["decoder"], table["cause"], strict=True)]
        counts = Counter((kinds[name], word) for name, word in zip(table.index, words, strict=True))
        print(title, {f"{kind} {word}": number for (kind, word), number in sorted(counts.items())})
        # The file is to blame, hardly ever the reader of it.
        assert (table["cause"].isin(["crashed", "timeout", "memory"])).mean() < 0.02
        assert (table["status"] == "ok").any()
        assert (table["status"] != "ok").any()
    assert not wrong, "\n".join(wrong)


def sources(folder: Path) -> list[Path]:
    """Small real clips, and ones made here."""
    made = folder / "movie.mp4"
    made.write_bytes(movie())
    rows = KnownAnswer(["seen"], clips=2, seconds=2.0).manifest()["source"]
    drawn = [
        KnownAnswer.fetch(row, None, None, folder / f"drawn{number}", DownloadOptions()).path
        for number, row in enumerate(rows)
    ]
    real = [path for path in sorted(SHARED.glob("*.*")) if path.suffix != ".csv" and path.stat().st_size < SMALL_BYTES]
    return [made, *drawn, *real]


def damaged(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    if kind == "cut":
        return content[: int(rng.integers(1, len(content)))]
    data = np.frombuffer(content, np.uint8).copy()
    at = rng.integers(0, len(data), int(rng.integers(1, 40)))
    if kind == "flips":
        data[at] ^= np.uint8(1) << rng.integers(0, 8, len(at)).astype(np.uint8)
    else:
        for first in at[:4]:
            block = data[first : first + int(rng.integers(1, 2000))]
            block[:] = 0 if kind == "zeros" else rng.integers(0, 256, len(block), dtype=np.uint8)
    return data.tobytes()


def stage(stem: Path, clips: Path, more: list[str]) -> pd.DataFrame:
    status = stem.with_suffix(".csv")
    command = ["--clips", clips, "--output", stem.with_suffix(".h5"), "--status", status, "--timeout", "30", *more]
    command += ["--record", stem.with_suffix(".json")]
    cli.call(decode, command)
    return pd.read_csv(status, dtype=str, keep_default_na=False).set_index("clip_id")


def strictly(path: Path) -> np.ndarray:
    """All pictures (N, 48, 48, 3) of the file that decode from the start to the end without a fault before them."""
    found = []
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        context.options, context.thread_type = {"err_detect": "explode"}, "SLICE"
        # Only with two threads do these check where data ends; H.264 tells of less damage with two.
        context.thread_count = 2 if context.name in ("vp8", "vp9") else 1
        broken, order = False, {}
        packets = container.demux(container.streams.video[0])
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError):
                break
            order[packet.pts] = len(order)
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                broken = True
                continue
            for picture in pictures:
                broken = picture.is_corrupt or (broken and not picture.key_frame)
                place = order.get(picture.pts, 0)
                if picture.is_corrupt:
                    # Shown before it, and drawn from it.
                    found = [(earlier, pixels) for earlier, pixels in found if earlier < place]
                if not broken:
                    upright = np.rot90(picture.to_ndarray(format="rgb24"), (picture.rotation // 90) % 4)
                    found.append((place, fit(np.ascontiguousarray(upright), 48, 48)))
    return np.stack([pixels for _, pixels in found]) if found else np.empty((0, 48, 48, 3), np.uint8)


def sound_in(path: Path) -> tuple[float, float]:
    """Seconds of sound that decode within the first SECONDS, and seconds of sound up to the last that does."""
    told, last = 0.0, 0.0
    with av.open(str(path)) as container:
        stream = stream_of(container, "audio")
        first = None
        for frame in decoded(container, stream):
            # Of several frames in a packet, only the first one has a time.
            time = last + (first or 0.0) if frame.time is None else frame.time
            first = time if first is None else first
            last = time - first + frame.samples / frame.sample_rate
            if last <= SECONDS:
                told += frame.samples / frame.sample_rate
    return told, last
