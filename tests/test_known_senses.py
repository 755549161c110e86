"""The known answers of five modalities, and the words of texts counted."""

import numpy as np
import pytest
import torch

from modalens.datasets.known_senses import ERASED, MODALITIES, KnownSenses
from modalens.encoders import load_encoder
from modalens.media.series import read_series
from modalens.media.text import read_text
from modalens.utils.errors import UserError

ALL = ",".join(MODALITIES)


def made(tmp_path, clips=40, tasks=("everywhere", "sum", "written"), **options):
    return KnownSenses([*tasks], folder=str(tmp_path / "files"), clips=clips, **options)


def test_answers_follow_from_the_chances(tmp_path):
    answers = made(tmp_path).answers()
    nothing = np.prod(list(ERASED.values()))
    assert answers["everywhere"]["bayes_accuracy"][ALL] == pytest.approx(1 - nothing * 2 / 3)
    assert answers["everywhere"]["bayes_accuracy"]["audio"] == pytest.approx(0.5 + 0.5 / 3)
    assert answers["written"]["share"] == {"audio": 0, "series": 0, "table": 0, "text": 1, "video": 0}
    assert answers["sum"]["shapley_accuracy"]["series"] == pytest.approx(1 / 3)
    assert answers["sum"]["bayes_accuracy"]["series"] == pytest.approx(1 / 3)
    for answer in answers.values():
        gained = answer["bayes_accuracy"][ALL] - answer["bayes_accuracy"][""]
        assert sum(answer["shapley_accuracy"].values()) == pytest.approx(gained)


def test_what_a_clip_lacks_says_nothing(tmp_path):
    answers = made(tmp_path, lacking={"text": 0.3, "series": 0.1}).answers()
    assert answers["written"]["bayes_accuracy"][ALL] == pytest.approx(0.7 + 0.3 / 3)
    assert answers["sum"]["bayes_accuracy"][ALL] == pytest.approx(0.9 + 0.1 / 3)


def test_answers_go_by_the_modalities_that_the_study_looks_at(tmp_path):
    answer = made(tmp_path, modalities=["table", "text"]).answers()["everywhere"]
    assert set(answer["shapley_accuracy"]) == {"table", "text"}
    assert answer["bayes_accuracy"]["table,text"] == pytest.approx(1 - ERASED["table"] * ERASED["text"] * 2 / 3)


def test_clips_are_drawn_by_the_stated_distribution(tmp_path):
    table = made(tmp_path, clips=600, lacking={"text": 0.3}).manifest()
    assert table["clip_id"].is_unique
    there = table[table["text"] != ""]
    assert abs(len(there) / 600 - 0.7) < 0.06
    colours = dict(zip("ABC", ("red", "green", "blue"), strict=True))
    shown = np.array([colours[label] in text for label, text in zip(there["everywhere"], there["text"], strict=True)])
    assert abs(shown.mean() - (1 - ERASED["text"])) < 0.08
    assert abs((table["colour"] == "").mean() - ERASED["table"]) < 0.08
    assert set(table["colour"]) == {"", *colours.values()}
    row, *_ = read_series(table["series"][0], 6, 40, 0, 0, "cut", "refuse", [], "", "")
    weight = round(float(table["weight"][0]) / 10)
    assert "ABC"[(int(row[:, 3:].mean(0).argmax()) + weight) % 3] == table["sum"][0]


def test_more_clips_keep_the_first_ones_and_their_files(tmp_path):
    few, more = made(tmp_path, clips=5).manifest(), made(tmp_path, clips=8).manifest()
    assert few.equals(more[:5])
    assert len(list((tmp_path / "files" / "series").iterdir())) == 8


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"tasks": ["everwhere"]}, "no task or column 'everwhere'; did you mean 'everywhere'"),
        ({"symbols": 9}, "expected 2 to 6 symbols"),
        ({"lacking": {"audio": 0.5}}, "lacking: expected series, table, text"),
        ({"lacking": {"text": 1.0}}, "a share below 1"),
        ({"modalities": ["smell"]}, "no modality 'smell'"),
    ],
)
def test_options_that_cannot_be_are_one_line(tmp_path, options, line):
    with pytest.raises(UserError, match=line):
        made(tmp_path, **options)


def test_words_are_counted_without_regard_to_case_and_order():
    encoder = load_encoder("term_counts", {"terms": 512}, torch.device("cpu"))
    told = ["Red cotton towel, red!", "towel RED cotton red", "a steel cup", ""]
    rows = [read_text(text, 64)[0] if text else np.zeros(64, np.uint8) for text in told]
    counts = encoder.encode(torch.from_numpy(np.stack(rows)))
    assert counts.shape == (4, 512)
    assert torch.equal(counts[0], counts[1])
    assert sorted(counts[0][counts[0] > 0].tolist()) == [1, 1, 2]
    assert counts.sum(1).tolist() == [4, 4, 2, 0], "one letter is no word"
    pairs = load_encoder("term_counts", {"terms": 512, "words": 2}, torch.device("cpu"))
    assert pairs.encode(torch.from_numpy(np.stack(rows)))[0].sum() == 7
    with pytest.raises(UserError, match="terms from 2"):
        load_encoder("term_counts", {"terms": 1}, torch.device("cpu"))
