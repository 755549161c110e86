"""What models learn of tables and terms from training clips, before they learn."""

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import QuantileTransformer

from modalens.media.table_row import code, read_row
from modalens.models import build, load_model, shape_of
from modalens.models._base import TrainedModel
from modalens.models._fitted import Fields, Terms
from modalens.plugins import registry

COLUMNS = ["brand", "price", "rating"]


def table(*cells):
    """Rows of brand, price, rating -> (N, 3, 3)."""
    return torch.from_numpy(np.stack([read_row(row, COLUMNS, ["brand"])[0] for row in cells]))


TRAIN = table(("a", "100", "1"), ("b", "300", ""), ("a", "", "3"), ("b", "200", "2"))


def fields(rows=TRAIN):
    made = Fields(shape_of(("field", "part"), rows, "here"))
    made.fit([rows[:1], rows[1:]])
    return made


def test_numbers_are_placed_among_the_training_clips_and_a_missing_one_is_the_mean():
    found = fields()(TRAIN)
    assert found.shape == (4, 2 * 3 + 2)
    assert found[:, 1].tolist() == pytest.approx([-1.2247, 1.2247, 0, 0], abs=1e-4)
    assert found[:, 2].tolist() == pytest.approx([-1.2247, 0, 1.2247, 0], abs=1e-4)
    assert found[:, 3:6].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]], "what is missing is told"


def test_a_category_is_one_hot_and_one_that_training_has_not_seen_is_none_of_them():
    made = fields()
    seen = {name: made(table((name, "100", "1")))[0, 6:].tolist() for name in ("a", "b", "never seen")}
    assert sorted(map(tuple, (seen["a"], seen["b"]))) == [(0, 1), (1, 0)]
    assert seen["never seen"] == [0, 0]
    assert code("a") != code("b")


def test_a_category_of_one_training_clip_is_as_unknown_as_one_of_none():
    rows = table(("a", "100", "1"), ("a", "100", "2"), ("rare", "100", "3"))
    found = fields(rows)(rows)
    assert found[:, 6:].tolist() == [[1], [1], [0]]


def test_numbers_are_scikit_learns_normal_quantiles_whatever_their_spread_and_outliers_stay_small():
    draw = np.random.default_rng(0)
    prices = np.exp(draw.normal(6, 2, 300)).round(2)
    made = fields(rows := table(*(("a", str(price), "1") for price in prices)))
    found = made(rows)[:, 1].numpy()
    wanted = QuantileTransformer(n_quantiles=65, output_distribution="normal").fit_transform(prices[:, None])[:, 0]
    inner = np.abs(wanted) < 2
    assert np.corrcoef(found[inner], wanted[inner])[0, 1] > 0.9999
    assert [found.mean(), found.std()] == pytest.approx([0, 1], abs=1e-5)
    outside = made(table(("a", "1e30", "1"), ("a", "-1e30", "1")))[:, 1]
    assert outside.tolist() == pytest.approx([found.max(), found.min()])


def test_of_a_number_that_many_clips_share_half_are_counted_as_below():
    rows = table(*(("a", "100", str(value)) for value in (0, 0, 0, 1)))
    found = fields(rows)(rows)[:, 2]
    assert found.tolist() == pytest.approx([-(3**-0.5)] * 3 + [3**0.5], abs=1e-4), "two values: standardised"


def test_other_clips_change_nothing_that_was_fitted():
    made = fields()
    before = made(TRAIN)
    made(table(("zzz", "1e9", "-4")))
    assert torch.equal(made(TRAIN), before)


def test_a_constant_column_says_nothing_and_a_small_one_beside_a_large_one_says_all():
    rows = table(("a", "70000", "0.001"), ("a", "70000", "0.002"))
    found = fields(rows)(rows)
    assert found[:, 1].tolist() == [0, 0]
    assert found[:, 2].tolist() == pytest.approx([-1, 1], abs=1e-4)


def test_the_training_mean_of_a_table_is_a_row_of_which_nothing_is_known():
    made = fields()
    assert made(made.training_mean())[0].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]


def test_terms_are_scikit_learns_tf_idf_of_the_training_clips():
    draw = np.random.default_rng(0)
    train, other = draw.poisson(0.7, (30, 12)), draw.poisson(0.7, (5, 12))
    train[:, 3], other[:, 3] = 0, 2  # a term that training lacks
    made = Terms({"term": 12})
    made.fit([torch.from_numpy(train).half()])
    reference = TfidfTransformer(sublinear_tf=True).fit(train)
    present = np.arange(12) != 3
    wanted = TfidfTransformer(sublinear_tf=True).fit(train[:, present]).transform(other[:, present]).toarray()
    found = made(torch.from_numpy(other).half()).numpy() / 12**0.5
    np.testing.assert_allclose(found[:, present], wanted, rtol=1e-5, atol=1e-6)
    assert not found[:, 3].any()
    assert reference.idf_[present] == pytest.approx(made.weight.numpy()[present], rel=1e-6)


def test_a_text_without_a_term_is_all_zero():
    made = Terms({"term": 4})
    made.fit([torch.ones(2, 4)])
    assert not made(torch.zeros(1, 4)).any()


FEATURES = {
    "facts": table(*[(name, str(100 + place), "2") for place, name in enumerate("aabbccddaabbccdd")]),
    "words": torch.poisson(torch.ones(16, 20), generator=torch.Generator().manual_seed(0)).half(),
    "walk": torch.randn(16, 9, 4, generator=torch.Generator().manual_seed(1)).half(),
}
AXES = {"facts": ("field", "part"), "words": ("term",), "walk": ("time", "channel")}
REQUIRED = {"guidance": {"target": "walk", "guide": "facts"}, "distillation": {}}


# zero_shot compares one picture's vector with captions.
@pytest.mark.parametrize("name", sorted(set(registry.names("models")) - {"distillation", "zero_shot"}))
def test_every_model_takes_tables_and_terms_and_a_saved_one_predicts_the_same(name, tmp_path):
    shapes = {modality: shape_of(AXES[modality], rows, modality) for modality, rows in FEATURES.items()}
    torch.manual_seed(0)
    model = build(name, shapes, 3, REQUIRED.get(name, {}))
    model.fit_normalizer({modality: [rows] for modality, rows in FEATURES.items()})
    model.eval()
    logits = model(FEATURES)
    assert logits.shape == (16, 3)
    assert logits.isfinite().all()
    for modality in model.modalities:
        assert model.training_mean(modality).shape == (1, *FEATURES[modality].shape[1:])
    TrainedModel(model, ["x", "y", "z"], {}, {}, {}).save(tmp_path / "model.pt")
    assert torch.equal(load_model(tmp_path / "model.pt").model(FEATURES), logits)
