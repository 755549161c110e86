"""Samples lie where the stream's time stamps say; channels, rates and tracks are those that a player would give."""

import subprocess
import warnings
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from ffmpeg import ffmpeg, waveform
from filming import RATE

from modalens.media.audio import muted, read_waveform
from modalens.media.audio_clock import AHEAD, timed
from modalens.media.failure_causes import ClipError, ClipNote

SECONDS = 20
CLICKS = range(1, SECONDS)


def notes(function, *arguments):
    """Its answer, and the causes that it noted."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        answer = function(*arguments)
    return answer, [one.message.cause for one in said if isinstance(one.message, ClipNote)]


def clicks(folder: Path) -> Path:
    """A tone of 20 ms at each whole second."""
    samples = np.zeros(SECONDS * 48_000)
    tone = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(960) / 48_000) * np.hanning(960)
    for second in CLICKS:
        samples[second * 48_000 : second * 48_000 + 960] = tone
    path = folder / "clicks.wav"
    raw = (samples * 32767).astype("<i2").tobytes()
    words = ["-f", "s16le", "-ar", "48000", "-ac", "1", "-i", "-", str(path), "-y", "-loglevel", "error"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *words], input=raw, check=True)
    return path


def click_at(samples: np.ndarray, second: int) -> float:
    """Seconds by which a click is late: the centre of the power around it."""
    first = round((second - 0.3) * RATE)
    power = samples[first : round((second + 0.3) * RATE)].astype(float) ** 2
    return float((np.arange(len(power)) * power).sum() / power.sum() + first) / RATE - second - 0.01


def without(source: Path, path: Path, drop) -> Path:
    """The same packets but for those whose number drop() is true of."""
    with av.open(str(source)) as container, av.open(str(path), "w") as output:
        stream = container.streams.audio[0]
        copy = output.add_stream_from_template(stream)
        for number, packet in enumerate(container.demux(stream)):
            if packet.size and not drop(number, packet):
                packet.stream = copy
                output.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.m4a", "aac"),
        ("a.mka", "aac"),
        ("a.mka", "libopus"),
        ("a.webm", "libopus"),
        ("a.ts", "mp2"),
        ("a.mka", "libmp3lame"),
    ],
)
@pytest.mark.parametrize("every", [7, 10])
def test_lost_packets_do_not_add_up(tmp_path: Path, name: str, codec: str, every: int) -> None:
    whole = tmp_path / f"whole{Path(name).suffix}"
    ffmpeg("-i", clicks(tmp_path), "-c:a", codec, whole)
    path = without(whole, tmp_path / name, lambda number, _: number > 5 and number % every == 3)
    (samples, _), _ = notes(read_waveform, path, None, None, RATE, SECONDS)
    complete, _ = read_waveform(whole, None, None, RATE, SECONDS)
    late = [click_at(samples, second) - click_at(complete, second) for second in CLICKS]
    # Some clicks are in what is lost.
    assert np.mean(np.abs(late) < 0.004) > 0.5
    assert np.median(np.abs(late)) < 0.002
    assert np.abs(late[-3:]).min() < 0.002


def test_stamps_that_jitter_make_no_gap_and_stamps_that_agree_do() -> None:
    class Frame:
        def __init__(self, milliseconds: float) -> None:
            self.pts, self.time_base, self.samples, self.sample_rate = (
                round(1000 * milliseconds),
                Fraction(1, 10**6),
                320,
                RATE,
            )

    even = np.arange(0, 2000, 20.0)
    jitter = np.random.default_rng(0).uniform(-15, 15, len(even))
    jitter[0] = 0
    starts = [start for start, _, _ in timed((Frame(at) for at in even + jitter), 0.0)]
    assert np.abs(np.array(starts) - even / 1000).max() < 0.025
    assert sum(fresh for _, fresh, _ in timed((Frame(at) for at in even + jitter), 0.0)) <= 3
    holes = np.concatenate([even[:40], even[41:80], even[83:]])
    found = list(timed((Frame(at) for at in holes), 0.0))
    assert np.allclose([start for start, _, _ in found], holes / 1000)
    assert [at for at, (_, fresh, _) in enumerate(found) if fresh] == [40, 79]
    back = np.concatenate([even[:50], even[50:] - 400])
    assert [at for at, (_, fresh, _) in enumerate(timed((Frame(at) for at in back), 0.0)) if fresh] == [50]
    assert len(list(timed((Frame(at) for at in even[: AHEAD - 1]), 0.0))) == AHEAD - 1


@pytest.mark.parametrize("codec", ["libopus", "libspeex"])
@pytest.mark.parametrize("silent", [(2.0, 8.0), (1.0, 19.0), (12.0, 99.0)])
def test_nothing_sent_is_silence_and_no_damage(tmp_path: Path, codec: str, silent: tuple[float, float]) -> None:
    whole = tmp_path / "whole.mka"
    try:
        ffmpeg("-i", clicks(tmp_path), "-ar", "48000" if codec == "libopus" else "16000", "-c:a", codec, whole)
    except subprocess.CalledProcessError:
        pytest.skip(f"no {codec} here")
    sound = without(
        whole, tmp_path / "s.mka", lambda _, packet: silent[0] <= float(packet.pts * packet.time_base) < silent[1]
    )
    path = tmp_path / "a.mkv"
    ffmpeg(
        "-i",
        sound,
        "-f",
        "lavfi",
        "-i",
        f"testsrc2=s=64x64:r=5:d={SECONDS}",
        "-map",
        0,
        "-map",
        1,
        "-c:a",
        "copy",
        path,
    )
    samples, noted = notes(read_waveform, path, 0.0, 20.0, RATE, SECONDS)
    assert noted == []
    loud = {second for second in CLICKS if np.abs(samples[0][second * RATE : second * RATE + 480]).max() > 3000}
    expected = {second for second in CLICKS if not silent[0] - 0.1 < second < silent[1] + 0.1}
    assert expected <= loud
    assert not {second for second in CLICKS if silent[0] + 0.1 < second < silent[1] - 0.1} & loud


def test_gaps_of_other_codecs_are_silence_and_noted(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mka"
    ffmpeg("-i", clicks(tmp_path), "-c:a", "aac", whole)
    path = without(whole, tmp_path / "a.mka", lambda _, packet: 4 < float(packet.pts * packet.time_base) < 16)
    (samples, _), noted = notes(read_waveform, path, None, None, RATE, SECONDS)
    assert noted == ["gaps"]
    assert muted(samples[5 * RATE : 15 * RATE])
    assert click_at(samples, 18) == pytest.approx(0, abs=0.002)


KINDS = {
    "rate and channels": ["-ar 44100 -ac 1", "-ar 48000 -ac 2"],
    "channels": ["-ar 44100 -ac 2", "-ar 44100 -ac 1"],
    "rate": ["-ar 32000 -ac 1", "-ar 48000 -ac 1"],
    "three times": ["-ar 44100 -ac 1", "-ar 48000 -ac 2", "-ar 32000 -ac 1"],
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", ["mp3", "aac", "ac3"])
def test_a_stream_may_change_its_rate_and_channels(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    content = b""
    for number, options in enumerate(KINDS[name]):
        part = tmp_path / f"part{number}.{suffix}"
        plain = ["-id3v2_version", 0, "-write_xing", 0] if suffix == "mp3" else []
        ffmpeg("-f", "lavfi", "-i", f"sine={400 + 400 * number}:d=4", *options.split(), *plain, part)
        content += part.read_bytes()
    path.write_bytes(content)
    (samples, _), noted = notes(read_waveform, path, None, None, RATE, 4 * len(KINDS[name]))
    assert noted == []
    for number in range(len(KINDS[name])):
        middle = samples[(4 * number + 1) * RATE : (4 * number + 3) * RATE].astype(float)
        pitch = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))).argmax() / 2
        assert pitch == pytest.approx(400 + 400 * number, abs=3), number


MIXES = {
    "out of phase": ("aevalsrc=0.5*sin(880*PI*t)|-0.5*sin(880*PI*t):d=3:s=48000", ["lost_in_mix"]),
    "nearly out of phase": ("aevalsrc=0.5*sin(880*PI*t)|-0.48*sin(880*PI*t):d=3:s=48000", ["lost_in_mix"]),
    "only low-frequency effects": ("aevalsrc=0|0|0|0.5*sin(80*PI*t)|0|0:c=5.1:d=3:s=48000", ["lost_in_mix"]),
    "only the surround": ("aevalsrc=0|0|0|0|0.5*sin(880*PI*t)|0:c=5.1:d=3:s=48000", []),
    "in phase": ("aevalsrc=0.5*sin(880*PI*t)|0.5*sin(880*PI*t):d=3:s=48000", []),
    "one side": ("aevalsrc=0.5*sin(880*PI*t)|0:d=3:s=48000", []),
    "unlike": ("aevalsrc=0.5*sin(880*PI*t)|0.5*sin(500*PI*t):d=3:s=48000", []),
    "silence": ("aevalsrc=0|0:d=3:s=48000", []),
    "mono": ("aevalsrc=0.5*sin(880*PI*t):d=3:s=48000", []),
}


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("suffix", ["flac", "wav", "m4a", "mka"])
def test_what_the_mix_loses_is_noted_and_the_loudest_channel_has_it(tmp_path: Path, name: str, suffix: str) -> None:
    source, expected = MIXES[name]
    path = tmp_path / f"a.{suffix}"
    ffmpeg("-f", "lavfi", "-i", source, path)
    (mix, _), noted = notes(read_waveform, path, None, None, RATE, 3)
    assert noted == expected
    assert np.abs(np.abs(mix).mean() - np.abs(waveform(path, RATE)[: len(mix)]).mean()) < 50
    (loudest, _), noted = notes(read_waveform, path, None, None, RATE, 3, "loudest")
    assert noted == []
    if name == "silence":
        assert muted(loudest)
    else:
        assert np.percentile(np.abs(loudest[RATE : 2 * RATE]), 99) == pytest.approx(0.5 * 32767, rel=0.3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mka"])
@pytest.mark.parametrize("default", [0, 1, 2])
def test_the_default_track_is_heard(tmp_path: Path, suffix: str, default: int) -> None:
    path = tmp_path / f"a.{suffix}"
    tones = [word for hertz in (400, 800, 1200) for word in ("-f", "lavfi", "-i", f"sine={hertz}:d=2")]
    maps = [word for number in range(3) for word in ("-map", number)]
    ffmpeg(*tones, *maps, "-c:a", "aac", "-disposition:a", 0, f"-disposition:a:{default}", "default", path)
    samples, _ = read_waveform(path, None, None, RATE, 2)
    pitch = np.abs(np.fft.rfft(samples[RATE // 2 : 3 * RATE // 2].astype(float))).argmax()
    assert pitch == pytest.approx(400 + 400 * default, abs=3)


@pytest.mark.parametrize("name", ["webm", "mkv", "mp4", "opus", "ogg"])
def test_the_delay_of_opus_is_none_for_the_listener(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"a.{name}"
    ffmpeg("-i", clicks(tmp_path), "-c:a", "libopus", path)
    for start in (None, 8.0):
        samples, _ = read_waveform(path, start, None, RATE, 4)
        assert click_at(samples, 2) == pytest.approx(0, abs=0.0015)


def test_audio_of_old_matroska_files_is_heard_with_its_frames(shared: Path) -> None:
    # Its muxer moved the video by the 6.5 ms of Opus, and not the audio.
    path = shared / "found" / "holes.mkv"
    samples, _ = read_waveform(path, None, None, 48_000, 10)
    assert not samples[:300].any()
    assert samples[320:2000].any()


def test_a_window_without_audio_has_a_cause(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    ffmpeg("-f", "lavfi", "-i", "sine=400:d=2", path)
    for start, end in ((5.0, 6.0), (5.0, None), (1.0, 9.0)):
        with pytest.raises(ClipError) as error:
            read_waveform(path, start, end, RATE, 10)
        assert error.value.cause == "too_short"
