import pytest
import torch
from _members import CLASSES, COUNT, LABELS, SHAPES, clips, made, shapes
from _numbers import EXACT
from torch import nn
from torch.nn import functional

from modalens.models import build, shape_of
from modalens.models._fitted import Normalizer
from modalens.models._networks import PooledLayer, SequenceNetwork, SpectrogramNetwork
from modalens.models._networks import mlp_head as classifier
from modalens.models._shapes import AXES, FIELDS, named
from modalens.utils.errors import UserError


def test_unimodal_models_differ_from_late_fusion_in_the_first_head_layer_only():
    fusion = {name: value.shape for name, value in made("late_fusion").state_dict().items()}
    audio = {name: value.shape for name, value in made("audio_only").state_dict().items()}
    video = {name: value.shape for name, value in made("video_only").state_dict().items()}
    assert set(audio) | set(video) == set(fusion)
    for alone in (audio, video):
        assert {name for name in alone if alone[name] != fusion[name]} == {"head.0.weight"}
    first = [shapes["head.0.weight"][1] for shapes in (audio, video, fusion)]
    assert first == [512, 400, 912]
    assert sum(name.startswith("head.") and name.endswith("weight") for name in fusion) == 3


@pytest.mark.parametrize("modality", ["audio", "video"])
def test_the_experts_of_section_3_2_have_two_fully_connected_layers(modality):
    model = made("late_fusion", (modality,), step_size=0, hidden=[])
    layers = [module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    assert [type(layer).__name__ for layer in layers] == ["Conv2d"] * (modality == "audio") + ["Linear", "Linear"]
    assert model(clips((modality,))).shape == (COUNT, CLASSES)


def test_late_fusion_concatenates_in_alphabetical_order_whatever_the_order_given():
    model = made("late_fusion")
    embeddings = model.embed(clips())
    turned = dict(reversed(list(embeddings.items())))
    assert torch.equal(model.classify(turned), model.classify(embeddings))
    assert torch.equal(model.classify(turned), model.head(torch.cat([embeddings["audio"], embeddings["video"]], 1)))


def test_late_fusion_by_concatenation_draws_its_networks_by_name_and_then_its_head():
    """So a seed's model is the one that it was before other fusions came."""
    model = made("late_fusion", seed=3)
    torch.manual_seed(3)
    wanted = {
        "networks.audio": SpectrogramNetwork(SHAPES["audio"], 512),
        "networks.video": SequenceNetwork(SHAPES["video"], 400),
        "head": classifier(912, (256, 128), CLASSES, 0.0),
    }
    found = dict(model.named_parameters())
    assert set(found) == {f"{part}.{name}" for part, module in wanted.items() for name, _ in module.named_parameters()}
    for part, module in wanted.items():
        for name, values in module.named_parameters():
            assert torch.equal(found[f"{part}.{name}"], values), name


def test_a_seeds_networks_begin_alike_whatever_the_fusion():
    concat, other = made("late_fusion"), made("late_fusion", fusion="mult_concat")
    for name, values in concat.networks.state_dict().items():
        assert torch.equal(other.networks.state_dict()[name], values), name


def test_late_fusion_takes_a_third_modality():
    model = made("late_fusion", tuple(SHAPES))
    assert model.modalities == ("audio", "text", "video")
    assert model(clips(SHAPES)).shape == (16, CLASSES)


def test_a_models_options_name_those_of_its_fusion_defaults_included():
    model = made("late_fusion", fusion="lmf", fusion_options={"rank": 2})
    assert model.options["fusion_options"] == {"rank": 2, "width": 256}
    assert made("audio_only").options["fusion_options"] == {"width": None}


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("late_fusion", {"fusion": "gatd"}, "no fusion 'gatd'; did you mean 'gated'?"),
        (
            "late_fusion",
            {"fusion_options": {"wdth": 3}},
            "fusions.concat: unknown option 'wdth'; did you mean 'width'?",
        ),
        ("decision_fusion", {"rule": "votes"}, "no fusion 'votes'; did you mean 'vote'?"),
        (
            "decision_fusion",
            {"rule": "lmf"},
            "fusion 'lmf' serves the intermediate stage, not the late one; these do: ",
        ),
    ],
)
def test_a_misspelt_fusion_is_one_line(name, options, line):
    with pytest.raises(UserError) as caught:
        made(name, **options)
    assert str(caught.value).startswith(line)


