"""Each operator against numbers worked out by hand, or against another implementation."""

import itertools

import pytest
import torch
from torch import nn

from modalens.fusions import build, get
from modalens.fusions.add import Add
from modalens.fusions.average import Average
from modalens.fusions.concat import Concat
from modalens.fusions.cross_attention import CrossAttention
from modalens.fusions.film import Film
from modalens.fusions.gated import Gated
from modalens.fusions.lmf import Lmf
from modalens.fusions.max import Max
from modalens.fusions.mult_concat import MultConcat
from modalens.fusions.product import Product
from modalens.fusions.sigmoid_gate import SigmoidGate
from modalens.fusions.tensor_fusion import TensorFusion
from modalens.fusions.vote import Vote
from modalens.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("float64")

TWO = {"audio": 2, "video": 2}
THREE = {"audio": 3, "text": 2, "video": 4}


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def random(sizes, count=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(count, size, generator=draw) for name, size in sizes.items()}


@torch.no_grad()
def plain(layer, weight, bias=None):
    layer.weight.copy_(weight)
    if layer.bias is not None:
        layer.bias.copy_(torch.zeros_like(layer.bias) if bias is None else bias)


def with_identities(fusion):
    """Its projections leave positive vectors as they are."""
    for layer in fusion.projections.values():
        plain(layer, torch.eye(layer.out_features, layer.in_features))
    return fusion


# Element by element


@pytest.mark.parametrize(
    ("operator", "wanted"),
    [(Add, [5.0, 2.0]), (Average, [2.5, 1.0]), (Max, [4.0, 2.0]), (Product, [4.0, 0.0])],
)
def test_element_by_element_on_two_vectors(operator, wanted):
    given = {"audio": rows([1, 2]), "video": rows([4, 0])}
    assert torch.equal(with_identities(operator(TWO, width=2))(given), rows(wanted))
    assert torch.equal(operator(TWO, width=None)(given), rows(wanted))


def test_average_is_the_sum_over_the_number_of_modalities():
    given = random(THREE)
    torch.manual_seed(0)
    total = Add(THREE, width=4)
    average = Average(THREE, width=4)
    average.load_state_dict(total.state_dict())
    torch.testing.assert_close(average(given), total(given) / 3)


@pytest.mark.parametrize("operator", [Add, Average, Max, Product])
def test_of_one_modality_the_projection_is_left(operator):
    fusion = operator({"video": 3}, width=4)
    given = random({"video": 3})
    assert torch.equal(fusion(given), fusion.projections["video"](given["video"]).relu())


def test_a_product_with_zeros_in_it_has_the_gradient_of_its_other_factors():
    given = {"audio": rows([0, 2]).requires_grad_(), "video": rows([3, 0]).requires_grad_()}
    Product(TWO, width=None)(given).sum().backward()
    assert torch.equal(given["audio"].grad, rows([3, 0]))
    assert torch.equal(given["video"].grad, rows([0, 2]))


def test_vectors_of_different_sizes_are_joined_by_projection_only():
    with pytest.raises(UserError, match="audio 3, text 2, video 4; give a width"):
        Add(THREE, width=None)


# Concatenation


def test_concat_has_no_parameters_and_puts_the_vectors_side_by_side_by_name():
    given = {"video": rows([3, 4]), "audio": rows([1, 2])}
    fusion = Concat({"video": 2, "audio": 2})
    assert not list(fusion.parameters())
    assert torch.equal(fusion(given), rows([1, 2, 3, 4]))


def test_mult_concat_is_the_concatenation_and_the_product_side_by_side():
    fusion = MultConcat(TWO, width=2)
    plain(fusion.projections["audio"], rows([1, 1], [1, -1]))
    plain(fusion.projections["video"], rows([2, 0], [0, 1]), rows([0, 1])[0])
    # audio: ReLU(1 + 3, 1 - 3) = 4, 0; video: 2 x 5, 6 + 1 = 10, 7.
    joined = fusion({"audio": rows([1, 3]), "video": rows([5, 6])})
    assert torch.equal(joined, rows([4, 0, 10, 7, 40, 0]))


def test_mult_concat_contains_concat_and_product_of_the_same_projections():
    given = random(THREE)
    torch.manual_seed(0)
    fusion, concat, product = MultConcat(THREE, width=4), Concat(THREE, width=4), Product(THREE, width=4)
    for part in (concat, product):
        part.load_state_dict(fusion.state_dict())
    assert torch.equal(fusion(given), torch.cat([concat(given), product(given)], dim=1))


# Tensor fusion and its low-rank form


