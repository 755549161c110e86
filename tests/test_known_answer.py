"""The clips hold what the manifest says, and the answers are those of the distribution they are drawn from."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from modalens.datasets import _rendering as drawn
from modalens.datasets.known_answer import TASKS, KnownAnswer
from modalens.media.sources import DownloadOptions
from modalens.stats.information import bayes_accuracy
from modalens.utils.errors import UserError

ALL = list(TASKS)
FRAMES = 8


def rendered(source: str, destination: Path) -> Path:
    return KnownAnswer.fetch(source, None, None, destination, DownloadOptions()).path


def decoded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(frames, H, W, 3) uint8 and (samples,) as a stranger's decoder gives them."""
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return frames, sound


def symbols_seen(frames: np.ndarray, symbols: int) -> tuple[int | None, ...]:
    """Nearest colour of the mean picture, at the centres of 8 equal parts; every sight of a component must agree."""
    choices = [None, *range(symbols)]
    found: list[set[int | None]] = [set() for _ in range(drawn.COMPONENTS)]
    for part in range(FRAMES):
        component = part % drawn.COMPONENTS
        mean = np.median(frames[int((part + 0.5) * len(frames) / FRAMES)], axis=(0, 1))
        distances = [np.abs(mean - drawn.colour(component, choice, symbols)).sum() for choice in choices]
        found[component].add(choices[int(np.argmin(distances))])
    assert [len(sights) for sights in found] == [1] * drawn.COMPONENTS
    return tuple(sights.pop() for sights in found)


def symbols_heard(sound: np.ndarray, symbols: int) -> tuple[int | None, ...]:
    """The pitch with most power in a component's octave, None where no pitch stands out."""
    middle = sound[len(sound) // 4 : 3 * len(sound) // 4]
    power = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) / (len(middle) / 4)
    hertz = np.fft.rfftfreq(len(middle), 1 / drawn.SAMPLE_RATE)
    found: list[int | None] = []
    for component in range(drawn.COMPONENTS):
        pitches = [drawn.pitch(component, symbol, symbols) for symbol in range(symbols)]
        levels = [power[np.abs(hertz - pitch) < 5].max() for pitch in pitches]
        found.append(int(np.argmax(levels)) if max(levels) > drawn.TONE / 4 else None)
    return tuple(found)


@pytest.mark.parametrize("symbols", [2, 3, 6])
def test_every_symbol_can_be_read_back_from_the_decoded_clip(tmp_path, symbols):
    data = KnownAnswer(ALL, clips=12, symbols=symbols, seed=5)
    for row in data.manifest().itertuples():
        made = drawn.Drawing.of(row.source)
        frames, sound = decoded(rendered(row.source, tmp_path / row.clip_id))
        assert symbols_seen(frames, symbols) == made.video
        assert symbols_heard(sound, symbols) == made.audio


def test_the_media_file_is_h264_and_aac_of_the_stated_form(tmp_path):
    data = KnownAnswer(["seen"], clips=1, seconds=3, fps=10, size=32)
    path = rendered(data.manifest()["source"][0], tmp_path / "clip")
    assert path == tmp_path / "clip.mp4"
    assert list(tmp_path.iterdir()) == [path]
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec.canonical_name, video.width, video.height, video.frames) == ("h264", 32, 32, 30)
        assert (audio.codec.canonical_name, audio.rate, audio.channels) == ("aac", drawn.SAMPLE_RATE, 1)
        assert container.duration / av.time_base == pytest.approx(3, abs=0.1)


def test_the_same_clip_is_drawn_the_same_and_another_seed_differs(tmp_path):
    source = KnownAnswer(["seen"], clips=1).manifest()["source"][0]
    first, second = (decoded(rendered(source, tmp_path / name)) for name in "ab")
    assert all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))
    other, _ = decoded(rendered(source.replace("seed=0", "seed=1"), tmp_path / "c"))
    assert not np.array_equal(first[0], other)


def test_a_source_says_all_that_a_drawing_holds():
    made = drawn.Drawing(
        video=(0, None, 2), audio=(1, 2, None), symbols=3, seconds=2.5, fps=12, size=48, seed=7, clip=3
    )
    assert drawn.Drawing.of(made.source()) == made


def test_more_clips_and_other_tasks_leave_the_first_clips_alone():
    small, large = KnownAnswer(["seen"], clips=50).manifest(), KnownAnswer(ALL, clips=51).manifest()
    assert small.equals(large.loc[:49, small.columns])


def test_labels_follow_from_the_symbols():
    for row in KnownAnswer(ALL, clips=200).manifest().itertuples():
        made = drawn.Drawing.of(row.source)
        letter = "ABC".index
        assert letter(row.seen) == made.video[0]
        assert letter(row.heard) == made.audio[0]
        assert letter(row.both) == (made.video[0] + made.audio[0]) % 3
        for component, label in ((1, row.either), (2, row.mostly_seen)):
            assert {made.video[component], made.audio[component]} <= {letter(label), None}


