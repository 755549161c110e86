"""What holds for every fusion and every model, found by itself in the registry.

A new member joins these tests by existing; it fails until its line stands in FUSIONS or MODELS below.
"""

import inspect
import warnings
from itertools import pairwise

import pytest
import torch
from _members import CLASSES, COUNT, LABELS, PAIR, SHAPES, clips, made, shapes
from _numbers import EXACT, cast
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from modalens.fusions import get
from modalens.models import TrainedModel, load_model
from modalens.plugins import registry
from modalens.utils.errors import UserError

W, R, H = 6, 3, 2  # width, rank and heads of the fusions below
SMALL = {"spectrogram_size": 12, "channels": 4, "sequence_size": 10, "step_size": 8, "hidden": [16, 16]}
GUIDED = {**SMALL, "fused": [6, 7, 5], "attention_size": 4}
D = 8  # width of the transformers below
STEPS = {"width": D, "layers": 2, "heads": 2, "dropout": 0.0}


def projections(sizes):
    return sum(W * size + W for size in sizes)


def conditioned(sizes, actions):
    """The first of the sizes acts on each of the others through so many layers."""
    return projections(sizes[1:] or sizes) + actions * (len(sizes) - 1) * (W * sizes[0] + W)


# name: (options, size, parameters), worked out from the definition; sizes in alphabetical order of the modalities.
FUSIONS = {
    "add": ({"width": W}, lambda _: W, projections),
    "average": ({"width": W}, lambda _: W, projections),
    "concat": ({}, sum, lambda _: 0),
    "cross_attention": (
        {"width": W, "heads": H},
        lambda sizes: W * len(sizes),
        lambda sizes: W * sum(sizes) + W * len(sizes) + 4 * W * W,
    ),
    "film": ({"width": W}, lambda sizes: W * max(len(sizes) - 1, 1), lambda sizes: conditioned(sizes, actions=2)),
    "gated": (
        {"width": W},
        lambda _: W,
        lambda sizes: W * sum(sizes) * (1 + {1: 1, 2: 1, 3: 3}[len(sizes)]),
    ),
    "lmf": ({"width": W, "rank": R}, lambda _: W, lambda sizes: R * W * sum(s + 1 for s in sizes) + R + W),
    "max": ({"width": W}, lambda _: W, projections),
    "mult_concat": ({"width": W}, lambda sizes: W * (len(sizes) + 1), projections),
    "product": ({"width": W}, lambda _: W, projections),
    "sigmoid_gate": ({"width": W}, lambda sizes: W * max(len(sizes) - 1, 1), lambda sizes: conditioned(sizes, 1)),
    "tensor_fusion": ({"width": W}, lambda sizes: (W + 1) ** len(sizes), projections),
    "vote": ({}, lambda sizes: sizes[0], lambda _: 0),
}

# Sub-networks: 5 x 9 convolution, 8 x 5 positions pooled in threes to 8 x 3 cells; a vector of 24 a frame.
AUDIO = 4 * (5 * 9 + 1) + (4 * 8 * 3 + 1) * 12
VIDEO = (24 + 1) * 8 + (8 + 1) * 10
# One layer each: 16 x 40 pooled to 16 x 4 cells; 24 a frame.
STUDENT = (16 * 4 + 1) * 12 + (24 + 1) * 10


def head(size, *hidden):
    widths = [size, *hidden, CLASSES]
    return sum((before + 1) * after for before, after in pairwise(widths))


# Layers of transformers: two norms, attention, inner layer; encoders: projection, layers, norm.
INNER = 2 * D + (D + 1) * 4 * D + (4 * D + 1) * D
LAYER = 2 * D + 4 * D * D + D + INNER


def encoders(layers):
    """Of 16 mels, and of 24 a frame."""
    return (16 + 1) * D + (24 + 1) * D + 2 * (layers * LAYER + 2 * D)


# The guide's convolution; its 8 rows beside the frames' channels, three convolutions of 1 x 3, each with a norm; maps.
GUIDE = 4 * (5 * 9 + 1) + (3 * (8 + 8 * 4) + 1) * 6 + (3 * 6 + 1) * 7 + (3 * 7 + 1) * 5 + 2 * (6 + 7 + 5) + 2 * 5 * 4
# A matrix and an inner layer in each of two, and a norm.
BRANCH = 2 * (D * D + INNER) + 2 * D

