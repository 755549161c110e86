"""What is not there or cannot be trusted is said: files that break off, errors that FFmpeg logs, late starts."""

import struct
import warnings
from pathlib import Path

import av
import numpy as np
import pytest
from ffmpeg import ffmpeg, pictures
from test_audio_clock import notes
from test_fuzz import complaints

from modalens.media.audio import read_waveform
from modalens.media.failure_causes import ClipError
from modalens.media.probe import probe
from modalens.media.reading import decoded
from modalens.media.video import fit, read_frames, read_key_frames

SECONDS = 12
VIDEO = ["-f", "lavfi", "-i", f"testsrc2=s=64x48:r=25:d={SECONDS}"]
AUDIO = ["-f", "lavfi", "-i", f"sine=440:r=48000:d={SECONDS}"]
H264 = ["-c:v", "libx264", "-g", 25]
PROMISING: dict[str, list] = {
    "a.mp4": [*H264, "-movflags", "faststart"],
    "a.mov": ["-c:v", "mpeg4", "-movflags", "faststart"],
    "a.3gp": [*H264, "-c:a", "aac", "-movflags", "faststart"],
    "a.mkv": H264,
    "a.webm": ["-c:v", "libvpx", "-b:v", "100k"],
    "a.avi": ["-c:v", "mpeg4", "-c:a", "libmp3lame"],
    "h264.avi": [*H264, "-c:a", "libmp3lame"],
    "a.flv": [*H264, "-c:a", "aac"],
    "a.wmv": ["-c:v", "wmv2", "-c:a", "wmav2"],
    "a.mxf": ["-c:v", "mpeg2video", "-c:a", "pcm_s16le", "-ar", 48000],
}
PROMISING_AUDIO = ["a.wav", "a.w64", "a.flac", "a.mp3", "a.aiff", "a.au", "a.caf", "a.mka"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media")
    for name, options in PROMISING.items():
        ffmpeg(*VIDEO, *AUDIO, *options, path / name)
    for name in PROMISING_AUDIO:
        ffmpeg(*AUDIO, path / name)
    return path


@pytest.mark.parametrize("name", [*PROMISING, *PROMISING_AUDIO])
def test_half_of_a_file_is_noted_with_both_durations_and_a_whole_one_is_not(folder: Path, name: str) -> None:
    reads = [(read_waveform, (16_000, 30))]
    if name in PROMISING:
        reads += [(read_frames, (8, 32, 32, ("pyav",))), (read_key_frames, (8, 32, 32))]
    content = (folder / name).read_bytes()
    half = folder / f"half_{name}"
    half.write_bytes(content[: len(content) // 2])
    for read, options in reads:
        assert notes(read, folder / name, None, None, *options)[1] == [], read
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            read(half, None, None, *options)
        (text,) = [str(one.message) for one in said]
        assert text.startswith("cut_short"), read
        there, promised = (float(word) for word in text.split() if word.replace(".", "").isdigit())
        assert promised == pytest.approx(SECONDS, abs=0.3)
        assert 2 < there < 10
        # What lies before the cut is all there.
        assert notes(read, half, 0.5, 2.0, *options)[1] == []
        with pytest.raises(ClipError) as error:
            read(half, 1.0, 12.0, *options)
        assert error.value.cause == "too_short"
    found = probe(half)
    assert found["promised_s"] == pytest.approx(SECONDS, abs=0.3)
    assert found["duration_s"] < 10
    assert probe(folder / name)["duration_s"] == pytest.approx(SECONDS, abs=0.3)


def test_almost_nothing_of_a_long_file_is_cut_short_and_not_only_still(folder: Path) -> None:
    path = folder / "little.mkv"
    path.write_bytes((folder / "a.mkv").read_bytes()[:20_000])
    _, noted = notes(read_frames, path, None, None, 8, 32, 32)
    assert noted == ["cut_short"]


@pytest.mark.parametrize("suffix", ["mkv", "flv", "mp4"])
def test_one_stream_that_ends_before_another_breaks_no_promise(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    short = ["-f", "lavfi", "-i", "sine=440:r=44100:d=5"]
    ffmpeg(*VIDEO, *short, *H264, "-c:a", "libmp3lame", path)
    assert notes(read_frames, path, None, None, 4, 32, 32)[1] == []
    assert notes(read_waveform, path, None, None, 16_000, 30)[1] == []
    # Without a length of each stream of its own.
    bare = tmp_path / "bare.mkv"
    ffmpeg("-i", path, "-c", "copy", "-map_metadata:s", -1, "-fflags", "+bitexact", bare)
    assert notes(read_waveform, bare, None, None, 16_000, 30)[1] == []


def complaining(path: Path, places: list[float], size: int = 40) -> Path:
    """Noise at these parts of a file."""
    content = bytearray(path.read_bytes())
    for place in places:
        at = int(place * len(content))
        content[at : at + size] = np.random.default_rng(0).bytes(size)
    target = path.with_name(f"noise_{path.name}")
    target.write_bytes(content)
    return target


@pytest.mark.parametrize("name", ["a.flv", "a.mkv", "a.webm"])
def test_what_only_the_demuxer_reports_is_damage(folder: Path, name: str) -> None:
    path = complaining(folder / name, [0.3, 0.5, 0.7], 3000)
    with av.open(str(path)) as container, av.logging.Capture(local=True) as said:
        for _ in container.demux():
            pass
    assert any(speaker == container.format.name and level <= av.logging.ERROR for level, speaker, _ in said)
    for read, options in ((read_frames, (8, 32, 32, ("pyav",))), (read_key_frames, (8, 32, 32))):
        with pytest.raises(ClipError) as error:
            read(path, None, None, *options)
        assert error.value.cause == "damaged"
    # Before the damage, nobody complains.
    assert len(read_frames(path, 0.0, 1.0, 2, 32, 32)[0]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx", "libx264", "mpeg4", "libx265", "mpeg2video"])
@pytest.mark.parametrize("lost", [(20, 21, 22), (0, 1, 130), tuple(range(30, 90, 7))])
def test_frames_that_a_decoder_complains_of_are_damaged(tmp_path: Path, codec: str, lost: tuple[int, ...]) -> None:
    whole, path = tmp_path / "whole.mkv", tmp_path / "a.mkv"
    ffmpeg(*VIDEO, "-c:v", codec, "-g", 100, "-b:v", "200k", whole)
    with av.open(str(whole)) as container, av.open(str(path), "w") as output:
        stream = container.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for number, packet in enumerate(container.demux(stream)):
            if packet.size and number not in lost:
                packet.stream = copy
                output.mux(packet)
    clean = pictures(whole, (64, 48))
    wrong, refused = 0, 0
    for first in range(SECONDS):
        try:
            frames, _ = read_frames(path, first, first + 1.0, 5, 48, 48, ("pyav",))
        except ClipError as error:
            refused += error.cause == "damaged"
            continue
        off = [min(np.abs(fit(one, 48, 48).astype(int) - frame).mean() for one in clean) for frame in frames]
        wrong += max(off) > 2
    # FFmpeg may draw over what came before and not notice.
    if complaints(path, "video"):
        assert refused >= 1
        assert wrong == 0
    assert refused < SECONDS


@pytest.mark.parametrize(
    ("suffix", "codec"), [("ts", "libx264"), ("mkv", "libx264"), ("ts", "mpeg2video"), ("avi", "mpeg4")]
)
def test_a_recording_that_begins_between_key_frames_starts_at_the_first(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    whole, path = tmp_path / f"whole.{suffix}", tmp_path / f"a.{suffix}"
    ffmpeg(*VIDEO, "-c:v", codec, "-g", 50, "-bf", 0, "-sc_threshold", 0 if codec == "libx264" else 10**9, whole)
    with av.open(str(whole)) as container, av.open(str(path), "w") as output:
        stream = container.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for number, packet in enumerate(container.demux(stream)):
            if packet.size and number >= 20:
                packet.stream = copy
                output.mux(packet)
    clean = pictures(whole, (64, 48))
    for read, options in ((read_frames, (8, 48, 48, ("pyav",))), (read_key_frames, (8, 48, 48))):
        answer, noted = notes(read, path, None, None, *options)
        assert noted == ["late_start"]
        frames = answer[0]
        off = [
            np.abs(np.stack([fit(one, 48, 48) for one in clean]).astype(int) - frame).mean(axis=(1, 2, 3))
            for frame in frames
        ]
        assert max(one.min() for one in off) < 3
        assert min(one.argmin() for one in off) >= 50
    assert notes(read_frames, path, 4.0, 6.0, 4, 48, 48)[1] == []
    with pytest.raises(ClipError) as error:
        read_frames(path, 0.4, 6.0, 4, 48, 48)
    assert error.value.cause == "too_short"


def flv_tags(content: bytes) -> list[tuple[int, int]]:
    """(where it begins, its type: 8 is audio, 9 video) of each tag of an FLV file."""
    found, at = [], 13
    while at + 11 <= len(content):
        found.append((at, content[at]))
        at += 15 + int.from_bytes(content[at + 1 : at + 4])
    return found


def test_a_damaged_time_stamp_far_ahead_does_not_hide_that_the_end_is_missing(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "a.flv").read_bytes()
    tags = flv_tags(whole)
    audio = [at for at, kind in tags if kind == 8]
    content = bytearray(whole[: audio[len(audio) * 3 // 4]])
    content[audio[len(audio) // 2] + 5] ^= 16  # 2**20 ms
    path = tmp_path / "ahead.flv"
    path.write_bytes(content)
    _, said = notes(read_waveform, path, None, None, 16_000, 30)
    assert [text.partition(":")[0] for text in said] == ["cut_short"]
    assert probe(path)["duration_s"] == pytest.approx(SECONDS * 3 / 4, abs=0.3)


def test_audio_of_more_channels_than_there_are_layouts_is_damage_and_no_crash(tmp_path: Path) -> None:
    path, channels = tmp_path / "a.wav", 65
    samples = np.zeros((8000, channels), "<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, channels, 8000, 16_000 * channels, 2 * channels, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    with pytest.raises(ClipError, match="audio of 65 channels") as caught:
        read_waveform(path, None, None, 8000, 1)
    assert caught.value.cause == "damaged"


@pytest.mark.parametrize(("name", "codec"), [("a.3gp", "h263"), ("a.avi", "mpeg4"), ("a.flv", "flv")])
def test_a_frame_sought_is_refused_as_one_read_from_the_start_is(tmp_path: Path, name: str, codec: str) -> None:
    """These decoders forgive bits that are left over at the end of a frame until some frames have had none."""
    whole, path = tmp_path / f"whole_{name}", tmp_path / name
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=176x144:r=25:d=4", "-c:v", codec, "-g", 12, whole)
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is None:
                continue
            at_s, longer = float(packet.pts * packet.time_base), packet
            if packet.is_keyframe and 1.4 < at_s < 1.5:
                longer = av.Packet(bytes(packet) + bytes(range(1, 200)))
                longer.pts, longer.dts, longer.time_base = packet.pts, packet.dts, packet.time_base
                longer.is_keyframe = True
            longer.stream = stream
            target.mux(longer)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        context.options, context.thread_count = {"err_detect": "explode"}, 1
        shown = [float(frame.time) for frame in decoded(container, container.streams.video[0])]
    assert not any(1.43 < at_s < 1.9 for at_s in shown), "FFmpeg complains of that key frame"
    with pytest.raises(ClipError, match="does not decode"):
        read_frames(path, None, None, 4, 48, 48, ("pyav",))