def test_tensor_fusion_is_the_outer_product_with_a_one_put_before_each_vector():
    given = {"audio": rows([2, 3]), "video": rows([5, 7])}
    wanted = rows([1, 5, 7, 2, 10, 14, 3, 15, 21])
    assert torch.equal(TensorFusion(TWO, width=None)(given), wanted)
    assert torch.equal(with_identities(TensorFusion(TWO, width=2))(given), wanted)


def test_a_tensor_fusion_that_would_not_fit_is_refused():
    with pytest.raises(UserError, match="205713 entries for 2 modalities are too many; lower the width"):
        TensorFusion({"audio": 512, "video": 400}, width=None)


@pytest.mark.parametrize("sizes", [{"video": 3}, TWO, THREE], ids=len)
def test_lmf_of_full_rank_is_any_given_linear_layer_on_the_tensor_fusion(sizes):
    """The CP decomposition is written down: one rank for each combination of entries of all modalities but the last,
    which picks that combination; the last one's factor holds the weights."""
    width = 3
    names = sorted(sizes)
    lengths = [sizes[name] + 1 for name in names]
    weights = torch.randn(*lengths, width, generator=torch.Generator().manual_seed(1))
    picks = list(itertools.product(*map(range, lengths[:-1])))
    fusion = Lmf(sizes, width=width, rank=len(picks))
    with torch.no_grad():
        fusion.weights.fill_(1)
        for place, name in enumerate(names[:-1]):
            one_hot = torch.eye(lengths[place])[[pick[place] for pick in picks]]
            fusion.factors[name].copy_(one_hot.unsqueeze(2).expand(-1, -1, width))
        fusion.factors[names[-1]].copy_(weights.reshape(len(picks), lengths[-1], width))
        fusion.bias.copy_(torch.arange(width))
    given = random(sizes)
    wanted = TensorFusion(sizes, width=None)(given) @ weights.reshape(-1, width) + torch.arange(width)
    torch.testing.assert_close(fusion(given), wanted)


def test_the_ranks_of_lmf_add_up_weighted():
    given = random(TWO)
    both = Lmf(TWO, width=3, rank=2)
    with torch.no_grad():
        both.weights.copy_(torch.tensor([2.0, -0.5]))
    total = torch.zeros(5, 3)
    for rank, weight in enumerate((2.0, -0.5)):
        one = Lmf(TWO, width=3, rank=1)
        with torch.no_grad():
            one.weights.fill_(1)
            for name in TWO:
                one.factors[name].copy_(both.factors[name][rank : rank + 1])
        total = total + weight * one(given)
    torch.testing.assert_close(both(given), total)


def test_lmf_begins_without_bias_and_with_xavier_normal_factors_of_any_rank():
    for rank in (1, 16):
        torch.manual_seed(0)
        fusion = Lmf({"audio": 300, "video": 200}, width=100, rank=rank)
        assert torch.equal(fusion.bias, torch.zeros(100))
        for name, size in {"audio": 300, "video": 200}.items():
            assert fusion.factors[name].std().item() == pytest.approx((2 / (size + 1 + 100)) ** 0.5, rel=0.02)


# Gates


def test_a_saturated_gmu_lets_one_of_two_modalities_through():
    fusion = Gated(TWO, width=3)
    given = {name: values.abs() + 0.1 for name, values in random(TWO).items()}
    for sign, name in ((1, "audio"), (-1, "video")):
        plain(fusion.gates, torch.full_like(fusion.gates.weight, sign * 1e4))
        assert torch.equal(fusion(given), fusion.projections[name](given[name]).tanh())


def test_an_undecided_gmu_averages_two_modalities_and_halves_the_sum_of_more():
    for sizes in (TWO, THREE):
        fusion, given = Gated(sizes, width=3), random(sizes)
        plain(fusion.gates, torch.zeros_like(fusion.gates.weight))
        total = sum(fusion.projections[name](given[name]).tanh() for name in sizes)
        torch.testing.assert_close(fusion(given), total / 2)


def test_of_three_modalities_each_has_its_own_gmu_gate_that_sees_all():
    fusion = Gated(THREE, width=2)
    given = {name: values.abs() + 0.1 for name, values in random(THREE).items()}
    weight = torch.full_like(fusion.gates.weight, -1e4)
    weight[2:4] = 1e4  # the second in alphabetical order
    plain(fusion.gates, weight)
    assert torch.equal(fusion(given), fusion.projections["text"](given["text"]).tanh())


def test_a_sigmoid_gate_multiplies_each_of_the_others():
    fusion = with_identities(SigmoidGate({"audio": 1, "text": 2, "video": 2}, width=2))
    plain(fusion.gates["text"], rows([1e4], [-1e4]))
    plain(fusion.gates["video"], rows([0], [1e4]))
    joined = fusion({"audio": rows([1]), "text": rows([3, -4]), "video": rows([6, 5])})
    assert torch.equal(joined, rows([3, 0, 3, 5]))