# name: (options, parameters) for audio and video.
MODELS = {
    "balance_mla": (
        {**STEPS, "cross_layers": 2},
        encoders(2) + 2 * BRANCH + 2 * head(D) + (2 * D + 1) * 2 * CLASSES,
    ),
    "decision_fusion": (SMALL, AUDIO + VIDEO + head(12, 16, 16) + head(10, 16, 16)),
    "distillation": ({"spectrogram_size": 12, "sequence_size": 10}, STUDENT + head(22)),
    "guidance": (GUIDED, VIDEO + head(10, 16, 16) + GUIDE),
    "joint_transformer": ({**STEPS, "own_layers": 1}, encoders(1) + 2 * D + 2 * LAYER + 2 * D + head(D)),
    "late_fusion": (SMALL, AUDIO + VIDEO + head(22, 16, 16)),
    # A weight per class and pooled feature: 16 mels x 4 steps, 3 frames of 24; a bias per class.
    "logistic": ({}, (16 * 4 + 3 * 24 + 1) * CLASSES),
    "transformer": (STEPS, encoders(2) + head(2 * D)),
    # A caption of 24 numbers a class.
    "zero_shot": ({"target": "video", "captions": {"a": "a", "b": "b", "c": "c"}, "scale": 300.0}, 24 * CLASSES),
}
# Modalities that a model's default options name; those of `only` it states itself.
NAMED = {"guidance": PAIR, "zero_shot": ("video",)}

SIZES = {"audio": 5, "text": 3, "video": 4}
MODALITIES = [("video",), PAIR, tuple(SHAPES)]
INTERMEDIATE = [name for name in registry.names("fusions") if "intermediate" in registry.load("fusions", name).stages]
LATE = [name for name in registry.names("fusions") if "late" in registry.load("fusions", name).stages]


def facts(kind, table, name):
    if name not in table:
        pytest.fail(f"add {name!r} to {kind.upper()} in {__file__}: its options and how many parameters it has")
    return table[name]


# Fusions


@pytest.fixture(params=registry.names("fusions"))
def fusion_name(request):
    return request.param


@pytest.fixture(params=MODALITIES, ids=len)
def modalities(request):
    return request.param


def sizes_for(name, modalities):
    alike = name not in INTERMEDIATE  # class distributions
    return {modality: CLASSES if alike else SIZES[modality] for modality in modalities}


def fusion(name, modalities, seed=0):
    torch.manual_seed(seed)
    return registry.load("fusions", name)(sizes_for(name, modalities), **facts("fusions", FUSIONS, name)[0])


def embeddings(name, modalities, seed=0, count=COUNT):
    torch.manual_seed(seed)
    return {modality: torch.randn(count, size) for modality, size in sizes_for(name, modalities).items()}


def test_a_fusion_gives_its_size_for_any_number_of_modalities_and_clips(fusion_name, modalities):
    found = fusion(fusion_name, modalities)
    sizes = list(sizes_for(fusion_name, modalities).values())
    assert found.size == facts("fusions", FUSIONS, fusion_name)[1](sizes)
    for count in (1, COUNT):
        joined = found(embeddings(fusion_name, modalities, count=count))
        assert joined.shape == (count, found.size)
        assert joined.isfinite().all()


def test_a_fusion_has_as_many_parameters_as_its_definition(fusion_name, modalities):
    sizes = list(sizes_for(fusion_name, modalities).values())
    counted = sum(values.numel() for values in fusion(fusion_name, modalities).parameters())
    assert counted == facts("fusions", FUSIONS, fusion_name)[2](sizes)


def test_a_fusion_does_not_see_the_order_of_the_modalities_in_the_dict(fusion_name, modalities):
    given = embeddings(fusion_name, modalities)
    turned = dict(reversed(given.items()))
    sizes = sizes_for(fusion_name, modalities)
    options = facts("fusions", FUSIONS, fusion_name)[0]
    torch.manual_seed(0)
    other = registry.load("fusions", fusion_name)(dict(reversed(sizes.items())), **options)
    wanted = fusion(fusion_name, modalities)(given)
    assert torch.equal(fusion(fusion_name, modalities)(turned), wanted)
    assert torch.equal(other(turned), wanted)