@pytest.mark.usefixtures("float64")
def test_the_experts_of_decision_fusion_are_the_unimodal_models_and_learn_like_them():
    model = made("decision_fusion")
    model.loss(clips(), LABELS)["loss"].backward()
    found = {name: values.grad for name, values in model.named_parameters()}
    for modality in model.modalities:
        alone = made(f"{modality}_only")
        alone.networks[modality].load_state_dict(model.networks[modality].state_dict())
        alone.head.load_state_dict(model.head[modality].state_dict())
        terms = alone.loss(clips(), LABELS)
        terms["loss"].backward()
        assert torch.equal(model.decide(model.embed(clips()))[modality], terms["logits"])
        for name, values in alone.named_parameters():
            name = name.replace("head.", f"head.{modality}.")
            torch.testing.assert_close(found[name], values.grad, **EXACT)


@pytest.mark.usefixtures("float64")
def test_decision_fusion_predicts_the_average_of_its_experts_probabilities():
    model = made("decision_fusion").eval()
    decisions = model.decide(model.embed(clips()))
    wanted = (decisions["audio"].softmax(1) + decisions["video"].softmax(1)) / 2
    torch.testing.assert_close(model(clips()).softmax(1), wanted)
    assert torch.equal(model.loss(clips(), LABELS)["logits"], model(clips()))


@pytest.mark.parametrize("rule", ["average", "max", "product", "vote"])
def test_decisions_without_any_doubt_still_have_finite_logits(rule):
    model = made("decision_fusion", rule=rule)
    with torch.no_grad():
        for values in model.head.parameters():
            values.mul_(1e4)
    logits = model(clips())
    assert logits.isfinite().all()
    assert logits.log_softmax(1).isfinite().all()


def test_a_sub_network_is_chosen_by_axes_and_not_by_the_name_of_the_modality():
    swapped = {"audio": {"time": 3, "channel": 24}, "video": {"mel": 16, "time": 40}}
    model = build("late_fusion", swapped, CLASSES, {})
    kinds = {name: type(network) for name, network in model.networks.items()}
    assert kinds == {"audio": SequenceNetwork, "video": SpectrogramNetwork}


@pytest.mark.parametrize("axes", AXES, ids="-".join)
@pytest.mark.parametrize("name", ["late_fusion", "distillation", "joint_transformer"])
def test_models_take_features_of_any_axes_that_an_encoder_may_declare(name, axes):
    sense = torch.randn(4, *((16, 3) if axes == FIELDS else range(16, 16 + len(axes))))
    shape = shape_of(axes, sense, "here")
    options = {"width": 8, "heads": 2, "layers": 1} if name == "joint_transformer" else {}
    model = build(name, {"sense": shape, "video": SHAPES["video"]}, CLASSES, options)
    features = {"sense": sense, "video": torch.randn(4, *SHAPES["video"].values())}
    model.fit_normalizer({key: [values] for key, values in features.items()})
    assert model(features).shape == (4, CLASSES)
    assert model.training_mean("sense").shape == (1, *sense.shape[1:])


@pytest.mark.parametrize(
    ("axes", "sizes", "line"),
    [
        (("frequency", "time"), (4, 5), r"no network takes the axes \(frequency, time\); known: \(mel, time\)"),
        (("field", "part"), (5, 2), r"expected 3 parts of a field, got 2"),
        (("time", "channel"), (8,), r"expected 2 axes \(time, channel\), got the shape \(8,\)"),
    ],
)
def test_features_of_unknown_axes_or_of_another_shape_are_one_line(axes, sizes, line):
    with pytest.raises(UserError, match=line):
        named(axes, sizes, "features/x")


def test_a_misspelt_option_is_refused():
    with pytest.raises(UserError, match=r"models\.late_fusion: unknown option 'droput'; did you mean 'dropout'"):
        build("late_fusion", shapes(), CLASSES, {"droput": 0.1})


@pytest.mark.usefixtures("float64")
def test_the_distillation_loss_is_cross_entropy_plus_the_weighted_divergences():
    model = made("distillation", temperature=2.0, weights={"audio_only": 0.5}).eval()
    terms = model.loss(clips(), LABELS)
    student = (terms["logits"] / 2).softmax(1)
    wanted = functional.cross_entropy(terms["logits"], LABELS)
    for name, weight in (("audio_only", 0.5), ("video_only", 1.0)):
        teacher = (model.teachers[name](clips()) / 2).softmax(1)
        wanted = wanted + weight * (teacher * (teacher / student).log()).sum(1).mean()
    torch.testing.assert_close(terms["loss"], wanted)


