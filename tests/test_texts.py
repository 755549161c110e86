"""Texts as people have them become bytes of one length, or a row with a cause."""

import warnings

import numpy as np
import pytest

from modalens.datasets import Reads
from modalens.datasets.folder import Folder
from modalens.media.failure_causes import ClipError, ClipNote
from modalens.media.text import read_text
from modalens.modalities import load_modality


def read(cell, max_bytes=64):
    """The text, and the causes that were noted."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ClipNote)
        row, _ = read_text(cell, max_bytes)
    assert (row.shape, row.dtype) == ((max_bytes,), np.uint8)
    return load_modality("text", {"max_bytes": max_bytes}).show(row), [one.message.cause for one in said]


@pytest.mark.parametrize(
    "cell",
    ["Bath towel, 3 pieces", "مِنشفة قطنية", "שלום", "棉质浴巾", "👩‍👩‍👧 is one family", "two\nlines\tand a tab"],
    ids=["latin", "right to left", "right to left, too", "wide", "emoji", "lines"],
)
def test_a_text_comes_back_as_it_is(cell):
    assert read(cell) == (cell, [])


def test_the_same_word_composed_or_not_is_the_same_bytes():
    assert read("cafe\N{COMBINING ACUTE ACCENT}")[0] == "café"


@pytest.mark.parametrize("cell", ["", "  \n ", "\0\0", "\x07\x1b"])
def test_a_text_without_a_letter_is_absent(cell):
    with pytest.raises(ClipError) as caught:
        read(cell)
    assert caught.value.cause == "absent"


def test_control_characters_and_halves_of_characters_do_not_end_a_text():
    assert read("a\0b\x1b[31m\ud800c") == ("ab[31mc", [])


@pytest.mark.parametrize("letter", ["a", "é", "棉", "👩"])
def test_a_long_text_ends_with_a_whole_character_and_is_noted(letter):
    text, notes = read(letter * 1_000_000, 31)
    assert text == letter * (31 // len(letter.encode()))
    assert notes == ["cut_text"]


def test_what_nobody_could_decode_is_noted():
    assert read("caf\N{REPLACEMENT CHARACTER}") == ("caf\N{REPLACEMENT CHARACTER}", ["undecoded"])


def test_a_list_that_is_not_utf_8_or_holds_a_megabyte_of_text_is_read(tmp_path, caplog):
    reads = Reads(["title"], [], "none")
    for text, encoding in (("Café", "latin-1"), ("x" * 2**20, "utf-8")):
        (tmp_path / "a.csv").write_bytes(f'clip_id,title,kind\n1,"{text}",a\n'.encode(encoding))
        dataset = Folder(["kind", "title"], csv=str(tmp_path / "a.csv"))
        dataset.reads = reads
        assert dataset.manifest()["title"][0] == text
    assert "read as Latin-1" in caplog.text


def test_texts_that_say_almost_the_same_are_near_and_others_are_not():
    text = load_modality("text", {"max_bytes": 400})
    told = [
        "Sathiyas cotton bath towel (3 bath towel, red, yellow, blue), machine washable, self design",
        "SATHIYAS Cotton Bath Towel, 3 bath towel: red, yellow, blue. Machine washable; self-design!",
        "Eurospa cotton terry face towel set, 20 pieces, assorted, light and soft on the skin",
        "Lapguard laptop battery for HP Pavilion, six cells, one year of warranty",
        "Elegance polyester multicolour abstract eyelet door curtain, 213 cm in height, pack of two",
    ]
    sketches = np.stack([text.sketch(read_text(one, 400)[0]) for one in told])
    alike = text.similarity(sketches)
    values = alike.of_pairs(np.zeros(4, int), np.arange(1, 5))
    assert values[0] > alike.threshold > values[1:].max()
    words = [int(text.word(sketch), 16) for sketch in sketches]
    assert (words[0] ^ words[1]).bit_count() < 256 * text.word_tolerance < (words[0] ^ words[2]).bit_count()


def test_blank_is_the_empty_text_and_noise_can_be_read():
    text = load_modality("text", {"max_bytes": 50})
    assert text.show(text.blank()) == ""
    assert text.show(text.noise(np.random.default_rng(0))).isprintable()