def test_a_fusion_takes_each_clip_by_itself(fusion_name, modalities):
    found, given = fusion(fusion_name, modalities), embeddings(fusion_name, modalities)
    ones = [found({name: rows[i : i + 1] for name, rows in given.items()}) for i in range(COUNT)]
    torch.testing.assert_close(torch.cat(ones), found(given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("modalities", MODALITIES[1:], ids=len)
def test_every_parameter_and_every_modality_of_a_fusion_gets_a_gradient(fusion_name, modalities):
    found, given = fusion(fusion_name, modalities), embeddings(fusion_name, modalities)
    for rows in given.values():
        rows.requires_grad_()
    # Weighted at random: the entries of a vote add up to one whatever the input.
    found(given).mul(torch.randn(found.size)).sum().backward()
    for name, values in [*found.named_parameters(), *given.items()]:
        assert values.grad is not None, name
        assert values.grad.abs().sum() > 0, name


def test_a_fusion_says_which_stage_it_serves(fusion_name):
    stages = registry.load("fusions", fusion_name).stages
    assert stages
    assert set(stages) <= {"intermediate", "late"}
    assert "stages" in vars(registry.load("fusions", fusion_name)), "stated in its own file: config reads the source"


@pytest.mark.parametrize("name", LATE)
def test_a_fusion_of_decisions_has_no_parameters_and_one_decision_is_itself_or_its_winner(name):
    joined = get(name, "late").of_decisions({"audio": CLASSES})
    assert not list(joined.parameters())
    decision = torch.randn(COUNT, CLASSES).softmax(1)
    assert torch.equal(joined({"audio": decision}).argmax(1), decision.argmax(1))


# Models; `case` is every model, and late and decision fusion with every operator.

CASES = [(name, {}) for name in registry.names("models")]
CASES += [("late_fusion", {"fusion": name}) for name in INTERMEDIATE]
CASES += [("decision_fusion", {"rule": name}) for name in LATE]


def with_fusion(options):
    """The options of a case, the fusion's own ones being those of FUSIONS."""
    if "fusion" not in options:
        return options
    return {**options, "fusion_options": facts("fusions", FUSIONS, options["fusion"])[0]}


@pytest.fixture(params=CASES, ids=lambda case: "-".join([case[0], *case[1].values()]))
def case(request):
    name, options = request.param
    return name, {**facts("models", MODELS, name)[0], **with_fusion(options)}


@pytest.fixture
def model(case):
    name, options = case
    return made(name, **options)


def test_logits_have_a_column_per_class_and_the_loss_is_finite(model):
    for count in (1, COUNT):
        terms = model.loss({name: rows[:count] for name, rows in clips().items()}, LABELS[:count])
        assert terms["logits"].shape == (count, CLASSES)
        assert terms["loss"].shape == ()
        assert terms["loss"].isfinite()


def test_a_model_has_as_many_parameters_as_its_definition(case, model):
    name, options = case
    wanted = facts("models", MODELS, name)[1]
    if "fusion" in options:
        _, size, parameters = FUSIONS[options["fusion"]]
        wanted += parameters([12, 10]) + head(size([12, 10]), 16, 16) - head(22, 16, 16)
    assert sum(values.numel() for values in model.parameters()) == wanted


def test_every_parameter_gets_a_gradient(model):
    model.loss(clips(), LABELS)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_it_learns_sixteen_clips_by_heart(model):
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    features = {**clips(), **model.targets(clips())}
    for _ in range(60):
        terms = model.loss(features, LABELS)
        if torch.equal(terms["logits"].argmax(1), LABELS):
            return
        optimiser.zero_grad()
        terms["loss"].backward()
        optimiser.step()
    pytest.fail("sixty steps are not enough")


def test_predictions_do_not_depend_on_the_batch(model):
    model.eval()
    ones = torch.cat([model({name: rows[i : i + 1] for name, rows in clips().items()}) for i in range(COUNT)])
    torch.testing.assert_close(ones, model(clips()), rtol=1e-5, atol=1e-5)


def test_a_model_joins_its_embeddings_in_one_vector_that_its_head_classifies(case, model):
    """Except those that weigh answers: BalanceMLA's branches, decisions."""
    embeddings = model.embed(clips())
    joined = model.joined(embeddings)
    if case[0] == "decision_fusion":
        assert joined is None
        return
    assert joined.dim() == 2
    assert len(joined) == len(LABELS)
    if case[0] != "balance_mla":
        torch.testing.assert_close(model.head(joined), model.classify(embeddings))


def test_a_saved_model_predicts_exactly_the_same(model, tmp_path):
    statistics = {name: torch.zeros(2) for name in model.modalities}
    TrainedModel(model, ["a", "b", "c"], {"audio": {"mels": 16}}, statistics, statistics).save(tmp_path / "model.pt")
    found = load_model(tmp_path / "model.pt")
    assert found.labels == ["a", "b", "c"]
    assert found.sources == {"audio": {"mels": 16}}
    assert found.model.options == model.options
    assert torch.equal(found.model(clips()), model.eval()(clips()))


def test_it_ignores_the_modalities_that_it_does_not_name_and_no_other(model):
    model.eval()
    before = model(clips())
    for name in PAIR:
        other = clips() | {name: clips(seed=1)[name]}
        assert torch.equal(model(other), before) == (name not in model.modalities)


def test_an_embedding_depends_on_its_own_modality_alone(model):
    together = model.embed(clips())
    for name in model.modalities:
        assert torch.equal(model.embed({name: clips()[name]})[name], together[name])


def test_the_order_of_the_modalities_in_the_dict_changes_nothing(case, model):
    name, options = case
    turned = dict(reversed(clips().items()))
    assert torch.equal(model.eval()(turned), model(clips()))
    other = made(name, tuple(reversed(PAIR)), **options)
    assert torch.equal(other.eval()(turned), model(clips()))


def test_several_seeds_at_once_give_what_each_gives_alone(case):
    """Loss and gradient under vmap over stacked parameters, without an operator that vmap would loop over."""
    name, options = case
    models = [cast(made(name, seed=seed, **options)) for seed in range(3)]
    features = {**clips(), **models[0].targets(clips())}
    parameters, buffers = stack_module_state(models)

    def loss(parameters, buffers):
        return functional_call(_Loss(models[0]), (parameters, buffers), (features,))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prefixed = [{f"model.{name}": values for name, values in part.items()} for part in (parameters, buffers)]
        losses = vmap(loss)(*prefixed)
        gradients = vmap(grad(loss))(*prefixed)
    for index, alone in enumerate(models):
        wanted = alone.loss(features, LABELS)["loss"]
        wanted.backward()
        torch.testing.assert_close(losses[index], wanted, **EXACT)
        for parameter, values in alone.named_parameters():
            torch.testing.assert_close(gradients[f"model.{parameter}"][index], values.grad, **EXACT)


class _Loss(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, features):
        return self.model.loss(features, LABELS)["loss"]


@pytest.mark.parametrize("name", registry.names("models"))
def test_a_model_takes_one_two_and_three_modalities_or_names_the_one_it_lacks(name, modalities):
    options = facts("models", MODELS, name)[0]
    lacking = set(NAMED.get(name, ())) - set(modalities)
    if lacking:
        with pytest.raises(UserError, match=f"looks at '{lacking.pop()}'"):
            made(name, modalities, **options)
        return
    model = made(name, modalities, **options)
    assert set(model.modalities) <= set(shapes(modalities))
    terms = model.loss(clips(modalities), LABELS)
    assert terms["logits"].shape == (COUNT, CLASSES)
    assert terms["loss"].isfinite()


@pytest.mark.parametrize("modalities", [MODALITIES[0], MODALITIES[2]], ids=len)
@pytest.mark.parametrize("option", ["fusion", "rule"])
def test_any_model_that_fuses_takes_any_fusion_of_its_stage(option, modalities):
    operators = {"fusion": INTERMEDIATE, "rule": LATE}[option]
    takers = [
        name
        for name in registry.names("models")
        if option in inspect.signature(registry.load("models", name)).parameters
    ]
    assert takers
    for name in takers:
        for operator in operators:
            model = made(name, modalities, **facts("models", MODELS, name)[0], **with_fusion({option: operator}))
            assert model(clips(modalities)).shape == (COUNT, CLASSES), (name, operator)


def test_the_tables_name_nothing_that_is_gone():
    assert set(FUSIONS) == set(registry.names("fusions"))
    assert set(MODELS) == set(registry.names("models"))
