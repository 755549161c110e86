"""Several seeds as one give what each gives alone, within rounding: other kernels add in another order."""

import inspect
import warnings

import pytest
import torch
from _members import CLASSES, LABELS, PAIR, clips, made, shapes
from _numbers import CLOSE, EXACT, PRECISIONS, cast
from test_registry_members import MODELS
from torch import nn

from modalens.models import Learnt, Model, build
from modalens.models.late_fusion import LateFusion
from modalens.plugins import registry
from modalens.training.ensemble import Ensemble, can_be_stacked, write_back
from modalens.training.optimizer import AdamW
from modalens.utils.tensors import index_seeds

SEEDS = (0, 1, 2)


def still(name):
    """Small options, and no dropout: what it draws depends on the seeds that are trained together."""
    options = MODELS[name][0]
    takes = inspect.signature(registry.load("models", name)).parameters
    return {**options, "dropout": 0.0} if "dropout" in takes else options


def seeds_of(name, **options):
    return [made(name, seed=seed, **options) for seed in SEEDS]


def wide(models, seed=0):
    """Other clips for each seed, with what its own teachers say of them: {name: (S, B, ...)}, labels (S, B)."""
    own = [clips(seed=seed + place) for place in range(len(models))]
    own = [{**features, **model.targets(features)} for model, features in zip(models, own, strict=True)]
    labels = torch.stack([LABELS.roll(place) for place in range(len(models))])
    return {name: torch.stack([features[name] for features in own]) for name in own[0]}, labels


def at(tensors, place):
    return {name: values[place] for name, values in tensors.items()}


def assert_same(one, other, **close):
    assert one.keys() == other.keys()
    for name, values in one.items():
        torch.testing.assert_close(values, other[name], msg=lambda text, name=name: f"{name}: {text}", **close)


@pytest.fixture(params=registry.names("models"))
def models(request):
    return seeds_of(request.param, **still(request.param))


@pytest.mark.parametrize(("dtype", "close"), PRECISIONS)
def test_terms_and_gradients_of_a_stack_are_those_of_each_model_alone(models, dtype, close):
    models = [cast(model, dtype) for model in models]
    stack, (features, labels) = Ensemble(models), wide(models)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of what it can only loop over
        terms = stack.terms(features, labels)
    terms["loss"].sum().backward()
    for place, model in enumerate(models):
        alone = model.loss(at(features, place), labels[place])
        alone["loss"].backward()
        assert_same(at(terms, place), alone, **close)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(stack.parameters[name].grad[place], parameter.grad, **close)


def test_a_stack_of_one_is_the_model_to_the_last_bit(models):
    stack, (features, labels) = Ensemble(models[:1]), wide(models[:1])
    terms, alone = stack.terms(features, labels), models[0].loss(at(features, 0), labels[0])
    terms["loss"].sum().backward()
    alone["loss"].backward()
    assert_same(at(terms, 0), alone, rtol=0, atol=0)
    assert_same(
        {name: values.grad[0] for name, values in stack.parameters.items()},
        {name: parameter.grad for name, parameter in models[0].named_parameters()},
        rtol=0,
        atol=0,
    )


def test_every_model_of_the_registry_can_be_stacked(models):
    assert can_be_stacked(models, clips(), LABELS)


def test_seeds_that_stay_are_not_changed_by_those_that_leave(models):
    models = [cast(model) for model in models]
    stack, (features, labels) = Ensemble(models), wide(models)
    before = stack.terms(features, labels)
    stay = torch.tensor([2, 0])
    stack.keep(stay)
    assert len(stack) == 2
    after = stack.terms(index_seeds(features, stay), labels[stay])
    assert_same(index_seeds(before, stay), after, **EXACT)
    assert all(values.requires_grad and values.is_leaf for values in stack.parameters.values())