@pytest.fixture(scope="module")
def many():
    """A data set of 4000 clips, its manifest, and what each clip shows; labels do not depend on the other tasks."""
    data = KnownAnswer(ALL, clips=4000, erasures={"either": {"audio": 0.3}})
    table = data.manifest()
    return data, table, [drawn.Drawing.of(source) for source in table["source"]]


@pytest.mark.parametrize("task", ALL)
def test_clips_are_drawn_from_the_joint_distribution_that_the_answers_use(task, many):
    data, table, drawings = many
    component = {"either": 1, "mostly_seen": 2}.get(task, 0)
    counted = np.zeros_like(data.joint(task).table)
    for label, made in zip(table[task], drawings, strict=True):
        places = [3 if symbol is None else symbol for symbol in (made.audio[component], made.video[component])]
        counted["ABC".index(label), places[0], places[1]] += 1 / 4000
    # Five standard errors of a share.
    expected = data.joint(task).table
    assert (np.abs(counted - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4000)).all()


@pytest.mark.parametrize(
    ("task", "audio", "video", "together", "share_audio", "dominant"),
    [
        ("seen", 1 / 3, 1, 1, 0, "video"),
        ("heard", 1, 1 / 3, 1, 1, "audio"),
        ("both", 1 / 3, 1 / 3, 1, 0.5, "neither"),
        # Known unless erased, then guessed: 0.85 + 0.15 / 3; together 1 - 0.0225 * 2 / 3.
        ("either", 0.9, 0.9, 0.985, 0.5, "neither"),
        # 0.4 + 0.6 / 3, 0.8 + 0.2 / 3, 1 - 0.12 * 2 / 3; Shapley 0.16 and 0.426667.
        ("mostly_seen", 0.6, 13 / 15, 0.92, 3 / 11, "video"),
    ],
)
def test_answers_agree_with_hand_computed_ones(task, audio, video, together, share_audio, dominant):
    answer = KnownAnswer(ALL).answers()[task]
    assert answer["bayes_accuracy"] == pytest.approx(
        {"": 1 / 3, "audio": audio, "video": video, "audio,video": together}, abs=1e-9
    )
    assert answer["share"] == pytest.approx({"audio": share_audio, "video": 1 - share_audio}, abs=1e-9)
    assert answer["dominant"] == dominant


def test_information_of_erased_symbols_is_what_comes_through():
    """A symbol of 3, erased with chance e, tells (1 - e) log2 3 bits; two of them tell 1 - e_a e_v of it."""
    bits, whole = KnownAnswer(ALL).answers()["mostly_seen"]["information_bits"], np.log2(3)
    assert bits == pytest.approx(
        {"redundant": 0.4 * whole, "unique_audio": 0, "unique_video": 0.4 * whole, "synergy": 0.08 * whole}, abs=1e-9
    )


def test_never_erased_means_perfectly_redundant():
    data = KnownAnswer(["either"], erasures={"either": {"audio": 0, "video": 0}})
    assert bayes_accuracy(data.joint("either")) == pytest.approx({"": 1 / 3, "audio": 1, "video": 1, "audio,video": 1})


def test_clips_can_share_a_source_video():
    assert KnownAnswer(["seen"], clips=5, clips_per_group=2).manifest()["group"].value_counts().tolist() == [2, 2, 1]
    assert KnownAnswer(["seen"], clips=5).manifest()["group"].is_unique


def test_colours_and_pitches_are_all_distinct():
    for symbols in (2, 3, 6):
        pairs = [(component, symbol) for component in range(3) for symbol in range(symbols)]
        assert len({drawn.colour(*pair, symbols) for pair in pairs} | {(0, 0, 0)}) == len(pairs) + 1
        pitches = sorted(drawn.pitch(*pair, symbols) for pair in pairs)
        assert min(high / low for low, high in pairwise(pitches)) > 1.1


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        (["sen"], {}, "did you mean 'seen'"),
        (["seen"], {"clips": 0}, "clips is a whole number"),
        (["seen"], {"clips": "many"}, "clips is a whole number"),
        (["seen"], {"size": 63}, "even"),
        (["seen"], {"seconds": 1, "fps": 4}, "under 16 frames"),
        (["seen"], {"erasures": {"seen": {"audio": 0.1}}}, "erasures"),
        (["seen"], {"erasures": {"either": {"audio": 1.5}}}, "erasures.either.audio"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(tasks, options, message):
    with pytest.raises(UserError, match=message) as caught:
        KnownAnswer(tasks, **options)
    assert "\n" not in str(caught.value)
