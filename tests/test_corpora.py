"""Corpora as their owners lay them out: whole ones made of empty files, and damaged ones, which are one line."""

import wave
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from modalens.datasets import crema_d, grid, iemocap, lrw, lrw1000, ravdess
from modalens.media.failure_causes import ClipError
from modalens.media.sources import DownloadOptions
from modalens.utils.errors import UserError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def line_of(dataset) -> str:
    with pytest.raises(UserError) as caught:
        dataset.manifest()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def crema_names():
    """Every actor says each sentence in six emotions, the first one at three levels."""
    emotions = [name for name in crema_d.EMOTIONS if name != "NEU"]
    for actor in crema_d.ACTORS:
        for sentence in crema_d.SENTENCES:
            levels = ("LO", "MD", "HI") if sentence == "IEO" else ("XX",)
            yield from (f"{actor}_{sentence}_{emotion}_{level}" for emotion in emotions for level in levels)
            yield f"{actor}_{sentence}_NEU_XX"


def test_crema_d_has_91_actors_whom_no_split_shares_and_six_emotions(tmp_path):
    # 91 x (3 x 5 + 11 x 5 + 12) = 7,462 names; 20 of the recordings were lost.
    names = list(crema_names())[20:]
    root = touch(tmp_path, *(f"VideoFlash/{name}.flv" for name in names))
    table = crema_d.CremaD(["emotion", "sentence"], root=str(root)).manifest()
    assert len(table) == 7442
    assert table["group"].nunique() == 91
    assert sorted(table["emotion"].unique()) == ["anger", "disgust", "fear", "happy", "neutral", "sad"]
    assert table["sentence"].nunique() == 12
    assert (table["group"] == table["clip_id"].str[:4]).all()


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["1001_DFA_ANG_XX.flv"], "actors missing: 1002, 1003, 1004, 1005, 1006 … (90 of 91)"),
        (["1001_DFA_JOY_XX.flv"], "1001_DFA_JOY_XX.flv: emotion 'JOY' is none of ANG, DIS, FEA, HAP, NEU, SAD"),
        (["1001_XYZ_ANG_XX.flv"], "sentence 'XYZ' is none of"),
        (["2001_DFA_ANG_XX.flv"], "actor '2001' is none of 1001, 1002"),
        (["readme.txt"], "no .flv or .mp4 file lies below"),
        (["film.flv"], "no file below"),
        (["1001_DFA_ANG_HI.flv"], "expected level XX of sentence DFA and emotion ANG, got HI"),
        (["1001_IEO_NEU_HI.flv"], "expected level XX of sentence IEO and emotion NEU, got HI"),
        (["1001_IEO_ANG_XX.flv"], "expected level LO, MD or HI of sentence IEO and emotion ANG, got XX"),
        (["a/1001_DFA_ANG_XX.flv", "b/1001_DFA_ANG_XX.mp4"], "actors missing"),
    ],
)
def test_a_damaged_crema_d_is_one_line(tmp_path, names, line):
    assert line in line_of(crema_d.CremaD(["emotion"], root=str(touch(tmp_path, *names))))


def test_a_corpus_that_lies_there_twice_is_refused_with_both_places(tmp_path):
    root = touch(tmp_path, "a/1001_DFA_ANG_XX.flv", "b/1001_DFA_ANG_XX.mp4")
    line = line_of(crema_d.CremaD(["emotion"], root=str(root), partial=True))
    assert "a/1001_DFA_ANG_XX.flv and " in line
    assert "1 clip id occurs again, first '1001_DFA_ANG_XX'" in line
    assert line.endswith("name the folder of one of the two copies as root")


def test_a_clip_that_lies_twice_in_one_folder_is_not_sent_to_that_folder(tmp_path):
    root = touch(tmp_path, "1001_DFA_ANG_XX.flv", "1001_DFA_ANG_XX.mp4")
    line = line_of(crema_d.CremaD(["emotion"], root=str(root), partial=True))
    assert line.endswith("take one of the two out")


def test_files_of_other_names_are_counted_in_the_log(tmp_path, caplog):
    root = touch(tmp_path, "1001_DFA_ANG_XX.flv", "notes.flv", "._1001_DFA_ANG_XX.flv")
    assert len(crema_d.CremaD(["emotion"], root=str(root), partial=True).manifest()) == 1
    assert "1 file is not named like 1001_DFA_ANG_XX" in caplog.text


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    assert "is no folder" in line_of(crema_d.CremaD(["emotion"], root=str(tmp_path / "none")))