def test_values_go_back_into_a_model(models):
    stack = Ensemble(models)
    write_back(models[0], stack.values(1))
    assert_same(dict(models[0].state_dict()), dict(models[1].state_dict()), rtol=0, atol=0)
    with torch.no_grad():
        next(models[0].parameters()).zero_()
    assert next(iter(stack.parameters.values()))[1].any(), "values are a copy"


def test_adamw_is_torchs():
    models = [cast(model) for model in seeds_of("late_fusion")]
    stack = Ensemble(models)
    ours = AdamW(stack, 1e-2, 0.1)
    theirs = [torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1, fused=True) for model in models]
    for step in range(3):
        # Laid out the other way round, as vmap leaves many.
        gradients = {name: torch.randn_like(values.mT).mT for name, values in stack.parameters.items()}
        ours.step(gradients)
        for place, (model, optimizer) in enumerate(zip(models, theirs, strict=True)):
            for name, parameter in model.named_parameters():
                parameter.grad = gradients[name][place].contiguous()
            optimizer.step()
        if step == 1:  # saved and taken up again in the middle
            saved, ours = ours.state(), AdamW(stack, 1e-2, 0.1)
            ours.load(saved)
    for place, model in enumerate(models):
        # Not bit for bit: the ends of a tensor are worked out without vectors, and a stacked one ends elsewhere.
        assert_same(at(stack.state(), place), dict(model.state_dict()), **EXACT)


def test_a_parameter_without_a_gradient_stays_as_it_is():
    stack = Ensemble(seeds_of("video_only"))
    before = {name: values.clone() for name, values in stack.state().items()}
    AdamW(stack, 1e-2, 0.1).step({"head.0.weight": torch.ones_like(stack.parameters["head.0.weight"])})
    changed = [name for name, values in stack.state().items() if not torch.equal(values, before[name])]
    assert changed == ["head.0.weight"]


def test_a_pace_is_a_part_of_the_step_of_each_seed():
    stack, whole = Ensemble(seeds_of("video_only")), Ensemble(seeds_of("video_only"))
    name = "head.0.weight"
    before = stack.parameters[name].detach().clone()
    gradients = {name: torch.randn_like(before), "head.0.bias": torch.ones_like(stack.parameters["head.0.bias"])}
    AdamW(stack, 1e-2, 0.1).step(gradients, {name: torch.tensor([0.0, 0.5, 1.0])})
    AdamW(whole, 1e-2, 0.1).step(gradients)
    first, half, last = stack.parameters[name].detach()
    full = whole.parameters[name].detach()
    assert torch.equal(first, before[0])
    torch.testing.assert_close(half, (before[1] + full[1]) / 2)
    assert torch.equal(last, full[2])
    assert torch.equal(stack.parameters["head.0.bias"], whole.parameters["head.0.bias"])


def test_running_statistics_are_each_seeds_own():
    models = seeds_of("video_only")
    for model in models:
        model.head.insert(1, nn.BatchNorm1d(model.head[0].out_features))
        cast(model)
    stack, (features, labels) = Ensemble(models), wide(models)
    stack.terms(features, labels)
    for place, model in enumerate(models):
        model.loss(at(features, place), labels[place])
        assert_same(at(stack.buffers, place), dict(model.named_buffers()), **EXACT)
    assert stack.buffers["head.1.num_batches_tracked"].tolist() == [1, 1, 1]


def test_each_seed_draws_its_own_dropout():
    models = [made("video_only", dropout=0.5) for _ in SEEDS]
    stack = Ensemble(models)
    features, labels = wide(models)
    same = {name: values[:1].expand_as(values) for name, values in features.items()}
    losses = stack.terms(same, labels[:1].expand_as(labels))["loss"]
    assert len(set(losses.tolist())) == 3
    stack.train(False)
    losses = stack.terms(same, labels[:1].expand_as(labels))["loss"]
    torch.testing.assert_close(losses, losses[:1].expand(3), **CLOSE)


