from pathlib import Path

import av
import h5py
import numpy as np
import pandas as pd
import pytest
from _forms import options
from filming import RATE, film, speak

from modalens.media.audio import muted, read_waveform
from modalens.media.failure_causes import ClipError
from modalens.stages import decode
from modalens.utils import cli, hdf5

EVEN = [40 * k for k in range(100)]


def tones(hertz: list[int]) -> np.ndarray:
    """A second of each tone."""
    at = np.arange(RATE) / RATE
    return np.concatenate([0.5 * np.sin(2 * np.pi * pitch * at) for pitch in hertz])


def pitch(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * RATE / len(sound))


def test_each_second_sounds_as_it_was_made(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", EVEN, sound=tones([440, 880, 1760, 3520]))
    sound, decoder = read_waveform(path, None, None, RATE, 4)
    assert (sound.shape, sound.dtype, decoder) == ((4 * RATE,), np.int16, "pyav")
    for second, hertz in enumerate([440, 880, 1760, 3520]):
        assert pitch(sound[second * RATE + 1600 : (second + 1) * RATE - 1600]) == pytest.approx(hertz, abs=3)
    assert np.percentile(np.abs(sound), 99) == pytest.approx(0.5 * 32767, rel=0.1)


def test_a_window_holds_its_part_and_silence_after_its_end(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", EVEN, sound=tones([440, 880, 1760, 3520]))
    whole, _ = read_waveform(path, None, None, RATE, 4)
    part, _ = read_waveform(path, 2.0, 3.0, RATE, 1.5)
    assert pitch(part[1600:14400]) == pytest.approx(1760, abs=3)
    assert not part[RATE:].any()
    # Read after a seek, it lies at the same samples.
    assert np.corrcoef(part[1000:15000], whole[2 * RATE + 1000 : 2 * RATE + 15000])[0, 1] > 0.999


def test_short_sound_is_filled_up_and_long_sound_cut(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", EVEN, sound=tones([440, 440]))
    sound, _ = read_waveform(path, None, None, RATE, 5)
    assert not sound[round(2.2 * RATE) :].any()
    assert sound[: 2 * RATE].any()
    assert len(read_waveform(path, None, None, 8000, 0.5)[0]) == 4000


def test_a_hole_in_the_stream_is_silence_of_its_length(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        speak(container, stream, tones([440]), 0)
        speak(container, stream, tones([880]), 2 * RATE)
        container.mux(stream.encode())
    sound, _ = read_waveform(path, None, None, RATE, 3)
    assert pitch(sound[:RATE]) == pytest.approx(440, abs=3)
    assert np.abs(sound[RATE + 1600 : 2 * RATE - 1600]).max() < 50
    assert pitch(sound[2 * RATE :]) == pytest.approx(880, abs=3)


def test_sound_with_many_frames_in_a_packet_is_heard_to_its_end(shared: Path) -> None:
    sound, _ = read_waveform(shared / "clips" / "mp4parser__MOV00006.3gp", None, None, RATE, 15)
    assert (np.abs(sound).reshape(15, RATE).max(axis=1) > 1).all()


def test_silence_is_muted_and_a_whisper_is_not() -> None:
    silence = np.zeros(100, np.int16)
    assert muted(silence)
    assert muted(silence - np.int16(1))
    assert not muted(np.array([0, 0, -3], np.int16))


def test_a_window_after_the_sound_is_too_short(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", EVEN, sound=tones([440, 440]))
    for start, end in ((3.0, 4.0), (0.0, 4.0)):
        with pytest.raises(ClipError) as error:
            read_waveform(path, start, end, RATE, 10)
        assert error.value.cause == "too_short"


def test_causes_of_real_files(shared: Path) -> None:
    causes = {
        "mediabunny__frames.webm": "no_audio",
        "media__sample_ac4.mp4": "unsupported",
        "mp4parse-rust__short-cenc.mp4": "unsupported",
        "mp4parse-rust__opus_audioinit_two_desc.mp4": "damaged",
        "small__wav.wav": "too_short",
    }
    for name, cause in causes.items():
        with pytest.raises(ClipError) as error:
            read_waveform(shared / "bad_inputs" / name, None, None, RATE, 10)
        assert error.value.cause == cause, (name, error.value.detail)


def test_the_stage_writes_rows_and_a_status_for_every_clip(tmp_path: Path) -> None:
    good, silent = film(tmp_path / "a.mp4", EVEN, sound=tones([440])), film(tmp_path / "b.mp4", EVEN)
    clips = tmp_path / "clips.csv"
    clips.write_text(
        "clip_id,status,cause,detail,path,start_s,end_s\n"
        f"NA,ok,,,{good},,\nquiet,ok,,,{silent},,\ngone,failed,missing,404,,,\n"
    )
    output, status = tmp_path / "w.h5", tmp_path / "w.csv"
    line = ["--clips", clips, "--output", output, "--status", status, "--record", tmp_path / "r"]
    cli.call(decode, [*options("audio", seconds=1), *line])
    table = pd.read_csv(status, dtype=str, keep_default_na=False).set_index("clip_id")
    assert table["cause"].to_dict() == {"NA": "", "gone": "missing", "quiet": "no_audio"}
    assert table.loc["gone", "detail"] == "404"
    assert hdf5.ids(output) == ["NA"]
    assert hdf5.read(output).shape == (1, RATE)
    assert hdf5.attributes(output) == {"form": "waveforms", "sample_rate": RATE, "seconds": 1}


def test_a_shard_without_a_good_clip_has_a_file_without_data(tmp_path: Path) -> None:
    clips = tmp_path / "clips.csv"
    clips.write_text("clip_id,status,cause,detail,path,start_s,end_s\ngone,failed,missing,404,,,\n")
    output, status = tmp_path / "w.h5", tmp_path / "w.csv"
    line = ["--clips", clips, "--output", output, "--status", status, "--record", tmp_path / "r"]
    cli.call(decode, [*options("audio"), *line])
    with h5py.File(output) as file:
        assert "data" not in file
    assert hdf5.ids(output) == []