def test_film_scales_shifts_and_rectifies_each_of_the_others():
    fusion = with_identities(Film({"audio": 1, "text": 2, "video": 2}, width=2))
    plain(fusion.scales["text"], rows([1], [0]))
    plain(fusion.shifts["text"], rows([0], [2]))
    plain(fusion.scales["video"], rows([-1], [-2]))
    plain(fusion.shifts["video"], rows([5], [0]))
    joined = fusion({"audio": rows([2]), "text": rows([3, 4]), "video": rows([6, 7])})
    # text: (1 + 2) 3 + 0, (1 + 0) 4 + 4; video: (1 - 2) 6 + 10, (1 - 4) 7 + 0 < 0.
    assert torch.equal(joined, rows([9, 8, 4, 0]))


@pytest.mark.parametrize("operator", [Film, SigmoidGate])
def test_the_modality_that_acts_on_the_others_can_be_named(operator):
    assert operator(THREE, width=2).by == "audio"
    fusion = operator(THREE, width=2, by="video")
    assert fusion.others == ("audio", "text")
    with pytest.raises(UserError, match="by: expected one of audio, text, video, got 'vidoe'"):
        operator(THREE, width=2, by="vidoe")


# Attention


def test_cross_attention_is_torchs_multi_head_attention_over_one_token_a_modality():
    torch.manual_seed(0)
    width, heads = 8, 2
    fusion = CrossAttention(THREE, width=width, heads=heads)
    reference = nn.MultiheadAttention(width, heads, bias=False, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(fusion.projections.weight)
        reference.out_proj.weight.copy_(fusion.output.weight)
    given = random(THREE)
    tokens = torch.stack([fusion.tokens[name](given[name]) for name in THREE], dim=1) + fusion.embeddings
    attended, _ = reference(tokens, tokens, tokens)
    torch.testing.assert_close(fusion(given), (tokens + attended).flatten(1))


def test_cross_attention_carries_each_modality_into_the_part_of_every_other():
    fusion, given = CrossAttention(THREE, width=4, heads=1), random(THREE)
    before = fusion(given).unflatten(1, (3, 4))
    after = fusion(given | {"text": given["text"] + 1}).unflatten(1, (3, 4))
    assert (before != after).any(2).all()


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(UserError, match="a width of 6 is not divided by 4 heads"):
        CrossAttention(TWO, width=6)


# Decisions


def test_the_majority_wins_and_the_average_probability_breaks_ties():
    vote = Vote({"audio": 3, "text": 3, "video": 3})
    majority = {"audio": rows([0.4, 0.3, 0.3]), "text": rows([0.4, 0.3, 0.3]), "video": rows([0, 1, 0])}
    assert vote(majority).argmax(1).tolist() == [0], "the average says 1"
    tie = {"audio": rows([0.6, 0.4, 0]), "text": rows([0.1, 0.9, 0]), "video": rows([0.45, 0.05, 0.5])}
    assert vote(tie).argmax(1).tolist() == [1], "averages 0.38, 0.45, 0.17"
    torch.testing.assert_close(vote(tie), rows([1 + 1.15 / 3, 1 + 1.35 / 3, 1 + 0.5 / 3]) / 4)
    torch.testing.assert_close(vote(tie).sum(1), torch.ones(1))


def test_the_rules_for_decisions_on_two_distributions():
    given = {"audio": rows([0.5, 0.3, 0.2]), "video": rows([0.1, 0.6, 0.3])}
    wanted = {"average": [0.3, 0.45, 0.25], "max": [0.5, 0.6, 0.3], "product": [0.05, 0.18, 0.06]}
    for name, values in wanted.items():
        rule = get(name, "late").of_decisions({"audio": 3, "video": 3})
        torch.testing.assert_close(rule(given), rows(values))


# What a user may get wrong


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("mult_concta", {}, "no fusion 'mult_concta'; did you mean 'mult_concat'?"),
        ("lmf", {"rnk": 2}, "fusions.lmf: unknown option 'rnk'; did you mean 'rank'?"),
        ("lmf", {"rank": 0}, "fusions.lmf.rank: expected at least 1, got 0"),
        ("vote", {}, "fusion 'vote' serves the late stage, not the intermediate one; these do: add, average, concat"),
    ],
)
def test_a_mistake_in_the_config_is_one_line(name, options, line):
    with pytest.raises(UserError) as caught:
        build(name, TWO, options)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