def test_bfloat16_is_of_the_learning_steps_alone():
    models = seeds_of("late_fusion")
    features, labels = wide(models)
    exact, mixed = Ensemble(models), Ensemble(models, "bfloat16")
    rounded, losses = mixed.terms(features, labels)["loss"], exact.terms(features, labels)["loss"]
    assert not torch.allclose(rounded, losses, rtol=1e-5)
    torch.testing.assert_close(rounded, losses, rtol=0.05, atol=0.05)
    assert {values.dtype for values in mixed.parameters.values()} == {torch.float32}
    for stack in (exact, mixed):
        stack.train(False)
    assert_same(mixed.terms(features, labels), exact.terms(features, labels), rtol=0, atol=0)


@pytest.fixture
def filled():
    """Memory that nobody has written to holds no number, so that reading it shows."""
    mode, fill = torch.get_deterministic_debug_mode(), torch.utils.deterministic.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("warn")
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.set_deterministic_debug_mode(mode)
    torch.utils.deterministic.fill_uninitialized_memory = fill


SMALL_SLOWFAST = {"library": "modalens", "model": "slowfast_r50", "arguments": {"width": 16}, "side": 32}
OF_CLIPS = [
    ("video_network", SMALL_SLOWFAST, (2, 8, 32, 32, 3)),
    ("depth_video", SMALL_SLOWFAST, (2, 8, 32, 32)),
    ("lip_network", {"network": "resnet18", "recurrent_layers": 1, "units": 8}, (2, 4, 24, 24, 3)),
    *(
        pytest.param("video_network", options, shape, marks=pytest.mark.slow)
        for options, shape in (
            ({"model": "r3d_18", "side": 32}, (2, 4, 32, 32, 3)),
            ({"model": "r2plus1d_18", "side": 32}, (2, 4, 32, 32, 3)),
            ({"library": "modalens", "model": "c3d", "arguments": {"width": 32}}, (2, 16, 112, 112, 3)),
        )
    ),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("encoder", "options", "shape"), OF_CLIPS)
def test_asked_for_bfloat16_3d_kernels_on_a_cpu_have_the_gradients_of_float32(encoder, options, shape):
    """In bfloat16 some of these gradients are not numbers, or any number."""
    learnt = Learnt(encoder, options | {"weights": "untrained"}, None)
    draw = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw)
    clips = clips if len(shape) == 5 else clips.to(torch.uint16) * 16
    found = learnt.load(torch.device("cpu"))
    sizes = dict(zip(found.axes, found.encode(clips[:1]).shape[1:], strict=True))
    model = build("late_fusion", {"clip": sizes}, 2, {"step_size": 4, "sequence_size": 4, "hidden": [], "dropout": 0.0})
    model.learn_through({"clip": learnt})

    def gradients(precision):
        stack = Ensemble([model], precision)
        stack.train()
        torch.manual_seed(0)
        return stack.descent_gradients(stack.terms({"clip": clips[None]}, torch.tensor([[0, 1]])))

    assert_same(gradients("bfloat16"), gradients("float32"), rtol=0, atol=0)


class Branching(LateFusion):
    """A loss that asks for a number in the data, as a user's model may."""

    def loss(self, features, labels):
        terms = super().loss(features, labels)
        return terms | {"loss": terms["loss"] * (2 if terms["loss"] > 1 else 1)}


class OwnTeacher(LateFusion):
    """A loss that asks a teacher itself, which is neither parameter nor feature."""

    def loss(self, features, labels):
        terms = super().loss(features, labels)
        return terms | {"loss": terms["loss"] + (terms["logits"] - self.teachers["old"](features)).square().mean()}


@pytest.mark.parametrize("maker", [Branching, OwnTeacher])
def test_a_loss_that_needs_its_own_seed_is_not_stacked(maker, caplog):
    models: list[Model] = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        model = maker(shapes(PAIR), CLASSES)
        model.name, model.teachers = "mine", {"old": made("late_fusion", seed=seed)}
        models.append(model)
    with caplog.at_level("INFO"):
        assert not can_be_stacked(models, clips(), LABELS)
    assert caplog.text.count("mine: one seed after the other") == 1