def test_a_task_that_nobody_labelled_is_refused():
    with pytest.raises(UserError, match="dataset crema_d has no task 'emotoin'; did you mean 'emotion'"):
        crema_d.CremaD(["emotoin"], root=".")


def ravdess_names(kinds=("01", "02")):
    for actor in range(1, 25):
        for kind in kinds:
            for channel, emotions in (("01", 8), ("02", 6)):
                if channel == "02" and actor == 18:
                    continue
                for emotion in range(1, emotions + 1):
                    for intensity in (1, 2) if emotion > 1 else (1,):
                        for statement in (1, 2):
                            for again in (1, 2):
                                digits = (channel, emotion, intensity, statement, again, actor)
                                code = "-".join(f"{int(part):02d}" for part in digits)
                                yield f"Actor_{actor:02d}/{kind}-{code}.mp4"


def test_ravdess_has_1440_clips_of_speech_and_1012_of_song_each_once(tmp_path):
    root = touch(tmp_path, *ravdess_names())
    speech = ravdess.Ravdess(["emotion", "statement"], root=str(root)).manifest()
    assert len(speech) == 1440
    assert speech["group"].nunique() == 24
    assert speech["emotion"].nunique() == 8
    song = ravdess.Ravdess(["emotion"], root=str(root), channels=("song",)).manifest()
    assert len(song) == 1012
    assert song["group"].nunique() == 23
    both = ravdess.Ravdess(["channel"], root=str(root), channels=("speech", "song")).manifest()
    assert both["channel"].value_counts().to_dict() == {"speech": 1440, "song": 1012}


def test_a_damaged_ravdess_is_one_line(tmp_path):
    names = [name for name in ravdess_names(("01",)) if not name.startswith("Actor_07/")]
    root = touch(tmp_path, *names)
    assert "actors of speech missing: 07 (1 of 24)" in line_of(ravdess.Ravdess(["emotion"], root=str(root)))
    touch(tmp_path, "Actor_07/01-01-09-01-02-01-07.mp4")
    assert "emotion '09' is none of 01, 02" in line_of(ravdess.Ravdess(["emotion"], root=str(root)))
    (tmp_path / "Actor_07/01-01-09-01-02-01-07.mp4").rename(tmp_path / "Actor_07/01-01-08-01-02-01-07.mp4")
    assert "1,381 clips of speech, 1,440 were published" in line_of(ravdess.Ravdess(["emotion"], root=str(root)))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Actor_02/01-01-06-01-02-01-01", "a clip of actor 01 lies in the folder of actor 02"),
        ("Video_Song_Actor_02/01-02-03-01-02-01-01", "a clip of actor 01 lies in the folder of actor 02"),
        ("Actor_01/01-02-07-01-02-01-01", "expected no song with disgust of actor 01"),
        ("Actor_18/01-02-03-01-02-01-18", "expected no song with happy of actor 18"),
        ("Actor_01/01-01-01-02-02-01-01", "expected neutral of normal intensity, got strong"),
        ("Actor_01/01-01-06-01-02-09-01", "repetition '09' is none of 01, 02"),
        ("Actor_01/09-01-06-01-02-01-01", "modality '09' is none of 01, 02, 03"),
    ],
)
def test_a_name_that_contradicts_the_layout_of_ravdess_is_one_line(tmp_path, name, line):
    root = touch(tmp_path, "Actor_03/01-01-06-01-02-01-03.mp4", f"{name}.mp4")
    assert line in line_of(ravdess.Ravdess(["emotion"], root=str(root), partial=True))


