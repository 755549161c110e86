import pytest

from modalens.config.grid import expanded
from modalens.plugins.registry import members
from modalens.utils.errors import UserError


def test_one_line_is_a_model_for_each_combination_in_its_place():
    line = {"options": {"dropout": 0.1}, "grid": {"options.fusion": ["add", "lmf"], "balancing": ["none", "agm"]}}
    found = expanded({"audio_only": {}, "late_fusion": line, "last": None})
    assert list(found) == [
        "audio_only",
        "late_fusion-add-none",
        "late_fusion-add-agm",
        "late_fusion-lmf-none",
        "late_fusion-lmf-agm",
        "last",
    ]
    assert found["late_fusion-add-none"] == {
        "model": "late_fusion",
        "options": {"dropout": 0.1, "fusion": "add"},
        "balancing": {},
    }
    assert found["late_fusion-lmf-agm"]["balancing"] == {"agm": {}}
    assert line["options"] == {"dropout": 0.1}, "the combinations share nothing"


def test_all_is_every_fusion_that_serves_there_and_every_balancing_method_after_none():
    fused = expanded({"late_fusion": {"grid": {"options.fusion": "all"}}})
    assert "late_fusion-vote" not in fused
    assert {"late_fusion-concat", "late_fusion-film"} <= set(fused)
    ruled = expanded({"decision_fusion": {"grid": {"options.rule": "all"}}})
    assert set(ruled) == {f"decision_fusion-{rule}" for rule in ("average", "max", "product", "vote")}
    balanced = expanded({"late_fusion": {"grid": {"balancing": "all"}}})
    assert list(balanced) == [f"late_fusion-{name}" for name in ["none", *members("balancing")]]


def test_any_option_can_be_crossed():
    found = expanded({"small": {"model": "late_fusion", "grid": {"training.epochs": [1, 2]}}})
    assert {name: model["training"] for name, model in found.items()} == {
        "small-1": {"epochs": 1},
        "small-2": {"epochs": 2},
    }


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"a": {"grid": {"balancing": ["agn"]}}}, "models.a.grid.balancing: no balancing 'agn'; did you mean 'agm'"),
        ({"a": {"grid": {"options.dropout": "all"}}}, "models.a.grid.options.dropout: expected a list"),
        ({"a-1": {}, "a": {"grid": {"training.epochs": [1]}}}, "there is a model 'a-1' already"),
    ],
)
def test_a_mistake_is_one_line(models, said):
    with pytest.raises(UserError, match=said):
        expanded(models)
