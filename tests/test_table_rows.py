"""Cells of a table become numbers and codes, or a row with a cause."""

import numpy as np
import pytest

from modalens.media.failure_causes import ClipError
from modalens.media.table_row import CODES, code, read_row
from modalens.modalities import load_modality

COLUMNS = ["price", "brand", "stars"]


def read(*cells):
    return read_row(cells, COLUMNS, ["brand"])[0]


def test_a_number_a_category_and_what_is_missing_are_told_apart():
    assert read("12.5", " Acme ", "0").tolist() == [[12.5, 1, 0], [0, 1, code("Acme")], [0, 1, 0]]
    for empty in ("", " ", "NA", "nan", "None", "n/a", "NULL"):
        assert read(empty, empty, "1").tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 0]]


def test_a_code_is_the_same_everywhere_and_float32_holds_it():
    assert code("Acme") == 14777648
    codes = np.array([code(str(number)) for number in range(5000)])
    assert len(set(codes)) == 5000
    assert codes.min() >= 1
    assert codes.max() <= CODES
    assert (codes.astype(np.float32).astype(int) == codes).all()


@pytest.mark.parametrize("cell", ["red", "1,5", "inf", "1e400", "1_000", "0x1f", "12 EUR", "1e39"])
def test_a_cell_that_is_no_number_has_a_cause_that_names_the_column(cell):
    with pytest.raises(ClipError, match="price: expected a") as caught:
        read(cell, "a", "1")
    assert caught.value.cause == "damaged"


def test_a_row_without_a_cell_is_absent():
    with pytest.raises(ClipError) as caught:
        read("", "NA", "")
    assert caught.value.cause == "absent"


def test_blank_is_a_row_of_missing_cells_and_noise_has_categories_that_nobody_has_seen():
    table = load_modality("table", {"columns": COLUMNS, "categories": ["brand"]})
    assert not table.blank().any()
    noise = table.noise(np.random.default_rng(0))
    assert noise[:, 1].tolist() == [1, 1, 1]
    assert (noise[:, 2] > 0).tolist() == [False, True, False]
    assert table.show(read("2", "", "3.5")) == "price 2, brand missing, stars 3.5"