def sentences(count):
    for place in range(count):
        command, rest = "blps"[place % 4], place // 4
        colour, letter, digit = "bgrw"[rest % 4], grid.LETTERS[rest // 4 % 25], "z123456789"[rest // 100 % 10]
        yield f"{command}{colour}a{letter}{digit}n"


def test_grid_s_names_are_its_six_words_and_talkers_are_its_groups(tmp_path):
    root = touch(
        tmp_path, *(f"s{talker}/video/mpg_6000/{name}.mpg" for talker in (1, 2, 3) for name in sentences(1000))
    )
    dataset = grid.Grid(["command", "colour", "preposition", "letter", "digit", "adverb"], root=str(root))
    table = dataset.manifest().set_index("clip_id")
    assert len(table) == 3000
    assert set(table["group"]) == {"s1", "s2", "s3"}
    words = table.loc["s2_lbaa" + "zn", ["command", "colour", "preposition", "letter", "digit", "adverb"]]
    assert words.tolist() == ["lay", "blue", "at", "a", "zero", "now"]


def test_grid_splits_by_sentences_and_by_lipnet_s_unseen_talkers(tmp_path):
    root = touch(tmp_path, *(f"s{talker}/{name}.mpg" for talker in (1, 2, 3, 20, 22) for name in sentences(8)))
    options = {"root": str(root), "partial": True}
    assert grid.Grid(["digit"], split="sentences", **options).manifest()["group"].nunique() == 40
    unseen = grid.Grid(["digit"], split="unseen", **options).manifest()
    assert set(unseen.loc[unseen["split"] == "test", "group"]) == {"s1", "s2", "s20", "s22"}
    line = line_of(grid.Grid(["digit"], split="unseen", talkers=["s1", "s3"], **options))
    assert line.endswith(
        "talkers missing: s2, s20, s22 (3 of 4); split unseen tests s1, s2, s20 and s22: unpack them, and name them "
        "where `talkers` is set"
    )
    line = line_of(grid.Grid(["digit"], talkers=["s1", "s5"], **options))
    assert line.endswith("talkers missing: s5 (1 of 2); unpack the rest, or take what is missing out of `talkers`")


def test_grid_s_own_clips_say_what_their_list_says(shared, tmp_path):
    (tmp_path / "s1").symlink_to(shared / "grid/video")
    tasks = ["command", "colour", "preposition", "letter", "digit", "adverb"]
    table = grid.Grid(tasks, root=str(tmp_path), split="sentences", partial=True).manifest()
    told = pd.read_csv(shared / "grid/labels.csv", dtype=str, keep_default_na=False)
    told.index = "s1_" + told["file"].map(lambda file: Path(file).stem)
    found = table.set_index("clip_id")[tasks]
    pd.testing.assert_frame_equal(found, told.loc[found.index, tasks], check_names=False)


@pytest.mark.parametrize(
    ("names", "options", "line"),
    [
        (["s1/bbaf2n.mpg"], {}, "1 talker is there (s1), no three splits without a shared talker"),
        (["x/bbaf2n.mpg"], {"split": "sentences"}, "lies in no folder of a talker"),
        (["s21/bbaf2n.mpg"], {"split": "sentences"}, "lies in no folder of a talker"),
        (["s1/bbaw2n.mpg"], {"split": "sentences"}, "letter 'w' is none of"),
        (["s1/bbaf0n.mpg"], {"split": "sentences"}, "digit '0' is none of z, 1"),
        (["s1/bbaf2n.mpg"], {"split": "sentences"}, "1 sentence of s1, 1,000 were published"),
        (["s1/s2/bbaf2n.mpg"], {"split": "sentences"}, "lies in the folders of two talkers, s1 and s2"),
        (["s1/bbaf2n.mpg"], {"split": "sentences", "talkers": ["s1", "s2"]}, "talkers missing: s2 (1 of 2)"),
        (
            ["s1/a/bbaf2n.mpg", "s1/b/bbaf2n.mpg"],
            {"split": "sentences", "partial": True},
            "occurs again, first 's1_bbaf2n'",
        ),
    ],
)
def test_a_damaged_grid_is_one_line(tmp_path, names, options, line):
    assert line in line_of(grid.Grid(["digit"], root=str(touch(tmp_path, *names)), **options))


def test_lrw_s_folders_are_words_and_splits(tmp_path):
    names = [
        f"{word}/{split}/{word}_{number:05d}.mp4"
        for word in ("ABOUT", "DON'T")
        for split in ("train", "val", "test")
        for number in (1, 2)
    ]
    table = lrw.Lrw(["word"], root=str(touch(tmp_path, *names)), partial=True).manifest()
    assert len(table) == 12
    assert table["split"].value_counts().to_dict() == {"train": 4, "validation": 4, "test": 4}
    assert table["word"].tolist().count("DON'T") == 6
    one = lrw.Lrw(["word"], root=str(tmp_path), words=["ABOUT"]).manifest()
    assert set(one["word"]) == {"ABOUT"}


@pytest.mark.parametrize(
    ("names", "options", "line"),
    [
        (["ABOUT/train/ABOUT_00001.mp4"], {}, "1 word, 500 were published"),
        (["ABOUT/val/ABOUT_00051.mp4"], {"partial": True}, "expected a number of 1 to 50 in val, got 00051"),
        (["ABOUT/training/ABOUT_00001.mp4"], {"partial": True}, "folder 'training' is none of train, val, test"),
        (["ABOUT/train/ABSENT_00001.mp4"], {"partial": True}, "the word ABSENT lies in the folder of ABOUT"),
        (["ABOUT/train/ABOUT_00001.mp4"], {"words": ["ABOUT", "ZERO"]}, "words missing: ZERO (1 of 2); unpack"),
    ],
)
def test_a_damaged_lrw_is_one_line(tmp_path, names, options, line):
    assert line in line_of(lrw.Lrw(["word"], root=str(touch(tmp_path, *names)), **options))


HEAD = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"


def session(root: Path, number: int, labels: list[str]) -> None:
    name = f"Ses{number:02d}F_impro01"
    folder = root / f"Session{number}/dialog"
    (folder / "EmoEvaluation").mkdir(parents=True)
    (folder / "transcriptions").mkdir()
    rows = [
        f"[{place}.2901 - {place}.9000]\t{name}_F{place:03d}\t{label}\t[2.5000, 3.0000, 2.0000]\nC-E1:\tNeutral;\t()\n"
        for place, label in enumerate(labels)
    ]
    (folder / f"EmoEvaluation/{name}.txt").write_text(HEAD + "".join(rows))
    said = [f"{name}_F{place:03d} [{place:07.4f}-{place:07.4f}]: Excuse me.\n" for place in range(len(labels))]
    (folder / f"transcriptions/{name}.txt").write_text("".join(said))


def whole_iemocap(root: Path) -> str:
    """5,531 utterances of the four classes, 10,039 in all, as published."""
    counts = {"ang": 1103, "hap": 595, "exc": 1041, "sad": 1084, "neu": 1708, "fru": 1849, "xxx": 2507}
    counts |= {"sur": 107, "fea": 40, "oth": 3, "dis": 2}
    labels = [label for label, count in counts.items() for _ in range(count)]
    for number in range(1, 6):
        session(root, number, labels[number - 1 :: 5])
    return str(root)


def test_iemocap_has_5531_utterances_of_four_classes_and_sessions_are_its_groups(tmp_path):
    root = whole_iemocap(tmp_path)
    table = iemocap.Iemocap(["emotion"], root=root).manifest()
    assert table["emotion"].value_counts().to_dict() == {"neutral": 1708, "happy": 1636, "anger": 1103, "sad": 1084}
    assert set(table["group"]) == {f"Session{number}" for number in range(1, 6)}
    first = table.iloc[0]
    assert first["source"].endswith("Session1/dialog/avi/DivX/Ses01F_impro01.avi")
    assert first[["start_s", "end_s", "text"]].tolist() == ["0.2901", "0.9", "Excuse me."]
    several = iemocap.Iemocap(["emotion", "valence"], root=root, classes="all", media="audio").manifest()
    assert len(several) == 10_039
    assert several["emotion"].eq("").sum() == 2507  # the judges did not agree
    assert several["source"].iloc[0].endswith("sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav")
    assert set(several["valence"]) == {"2.5000"}


def test_utterances_of_iemocap_are_split_in_the_paper_s_sizes_by_a_seed(tmp_path):
    root = whole_iemocap(tmp_path)
    first, again, other = (
        iemocap.Iemocap(["emotion"], root=root, split="utterances", seed=seed).manifest() for seed in (0, 0, 1)
    )
    assert first["split"].value_counts().to_dict() == {"train": 3871, "test": 1107, "validation": 553}
    assert first["split"].equals(again["split"])
    assert not first["split"].equals(other["split"])


def test_a_damaged_iemocap_is_one_line(tmp_path):
    session(tmp_path, 1, ["ang", "neu"])
    dataset = iemocap.Iemocap(["emotion"], root=str(tmp_path))
    assert "sessions missing: Session2, Session3, Session4, Session5 (4 of 5)" in line_of(dataset)
    partial = iemocap.Iemocap(["emotion"], root=str(tmp_path), partial=True)
    assert len(partial.manifest()) == 2
    path = tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    whole = path.read_text()
    for old, new, line in [
        ("\tang\t", "\tjoy\t", "line 3: emotion 'joy' is none of"),
        ("[0.2901 - ", "[0.2901 ", "line 3: expected [start - end] utterance emotion"),
        ("Ses01F_impro01_F000", "Ses02F_impro01_F000", "line 3: utterance Ses02F_impro01_F000 is of another dialogue"),
        ("0.9000", "0.1", "line 3: expected an end after the start 0.2901, got 0.1"),
        ("[2.5000", "[9.5", "line 3: expected valence of 1 to 5, got 9.5"),
        (whole, "", f"{path.name}: expected lines [start - end] utterance emotion [v, a, d], got none"),
    ]:
        path.write_text(whole.replace(old, new))
        assert line in line_of(partial)
    row = whole.splitlines(keepends=True)[2]
    path.write_text(whole + row)
    line = line_of(partial)
    assert f"({path}, line 3 and {path}, line 7); take one of the two out" in line
    path.write_text(whole)
    (tmp_path / "Session2/dialog/EmoEvaluation").mkdir(parents=True)
    path.rename(tmp_path / "Session2/dialog/EmoEvaluation" / path.name)
    # Session1's actors would be in two groups, and so in two splits.
    assert "the dialogue Ses01F_impro01 lies in the folder Session2" in line_of(partial)


def write_lrw1000(root: Path) -> Path:
    for video in ("aa11", "bb22"):
        (root / "images" / video).mkdir(parents=True)
        for number in range(1, 31):
            pixels = np.full((48, 64, 3), 8 * number, np.uint8)
            Image.fromarray(pixels).save(root / "images" / video / f"{number}.jpg", quality=95)
    (root / "audio").mkdir()
    (root / "info").mkdir()
    every = []
    for place, (video, name, start) in enumerate([("aa11", "trn", 0.2), ("aa11", "val", 0.6), ("bb22", "tst", 0.0)]):
        with wave.open(str(root / f"audio/sound{place}.wav"), "wb") as sound:
            sound.setparams((1, 2, 16000, 0, "NONE", ""))
            sound.writeframes((1000 * (place + 1) * np.ones(6400, "<i2")).tobytes())
        every.append(f"{video},sound{place},一切,yi qie,{start},{start + 0.4:.2f}\n")
        (root / f"info/{name}_1000.txt").write_text(f"{video},一切,yi qie,{start:.2f},{start + 0.4:.1f}\n", "utf-8")
    (root / "info/all_audio_video.txt").write_text("".join(every), "utf-8")
    return root


def test_lrw1000_joins_its_lists_and_makes_a_clip_of_pictures_and_sound(tmp_path):
    root = write_lrw1000(tmp_path / "corpus")
    table = lrw1000.Lrw1000(["word"], root=str(root), partial=True).manifest()
    assert table[["clip_id", "group", "split", "word", "text"]].to_numpy().tolist() == [
        ["aa11_0.2_0.6", "aa11", "train", "yi qie", "一切"],
        ["aa11_0.6_1", "aa11", "validation", "yi qie", "一切"],
        ["bb22_0_0.4", "bb22", "test", "yi qie", "一切"],
    ]
    fetched = lrw1000.Lrw1000.fetch(table["source"][1], None, None, tmp_path / "clip", DownloadOptions())
    with av.open(str(fetched.path)) as container:
        grey = [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]
    with av.open(str(fetched.path)) as container:
        heard = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
    # Pictures 16 to 25: 0.6 s to 1.0 s, counted from 1.
    assert grey == pytest.approx([8 * number for number in range(16, 26)], abs=2)
    assert heard.tolist() == [2000] * 6400


def test_a_damaged_lrw1000_is_one_line_or_a_clip_with_its_cause(tmp_path):
    root = write_lrw1000(tmp_path / "corpus")
    dataset = lrw1000.Lrw1000(["word"], root=str(root), partial=True)
    assert "1 row of trn_1000.txt, 603,193 were published" in line_of(lrw1000.Lrw1000(["word"], root=str(root)))
    path = root / "info/trn_1000.txt"
    whole = path.read_text("utf-8")
    for old, new, line in [
        ("0.20", "0.30", "names no sound for aa11, 'yi qie', 0.30 to 0.6 s"),
        (",0.20", "", "trn_1000.txt, line 1: expected 5 cells"),
        ("0.20", "soon", "line 1: 'soon' is no number of seconds"),
        ("0.20", "0.90", "line 1: end 0.6 lies before start 0.90"),
        ("aa11", "../aa11", "'../aa11' is no name of a video or a sound"),
        (whole, 2 * whole, f"({path}, line 1 and {path}, line 2); take one of the two out"),
        (whole, "\n", "trn_1000.txt is empty; fetch it anew"),
    ]:
        path.write_text(whole.replace(old, new), "utf-8")
        assert line in line_of(dataset)
    path.write_text(whole, "utf-8")
    source = dataset.manifest()["source"][0]
    (root / "audio/sound0.wav").write_bytes(b"RIFF")
    with pytest.raises(ClipError) as caught:
        lrw1000.Lrw1000.fetch(source, None, None, tmp_path / "clip", DownloadOptions())
    assert caught.value.cause == "not_media"
    (root / "audio/sound0.wav").unlink()
    with pytest.raises(ClipError) as caught:
        lrw1000.Lrw1000.fetch(source, None, None, tmp_path / "clip", DownloadOptions())
    assert caught.value.cause == "missing"
    path.unlink()
    assert "trn_1000.txt cannot be read" in line_of(dataset)