def test_a_student_neither_trains_nor_saves_its_teachers_and_answers_without_them():
    model = made("distillation")
    assert not any("teacher" in name for name in model.state_dict())
    teachers = set(map(id, model.teachers["audio_only"].parameters()))
    assert not teachers & set(map(id, model.parameters()))
    model.teachers = {}
    assert model(clips()).shape == (16, CLASSES)
    with pytest.raises(UserError, match="needs teachers"):
        model.loss(clips(), LABELS)


@pytest.mark.usefixtures("float64")
def test_standardised_training_features_have_mean_zero_and_deviation_one_per_channel():
    values = torch.randn(50, 4, 7) * torch.tensor([1.0, 10.0, 0.1, 3.0]).view(4, 1) + 60
    normalizer = Normalizer({"mel": 4, "time": 7})
    normalizer.fit(values.split(8))
    found = normalizer(values).movedim(1, -1).flatten(0, -2)
    # The features themselves are taken as float32.
    torch.testing.assert_close(found.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(0, correction=0), torch.ones(4), atol=1e-5, rtol=0)


def test_a_channel_that_never_varied_in_training_is_zero_for_any_value():
    values = torch.randn(50, 3)
    values[:, 1] = 7
    normalizer = Normalizer({"channel": 3})
    normalizer.fit([values])
    assert (normalizer(torch.randn(5, 3) * 100)[:, 1] == 0).all()


def test_the_training_mean_is_standardised_to_zero():
    model = made("late_fusion")
    for name in model.modalities:
        mean = model.training_mean(name)
        assert mean.shape == (1, *SHAPES[name].values())
        torch.testing.assert_close(model.normalizers[name](mean), torch.zeros_like(mean), atol=1e-5, rtol=0)


def cells_model(seed=0):
    options = {"convolution": False, "shortcut": True, "dropout": 0.5}
    torch.manual_seed(seed)
    return build("late_fusion", {"audio": {"mel": 8, "time": 12}}, 2, options)


def faint_clips(count=60):
    """Log-mels that share a strong pattern; the class is a faint shift of one cell."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    values = 5 * torch.randn(8, 12, generator=draw) + 0.02 * torch.randn(count, 8, 12, generator=draw)
    values[:, 3, :3] += 0.1 * labels[:, None]
    return values, labels


def test_cells_are_standardised_over_the_training_clips_and_seeds_share_that():
    values, _ = faint_clips()
    model, other = cells_model(0), cells_model(1)
    model.fit_normalizer({"audio": [values[:20], values[20:]]})
    network = model.networks["audio"]
    cells = (network.pool(model.normalizers["audio"](values)).flatten(1) - network.mean) * network.scale
    torch.testing.assert_close(cells.mean(0), torch.zeros(32), atol=1e-4, rtol=0)
    torch.testing.assert_close(cells.std(0, correction=0), torch.ones(32), atol=1e-4, rtol=0)
    other.share_normalizer(model)
    assert torch.equal(other.networks["audio"].scale, network.scale)


def test_a_student_may_read_the_same_standardised_cells():
    values, _ = faint_clips()
    shapes = {"audio": {"mel": 8, "time": 12}}
    torch.manual_seed(0)
    student = build("distillation", shapes, 2, {"standardise": True})
    teacher = cells_model()
    for model in (student, teacher):
        model.fit_normalizer({"audio": [values]})
    assert torch.equal(student.networks["audio"].mean, teacher.networks["audio"].mean)
    assert isinstance(build("distillation", shapes, 2, {}).networks["audio"], PooledLayer)


def test_without_hidden_layers_cells_and_shortcut_are_a_linear_model():
    values, _ = faint_clips()
    model = cells_model().eval()
    model.fit_normalizer({"audio": [values]})
    head = model.head.shortcut
    one, two = model.embed({"audio": values[:5]})["audio"], model.embed({"audio": values[5:10]})["audio"]
    both = model.embed({"audio": (values[:5] + values[5:10]) / 2})["audio"]
    torch.testing.assert_close(head(both), (head(one) + head(two)) / 2, atol=1e-4, rtol=1e-4)


def test_a_faint_difference_under_what_all_clips_share_is_learnt_in_a_few_steps():
    values, labels = faint_clips()
    model = cells_model()
    model.fit_normalizer({"audio": [values]})
    step = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(40):
        model.loss({"audio": values}, labels)["loss"].backward()
        step.step()
        step.zero_grad()
    assert (model.eval()({"audio": values}).argmax(1) == labels).all()
